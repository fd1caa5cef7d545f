"""The weights of a BERT-like network as arrays, and whether this is a network that can be computed from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from indexing.errors import ConfigError
from indexing.types import FloatMatrix, FloatVector

if TYPE_CHECKING:
    import torch

FIRST_POSITION = {"bert": 0, "roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Kind of network -> where its positions begin: RoBERTa's begin after the one of padding (transformers 5.23,
``modeling_roberta.create_position_ids_from_input_ids``, with padding as token 1)."""


@dataclass(frozen=True, slots=True)
class BertWeights:
    """A BERT-like network: post-norm transformer layers over learned positions, with exact GELU.

    Attributes:
        arrays: Name as in the network's own ``state_dict`` -> float32 array.
        layers: Transformer layers.
        heads: Attention heads in each.
        epsilon: Of the layer norms.
        first_position: Row of the position table that the first token takes.
    """

    arrays: Mapping[str, FloatMatrix]
    layers: int
    heads: int
    epsilon: float
    first_position: int

    @classmethod
    def of(cls, network: "torch.nn.Module", *, named: str) -> "BertWeights":
        """Read the weights of a transformers network; with a task's head on top, those of the body below.

        Args:
            network: As transformers loads it.
            named: For the error.

        Raises:
            ConfigError: When it is no network of this kind; the message says what about it is not.
        """
        config: Any = network.config
        reason = unsupported(config)
        if reason:
            raise unknown_part(named, reason)
        body: Any = getattr(network, "base_model", network)  # a body alone is its own
        arrays = {name: array.cpu().float().numpy() for name, array in body.state_dict().items() if array.ndim}
        return cls(
            arrays={name: array for name, array in arrays.items() if not name.startswith("pooler.")},
            layers=int(config.num_hidden_layers),
            heads=int(config.num_attention_heads),
            epsilon=float(config.layer_norm_eps),
            first_position=FIRST_POSITION[config.model_type],
        )

    @property
    def width(self) -> int:
        """Numbers per token between the layers."""
        return len(self.arrays["embeddings.LayerNorm.weight"])

    @property
    def positions(self) -> int:
        """Tokens that the network can read at most."""
        return len(self.arrays["embeddings.position_embeddings.weight"]) - self.first_position

    def __getitem__(self, name: str) -> FloatMatrix:
        """Return an array by its name."""
        return self.arrays[name]

    def vector(self, name: str) -> FloatVector:
        """Return an array of one dimension by its name."""
        return self.arrays[name]

    def first_layers(self, layers: int) -> "BertWeights":
        """Return the same network without its last layers."""
        return replace(self, layers=layers)


def unknown_part(named: str, reason: str) -> ConfigError:
    """Return the error for a model with a part that is written down in no lane but torch's own."""
    return ConfigError(
        f"only torch's own code can run {named}: {reason}; set runtime.backend=torch, with "
        "runtime.precision=fp32 or bf16"
    )


def unsupported(config: Any) -> str:  # noqa: ANN401 - transformers' configurations share no typed base
    """Return what about a transformers configuration cannot be computed here; empty when nothing is."""
    kind = getattr(config, "model_type", None)
    if kind not in FIRST_POSITION:
        return f"its kind is {kind}, of those that are known ({', '.join(FIRST_POSITION)}) none"
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}, gelu expected"
    if getattr(config, "position_embedding_type", "absolute") not in (None, "absolute"):
        return f"its positions are {config.position_embedding_type}, absolute expected"
    if getattr(config, "is_decoder", False):
        return "it is a decoder"
    return ""
