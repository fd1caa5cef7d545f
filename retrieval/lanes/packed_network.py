"""A BERT-like network over packed texts: the tokens of a batch in one row after the other, and no padding among them.

All that is not attention works on single tokens, so it does not matter to it where a text ends; attention and pooling
are told. Where only the first token of a text is read, the last layer computes only that (attention still reads all:
it is exact).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexing.types import FloatMatrix
from retrieval.lanes.attention import Attention, Spans
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.lane import LaneInput
from retrieval.lanes.openvino_graph import Readout

if TYPE_CHECKING:
    import torch

Whole = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Texts one after the other, on a device.

    Attributes:
        tokens: Token numbers, int32 [t].
        places: Of every token in its text, from 0, int32 [t].
        segments: 0 or 1 for every token, int32 [t], where texts come in pairs; ``None`` elsewhere.
        spans: Where the texts lie.
        firsts: The same, had every text its first token alone.
        pooled: Which tokens are pooled, int32 [p].
        bags: Where those of every text begin in ``pooled``, int32 [b].
    """

    tokens: "torch.Tensor"
    places: "torch.Tensor"
    segments: "torch.Tensor | None"
    spans: Spans
    firsts: Spans
    pooled: "torch.Tensor"
    bags: "torch.Tensor"


def pack(given: LaneInput, device: str, *, pairs: bool) -> PackedBatch:
    """Lay texts one after the other, in their order, and send all that is known of them to a device in one piece.

    Args:
        given: At least one text, none without tokens.
        device: Where to.
        pairs: Whether ``segments`` are wanted; those of ``given``, 0 where it has none.
    """
    import torch

    lengths = np.fromiter(map(len, given.rows), np.int32, len(given.rows))
    starts = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=starts[1:])
    places = np.arange(starts[-1], dtype=np.int32) - np.repeat(starts[:-1], lengths)
    pooled = np.flatnonzero(places >= given.unpooled).astype(np.int32)
    parts: dict[str, Whole] = {
        "tokens": np.concatenate(given.rows),
        "places": places,
        "segments": np.concatenate(given.segments)
        if pairs and given.segments
        else np.zeros(pairs * len(places), np.int32),
        "starts": starts,
        "firsts": np.arange(len(starts), dtype=np.int32),
        "pooled": pooled,
        "bags": np.searchsorted(pooled, starts[:-1]).astype(np.int32),
    }
    sent = torch.from_numpy(np.concatenate(list(parts.values()), dtype=np.int32))
    if device != "cpu":
        sent = sent.pin_memory().to(device, non_blocking=True)  # from pinned memory, or it would wait for the device
    on = dict(zip(parts, torch.split(sent, [len(part) for part in parts.values()]), strict=True))
    return PackedBatch(
        tokens=on["tokens"],
        places=on["places"],
        segments=on["segments"] if pairs else None,
        spans=Spans(on["starts"], int(lengths.max())),
        firsts=Spans(on["firsts"], 1),
        pooled=on["pooled"],
        bags=on["bags"],
    )


class PackedBert:
    """The network, its weights in one precision on one device. Nothing in it changes when it runs."""

    def __init__(
        self,
        weights: BertWeights,
        readout: Readout,
        *,
        device: str,
        dtype: "torch.dtype",
        attention: Attention,
        whole: bool = False,
    ) -> None:
        """Copy the weights.

        Args:
            weights: The network's.
            readout: What follows its layers; computed in float32.
            device: Where it runs.
            dtype: Of weights and states: float32 or bfloat16.
            attention: How attention is computed.
            whole: Compute the last layer for all tokens even where only the first is read: the twin in the tests.
        """
        import torch

        def tensor(array: FloatMatrix, kind: "torch.dtype" = dtype) -> "torch.Tensor":
            return torch.from_numpy(array).to(device, kind, copy=True)

        self._attention = attention
        self._readout = readout
        self._heads = weights.heads
        self._epsilon = weights.epsilon
        self._words = tensor(weights["embeddings.word_embeddings.weight"])
        self._places = tensor(weights["embeddings.position_embeddings.weight"][weights.first_position :])
        self._kinds = tensor(weights["embeddings.token_type_embeddings.weight"])
        self._embedded = {part: tensor(weights.vector(f"embeddings.LayerNorm.{part}")) for part in ("weight", "bias")}
        self._layers = [
            {part: tensor(array) for part, array in layer_arrays(weights, number).items()}
            for number in range(weights.layers)
        ]
        self._dense = [
            (tensor(layer.weight, torch.float32), tensor(layer.bias, torch.float32), layer.tanh)
            for layer in readout.dense
        ]
        self._first_only = readout.pooling == "cls" and not whole

    def __call__(self, batch: PackedBatch) -> "torch.Tensor":
        """Return what the network gives for every text, float32 [b, width]."""
        x = self._embeddings(batch)
        for number, layer in enumerate(self._layers):
            last = number == len(self._layers) - 1
            x = self._layer(x, layer, batch, first_only=last and self._first_only)
        return self._read(self._pooled(x, batch))

    def _embeddings(self, batch: PackedBatch) -> "torch.Tensor":
        from torch.nn.functional import embedding

        kinds = self._kinds[0] if batch.segments is None else embedding(batch.segments, self._kinds)
        x = embedding(batch.tokens, self._words) + embedding(batch.places, self._places) + kinds
        return self._norm(x, self._embedded, "")

    def _layer(
        self, x: "torch.Tensor", layer: "Mapping[str, torch.Tensor]", batch: PackedBatch, *, first_only: bool
    ) -> "torch.Tensor":
        """Return what a layer makes of states [t, d]; for first tokens alone, [b, d], where nothing else is read."""
        from torch.nn.functional import gelu, linear

        width = x.shape[1]
        weight, bias = layer["attention.weight"], layer["attention.bias"]
        asked, read = batch.spans, x
        if first_only:
            asked, read = batch.firsts, x.index_select(0, batch.spans.starts[:-1])
            (query,) = self._parted(linear(read, weight[:width], bias[:width]), 1)
            key, value = self._parted(linear(x, weight[width:], bias[width:]), 2)
        else:
            query, key, value = self._parted(linear(x, weight, bias), 3)
        seen = self._attention(query, key, value, asked, batch.spans).reshape(len(read), width)
        x = self._norm(read + linear(seen, layer["joined.weight"], layer["joined.bias"]), layer, "joined.norm.")
        inner = gelu(linear(x, layer["inner.weight"], layer["inner.bias"]))
        return self._norm(x + linear(inner, layer["outer.weight"], layer["outer.bias"]), layer, "outer.norm.")

    def _parted(self, x: "torch.Tensor", count: int) -> "tuple[torch.Tensor, ...]":
        """Return ``count`` tensors [t, heads, w] that lie side by side in [t, count * d]."""
        return x.view(len(x), count, self._heads, -1).unbind(1)

    def _norm(self, x: "torch.Tensor", weights: "Mapping[str, torch.Tensor]", name: str) -> "torch.Tensor":
        from torch.nn.functional import layer_norm

        return layer_norm(x, x.shape[1:], weights[name + "weight"], weights[name + "bias"], self._epsilon)

    def _pooled(self, x: "torch.Tensor", batch: PackedBatch) -> "torch.Tensor":
        from torch.nn.functional import embedding_bag

        if self._readout.pooling == "cls":
            return (x if self._first_only else x.index_select(0, batch.spans.starts[:-1])).float()
        # The mean of some rows of a table, for every bag: summed in float32, always in one order, 0 for an empty bag.
        return embedding_bag(batch.pooled, x.float(), batch.bags, mode="mean")

    def _read(self, pooled: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import linear, normalize

        for weight, bias, tanh in self._dense:
            pooled = linear(pooled, weight, bias)
            pooled = pooled.tanh() if tanh else pooled
        if self._readout.dimension:
            pooled = pooled[:, : self._readout.dimension]
        return normalize(pooled, dim=1) if self._readout.unit else pooled


def layer_arrays(weights: BertWeights, number: int) -> dict[str, FloatMatrix]:
    """Return the weights of a layer by the names used here; those of queries, keys and values in one, in that order."""
    name = f"encoder.layer.{number}."
    own = f"{name}attention.self."
    linear = {"joined": "attention.output.dense", "inner": "intermediate.dense", "outer": "output.dense"}
    norms = {"joined.norm": "attention.output.LayerNorm", "outer.norm": "output.LayerNorm"}
    found = {
        f"attention.{part}": np.concatenate([weights[f"{own}{role}.{part}"] for role in ("query", "key", "value")])
        for part in ("weight", "bias")
    }
    for own_name, theirs in (linear | norms).items():
        found |= {f"{own_name}.{part}": weights[f"{name}{theirs}.{part}"] for part in ("weight", "bias")}
    return found
