"""The network of a cross-encoder: loaded from a folder, or made new on top of an encoder."""

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from indexing.errors import ArtifactCorrupt, ConfigError
from rerank.folder import ADVICE
from retrieval.models import check_model_folder
from retrieval.runtime import loading, own_weights

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling


def load_cross_encoder(folder: Path) -> "CrossEncoder":
    """Load a checked folder on the CPU, its last layer set to compute in float32 under autocast.

    Raises:
        ArtifactCorrupt: If sentence-transformers cannot open it, or a weight is NaN or infinite, which the file format
            does not exclude.
    """
    from sentence_transformers import CrossEncoder

    # As in `retrieval.encoder`: float32 whatever lies on disk, memory of its own, gone with its last user.
    wanted = {"dtype": torch.float32}
    try:
        with loading():
            model = CrossEncoder(
                str(folder), device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs=wanted
            )
        _keep_head_in_float32(model)
    except Exception as error:  # whatever a library makes of a file that is not what it expects
        raise ArtifactCorrupt(
            f"sentence-transformers cannot open the cross-encoder in {folder}: {type(error).__name__}: "
            f"{str(error)[:300]}; {ADVICE}"
        ) from error
    own_weights(model.float())
    model.model_card_data.model = weakref.proxy(model)
    broken = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ArtifactCorrupt(
            f"{len(broken)} weights of {folder} hold NaN or infinity, the first is {broken[0]}; {ADVICE}"
        )
    return model


def new_cross_encoder(base: Path, *, layers: int, max_tokens: int) -> "CrossEncoder":
    """Make a cross-encoder on the CPU: transformer, pooling, one linear layer.

    The pooling is the base's own, the mean where it has none. The usual classification head reads the first token,
    which in models trained for sentence embeddings was never trained to mean anything. The linear layer is new, or that
    of a base which is such a cross-encoder already.

    Args:
        base: A sentence-transformers folder: an encoder, or a cross-encoder that this function made, to go on from.
        layers: Transformer layers to keep, from the input up; 0 keeps all.
        max_tokens: Longest pair.

    Raises:
        ConfigError: If ``base`` is no sentence-transformers folder or has fewer layers.
        ArtifactUntrusted: If it holds something that can carry code.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer

    transformer_folder = base / check_model_folder(base)[0].folder
    cut = {"num_hidden_layers": layers} if layers else {}
    _require_layers(transformer_folder, layers)
    with loading(), quiet_transformers():
        body = Transformer(str(transformer_folder), max_seq_length=max_tokens, config_kwargs=cut)
    pooling = _pooling(base, body.get_embedding_dimension())
    head = _head(base) or Dense(
        pooling.get_embedding_dimension(), 1, activation_function=torch.nn.Identity(), module_output_name="scores"
    )
    # What other programs get from predict(): the share of the highest grade that a pair is expected to reach.
    model = CrossEncoder(modules=[body, pooling, head], device="cpu", activation_fn=torch.nn.Sigmoid())
    _keep_head_in_float32(model)
    return model.float()


def layer_stack(model: "CrossEncoder") -> torch.nn.ModuleList:
    """Return the transformer layers: the one list of modules that is as long as the configuration says.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    expected = getattr(model.config, "num_hidden_layers", 0)
    stacks = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == expected]
    if len(stacks) != 1:
        raise ConfigError(
            f"expected one list of {expected} layers in the cross-encoder, found {len(stacks)}; "
            "its layers cannot be told apart, so none can be left out"
        )
    return stacks[0]


def first_layers(model: "CrossEncoder", layers: int) -> "CrossEncoder":
    """Return a cross-encoder of the first ``layers`` layers under the same head; the weights are shared, not copied.

    Raises:
        ConfigError: If there are fewer, or they cannot be told apart.
    """
    there = len(layer_stack(model))
    if not 1 <= layers <= there:
        raise ConfigError(f"expected 1 to {there} layers, got {layers}: the cross-encoder has {there}")
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    cut = copy.deepcopy(model, shared)
    stack = layer_stack(cut)
    del stack[layers:]
    cut.config.num_hidden_layers = layers  # some networks count by it instead of walking the list
    return cut


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing bars, and from listing every layer left out on purpose as if it were missing."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _keep_head_in_float32(model: "CrossEncoder") -> None:
    """Make the last linear layer compute in float32 under autocast; the choice is saved with the model."""
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    model.set_keep_in_fp32_modules(linear[-1:])


def _require_layers(transformer_folder: Path, layers: int) -> None:
    from transformers import AutoConfig

    there = AutoConfig.from_pretrained(transformer_folder, local_files_only=True).num_hidden_layers
    if layers > there:
        raise ConfigError(f"trainer.layers={layers}, but {transformer_folder} has {there} layers; 0 keeps them all")


def _head(base: Path) -> "Dense | None":
    """Return the last layer of a base that gives one score already."""
    from sentence_transformers.base.modules import Dense

    last = check_model_folder(base)[-1]
    if last.kind != "Dense":
        return None
    head = Dense.load(str(base), subfolder=last.folder.as_posix(), local_files_only=True)
    return head if head.linear.out_features == 1 else None


def _pooling(base: Path, dimension: int) -> "Pooling":
    from sentence_transformers.sentence_transformer.modules import Pooling

    for module in check_model_folder(base):
        if module.kind == "Pooling":
            return Pooling.load(str(base), subfolder=module.folder.as_posix(), local_files_only=True)
    return Pooling(dimension, "mean")
