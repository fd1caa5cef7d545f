"""The dual encoder: texts in, unit vectors out, through one network with a role for queries and a role for products.

It runs the modules of a sentence-transformers folder, but not that library's ``encode``: batches are packed by tokens
instead of rows, each role has its own tokenizer and length, output is checked, and a vector does not depend on which
texts share its batch (beyond 1e-6 in fp32). The tests hold it against ``encode_query`` and ``encode_document``.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from indexing.errors import ArtifactCorrupt, ConfigError, VectorError
from indexing.forks import claim_threads
from indexing.types import FloatMatrix
from retrieval.batches import RoleTokenizer, TokenRow, longest_first, pad
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.folder import copy_model_folder
from retrieval.lanes.choice import choose_backend, open_lane, settle_precision
from retrieval.lanes.lane import Lane, LaneInput
from retrieval.lanes.torch_lane import BATCH_TOKENS, TorchLane
from retrieval.models import check_model_folder, model_folder
from retrieval.runtime import budget, choose_device, loading, own_weights, set_threads
from retrieval.tower import TowerSettings, read_settings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

POSITIONS_SHOWN = 10
"""Bad rows named in an error; the total is given besides."""


class DualEncoder:
    """A tower opened for encoding. Safe to call from several threads.

    Attributes:
        config: What it was opened with.
        folder: The sentence-transformers folder it was read from.
        settings: Prompts, lengths, pooling and dimension as they apply.
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic of the forward pass.
        lane: What runs the network.
        model: The ``SentenceTransformer`` behind it, for training; its own tokenizer is not used.
        query_tokenizer: Makes the token rows of queries.
        product_tokenizer: Makes the token rows of product texts.
    """

    def __init__(
        self, model: "SentenceTransformer", *, folder: Path, config: EncoderConfig, runtime: RuntimeConfig
    ) -> None:
        """Wrap an opened model; use :meth:`open` instead."""
        self.model = model
        self.folder = folder
        self.config = config
        self.settings: TowerSettings = read_settings(folder, config)
        self.device = str(model.device.type)
        self._runtime = replace(runtime, precision=settle_precision(runtime.precision, self.device))
        serialised = str(model.tokenizer.backend_tokenizer.to_str())
        self.query_tokenizer = RoleTokenizer(
            serialised, prompt=self.settings.query_prompt, max_tokens=self.settings.query_max_tokens
        )
        self.product_tokenizer = RoleTokenizer(
            serialised, prompt=self.settings.product_prompt, max_tokens=self.settings.product_max_tokens
        )
        self.lane: Lane = self._open_lane()

    @classmethod
    def open(cls, config: EncoderConfig, runtime: RuntimeConfig) -> Self:
        """Open the folder that ``config.model`` names, on the device and with the threads of ``runtime``.

        Raises:
            ConfigError: When there is no such folder, or it is no sentence-transformers text encoder.
            ArtifactUntrusted: When the folder holds a file or names a class that could run code.
            EnvironmentProblem: When the device is not there, or the package of ``minilm`` is not installed.
            ForkSafetyError: When this process was forked from one that has used native threads.
        """
        claim_threads()
        folder = model_folder(config.model)
        check_model_folder(folder)
        device = choose_device(runtime)
        choose_backend(runtime, device)  # what is not there is said before a model is loaded for nothing
        set_threads(runtime)
        return cls(_load(folder, device), folder=folder, config=config, runtime=runtime)

    def at_precision(self, precision: Precision) -> "DualEncoder":
        """Return the same tower in another arithmetic; it shares the weights.

        Raises:
            ConfigError, EnvironmentProblem: As :meth:`open`, for that arithmetic.
        """
        runtime = replace(self._runtime, device=self.device, precision=precision)
        other = DualEncoder(self.model, folder=self.folder, config=self.config, runtime=runtime)
        if isinstance(other.lane, TorchLane) and isinstance(self.lane, TorchLane):
            other.lane.lock = self.lane.lock
        return other

    @property
    def precision(self) -> Precision:
        """Arithmetic of the forward pass."""
        return self.lane.precision

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.settings.dimension

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return the unit vectors of query texts, float32 [n, d], in their order; no texts give [0, d].

        Raises:
            TypeError: When a text is no string.
            ValueError: When a text holds a lone surrogate.
            VectorError: When the model returns NaN, infinity or zero; with the ``positions`` of all such texts.
        """
        return self._encode(self.query_tokenizer, texts, None, None)

    def encode_products(
        self,
        texts: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
        under_way: Callable[[int], None] | None = None,
    ) -> FloatMatrix:
        """Return the unit vectors of product texts, float32 [n, d], in their order; no texts give [0, d].

        Args:
            texts: Rendered product texts.
            progress: Called after every batch with the number of texts it held (what ``tqdm.update`` takes).
            under_way: Called before every batch with the position of the longest text in it.

        Raises:
            TypeError: When a text is no string.
            ValueError: When a text holds a lone surrogate.
            VectorError: When the model returns NaN, infinity or zero; with the ``positions`` of all such texts.
        """
        return self._encode(self.product_tokenizer, texts, progress, under_way)

    def knows(self, word: str) -> bool:
        """Whether a word of a query is one token of the vocabulary, and not read in pieces."""
        return self.query_tokenizer.has_word(word)

    def read_chars(self, text: str) -> int:
        """Return how many characters of a product text the network reads before it is cut."""
        return self.product_tokenizer.read_chars(text)

    def save(self, folder: Path) -> None:
        """Write a plain sentence-transformers folder, which that library opens to the same vectors, without Shortlist.

        The files of the source are copied, so the fingerprint stays what it is; prompts and lengths
        from the configuration are written where sentence-transformers reads them.

        Args:
            folder: Must not exist, or be empty.

        Raises:
            StorageError: When the folder holds something already, or the file system refuses.
        """
        copy_model_folder(self.folder, folder, settings=self.settings)

    def forward(self, role: RoleTokenizer, rows: Sequence[TokenRow]) -> "torch.Tensor":
        """Run the network on token rows and return their unit vectors, float32 [b, d], with gradients where enabled.

        Args:
            role: The tokenizer that made the rows.
            rows: At least one.
        """
        return _unit_vectors(self.model, self.settings, rows, role.prompt_tokens)

    def _encode(
        self,
        role: RoleTokenizer,
        texts: Sequence[str],
        progress: Callable[[int], None] | None,
        under_way: Callable[[int], None] | None,
    ) -> FloatMatrix:
        claim_threads()
        unpooled = 0 if self.settings.prompt_pooled else role.prompt_tokens
        parts: list[FloatMatrix] = []
        for rows in role.rows_ahead(texts):
            done = progress
            if under_way is not None:
                done = _followed(rows, sum(map(len, parts)), progress, under_way)
            parts.append(self.lane.run(LaneInput(rows, unpooled=unpooled), done=done))
        vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        _require_unit_vectors(vectors)
        return vectors

    def _open_lane(self) -> Lane:
        runtime, named = self._runtime, str(self.folder)

        def openvino_lane() -> Lane:
            from retrieval.lanes.tower import openvino_tower

            return openvino_tower(
                self.model,
                self.settings,
                precision=runtime.precision,
                threads=budget(runtime),
                batch_tokens=runtime.batch_tokens or BATCH_TOKENS,
                named=named,
            )

        def packed_lane() -> Lane:
            from retrieval.lanes.tower import packed_tower

            return packed_tower(
                self.model, self.settings, precision=runtime.precision, batch_tokens=runtime.batch_tokens, named=named
            )

        def torch_lane() -> Lane:
            return TorchLane(
                partial(_forward, self.model, self.settings),
                width=self.dim,
                device=self.device,
                precision=runtime.precision,
                batch_tokens=runtime.batch_tokens,
            )

        openers = {Backend.torch: torch_lane, Backend.openvino: openvino_lane, Backend.packed: packed_lane}
        return open_lane(runtime, self.device, openers)


def _followed(
    rows: Sequence[TokenRow], first: int, progress: Callable[[int], None] | None, under_way: Callable[[int], None]
) -> Callable[[int], None]:
    """Say which text is under way, and return what a lane calls after each batch; rows begin at text ``first``."""
    order = (first + longest_first([len(row) for row in rows])).tolist()

    def done(count: int) -> None:
        del order[:count]
        if progress is not None and count:
            progress(count)
        if order:
            under_way(order[0])

    done(0)
    return done


def _forward(model: "SentenceTransformer", settings: TowerSettings, given: LaneInput) -> "torch.Tensor":
    """What a lane runs. It has the model and not the encoder, which has the lane: no ring (ADR 0011)."""
    return _unit_vectors(model, settings, given.rows, given.unpooled)


def _unit_vectors(
    model: "SentenceTransformer", settings: TowerSettings, rows: Sequence[TokenRow], prompt_tokens: int
) -> "torch.Tensor":
    import torch

    tokenizer, device = model.tokenizer, model.device
    batch = pad(rows, pad_token=tokenizer.pad_token_id, left=tokenizer.padding_side == "left")
    features: dict[str, Any] = {
        "input_ids": torch.from_numpy(batch.tokens).to(device),
        "attention_mask": torch.from_numpy(batch.mask).to(device),
    }
    if "token_type_ids" in tokenizer.model_input_names:
        features["token_type_ids"] = torch.zeros_like(features["input_ids"])
    if not settings.prompt_pooled:
        features["prompt_length"] = prompt_tokens
    vectors = model(features)["sentence_embedding"][:, : settings.dimension]
    if vectors.dtype != torch.float64:  # which only a check of gradients asks for
        vectors = vectors.float()
    return torch.nn.functional.normalize(vectors, dim=1)


def _load(folder: Path, device: str) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer

    # Weights may lie on disk in half precision; arithmetic is the runtime's choice, not the file's. Loading them as
    # they lie would make that precision torch's default for the time, for every thread that is serving meanwhile.
    wanted = {"dtype": torch.float32}
    try:
        with loading():
            model = SentenceTransformer(
                str(folder), device=device, local_files_only=True, trust_remote_code=False, model_kwargs=wanted
            )
    except Exception as error:  # whatever a library makes of a file that is not what it expects
        raise ArtifactCorrupt(
            f"sentence-transformers cannot open the model in {folder}: {type(error).__name__}: {str(error)[:300]}; "
            "save the model again"
        ) from error
    if list(model.modalities) != ["text"]:
        raise ConfigError(f"{folder} encodes {list(model.modalities)}; expected a model of plain text alone")
    own_weights(model.float())
    # The card refers back to its model: without that, a model goes when its last user does, not when gc finds it.
    model.model_card_data.model = weakref.proxy(model)
    return model.eval()


def _require_unit_vectors(vectors: FloatMatrix) -> None:
    """Refuse NaN and infinity, and the zero vector, whose direction normalising cannot give."""
    lengths = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))
    if len(bad):
        shown = ", ".join(str(position) for position in bad[:POSITIONS_SHOWN])
        raise VectorError(
            f"the encoder returned vectors that are not finite or not of unit length for {len(bad)} of {len(vectors)} "
            f"texts, at positions {shown}; check the weights, or set runtime.precision=fp32",
            positions=bad,
        )
