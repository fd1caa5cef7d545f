"""A BERT-like network written down as an OpenVINO graph: from weights, without tracing torch and without a converter.

Written by hand because what is gained lies in how it is written: where only the first token is read, the last layer
computes only that (attention still reads all: it is exact); pooling and unit length are part of the graph. A network of
six layers takes a quarter of a second to write down and compile, so nothing compiled is kept on disk
(docs/decisions/0014).

int8 is arithmetic on both sides: weights are rounded once, a scale for every output, and the activations of every token
when they are there, a scale for every group of its numbers. So nothing has to be calibrated, and the result for a row
does not depend on the other rows, or on the catalogue. The value products stay in bf16: their rounding errors
are alike in all tokens, so pooling adds them up instead of averaging them out (measured; docs/decisions/0014).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from indexing.types import FloatMatrix, FloatVector
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.openvino_package import load_openvino

if TYPE_CHECKING:
    import openvino

MASKED = -1e4
"""Added to the attention logits of padding: its weight is then 0 in float32 and in bfloat16."""

INT8_LARGEST = 127


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A linear layer behind the pooling.

    Attributes:
        weight: float32 [out, in].
        bias: float32 [out]; zeros where there is none.
        tanh: Whether a hyperbolic tangent follows.
    """

    weight: FloatMatrix
    bias: FloatVector
    tanh: bool


@dataclass(frozen=True, slots=True)
class Readout:
    """What becomes of the last layer.

    Attributes:
        pooling: ``mean`` over the pooled tokens, or ``cls``, the first token alone.
        unpooled: Whether the caller says which tokens are pooled.
        dense: Linear layers behind it, in order.
        dimension: Numbers kept, from the first; 0 keeps all.
        unit: Whether rows are scaled to unit length.
    """

    pooling: str
    unpooled: bool = False
    dense: Sequence[DenseLayer] = ()
    dimension: int = 0
    unit: bool = False


def write_graph(
    weights: BertWeights, readout: Readout, *, int8: bool, pairs: bool, whole: bool = False
) -> "openvino.Model":
    """Write the network down.

    It takes ``tokens``, int32 [b, t]; ``mask``, float32 [b, t], 1 where there is a token and 0 where there is padding;
    for pairs ``segments``, int32 [b, t]; and where a prompt is not pooled ``pooled``, float32 [b, t].

    Args:
        weights: Its weights.
        readout: What follows the layers.
        int8: Round weights and activations of the large products.
        pairs: Take ``segments`` as a third input.
        whole: Compute the last layer for all tokens even where only the first is read: the twin in the tests.

    Returns:
        A model with one output, float32 [b, width].
    """
    return _Writer(weights, int8=int8).model(readout, pairs=pairs, whole=whole)


class _Writer:
    """Operations of one graph; ``x`` is always [b, t, width]."""

    def __init__(self, weights: BertWeights, *, int8: bool) -> None:
        self._openvino: Any = load_openvino()
        from openvino import opset13

        self._op: Any = opset13
        self._weights = weights
        self._int8 = int8

    def model(self, readout: Readout, *, pairs: bool, whole: bool) -> Any:  # noqa: ANN401 - openvino's Model
        op = self._op
        named = {"tokens": op.parameter([-1, -1], np.int32), "mask": op.parameter([-1, -1], np.float32)}
        if pairs:
            named["segments"] = op.parameter([-1, -1], np.int32)
        if readout.unpooled:
            named["pooled"] = op.parameter([-1, -1], np.float32)
        for name, parameter in named.items():
            parameter.output(0).set_names({name})
        bias = op.unsqueeze(op.multiply(op.subtract(named["mask"], self._of(1.0)), self._of(-MASKED)), self._of([1, 2]))
        x = self._embedded(named["tokens"], named.get("segments"))
        for layer in range(self._weights.layers):
            last = layer == self._weights.layers - 1
            x = self._layer(
                x, bias, f"encoder.layer.{layer}.", first_only=last and readout.pooling == "cls" and not whole
            )
        pooled = self._pooled(x, named.get("pooled", named["mask"]), readout)
        return self._openvino.Model([self._read(pooled, readout)], list(named.values()), "encoder")

    def _of(self, value: Any) -> Any:  # noqa: ANN401 - any number or array
        array = np.asarray(value)
        kind = {"f": np.float32, "i": np.int8 if array.dtype == np.int8 else np.int64}[array.dtype.kind]
        return self._op.constant(np.array(array, kind, order="C"))

    def _embedded(self, tokens: Any, segments: Any) -> Any:  # noqa: ANN401 - openvino's nodes
        op, weights = self._op, self._weights
        table = weights["embeddings.position_embeddings.weight"][weights.first_position :]
        kinds = weights["embeddings.token_type_embeddings.weight"]
        length = op.squeeze(op.gather(op.shape_of(tokens, "i64"), self._of([1]), self._of(0)), self._of([0]))
        positions = op.range(self._of(0), length, self._of(1), "i64")
        words = op.gather(self._of(weights["embeddings.word_embeddings.weight"]), tokens, self._of(0))
        if segments is None:
            table = table + kinds[0]
        else:
            words = op.add(words, op.gather(self._of(kinds), segments, self._of(0)))
        places = op.unsqueeze(op.gather(self._of(table), positions, self._of(0)), self._of(0))
        return self._norm(op.add(words, places), "embeddings.LayerNorm.")

    def _layer(self, x: Any, bias: Any, name: str, *, first_only: bool) -> Any:  # noqa: ANN401 - openvino's nodes
        """Return what a layer makes of ``x``; for its first token alone, [b, 1, width], where nothing else is read."""
        op, weights, heads = self._op, self._weights, self._weights.heads
        read = op.slice(x, self._of([0]), self._of([1]), self._of([1]), self._of([1])) if first_only else x
        own = f"{name}attention.self."
        parts = ("query", "key")
        if first_only:
            query, key = (self._linear(given, own + part) for given, part in zip((read, x), parts, strict=True))
        else:
            weight = np.concatenate([weights[f"{own}{part}.weight"] for part in parts])
            both = self._product(x, weight, np.concatenate([weights.vector(f"{own}{part}.bias") for part in parts]))
            query, key = op.split(both, self._of(2), 2).outputs()
        value = self._linear(x, own + "value", rounded=False)
        split, order = self._of([0, 0, heads, weights.width // heads]), self._of([0, 2, 1, 3])
        apart = [op.transpose(op.reshape(part, split, True), order) for part in (query, key, value)]
        seen = op.scaled_dot_product_attention(*apart, bias)
        joined = op.reshape(op.transpose(seen, order), self._of([0, 0, weights.width]), True)
        x = self._norm(
            op.add(read, self._linear(joined, name + "attention.output.dense")), name + "attention.output.LayerNorm."
        )
        inner = op.gelu(self._linear(x, name + "intermediate.dense"), "erf")
        return self._norm(op.add(x, self._linear(inner, name + "output.dense")), name + "output.LayerNorm.")

    def _linear(self, x: Any, name: str, *, rounded: bool = True) -> Any:  # noqa: ANN401 - openvino's nodes
        return self._product(x, self._weights[f"{name}.weight"], self._weights.vector(f"{name}.bias"), rounded=rounded)

    def _product(self, x: Any, weight: FloatMatrix, bias: FloatVector, *, rounded: bool = True) -> Any:  # noqa: ANN401
        op = self._op
        if self._int8 and rounded:
            scale, whole_numbers = rounded_rows(weight)
            constant = op.multiply(op.convert(self._of(whole_numbers), "f32"), self._of(scale))
        else:
            constant = self._of(weight)
        return op.add(op.matmul(x, constant, False, True), self._of(bias[None, None]))

    def _norm(self, x: Any, name: str) -> Any:  # noqa: ANN401 - openvino's nodes
        op, weights = self._op, self._weights
        scaled = op.mvn(x, self._of([-1]), True, weights.epsilon, "INSIDE_SQRT")
        gain, shift = (self._of(weights.vector(name + part)[None, None]) for part in ("weight", "bias"))
        return op.add(op.multiply(scaled, gain), shift)

    def _pooled(self, x: Any, pooled: Any, readout: Readout) -> Any:  # noqa: ANN401 - openvino's nodes
        op = self._op
        if readout.pooling == "cls":
            return op.squeeze(op.slice(x, self._of([0]), self._of([1]), self._of([1]), self._of([1])), self._of([1]))
        wide = op.unsqueeze(pooled, self._of(2))
        count = op.maximum(op.reduce_sum(pooled, self._of([1]), True), self._of(1e-9))
        return op.divide(op.reduce_sum(op.multiply(x, wide), self._of([1])), count)

    def _read(self, pooled: Any, readout: Readout) -> Any:  # noqa: ANN401 - openvino's nodes
        op = self._op
        for layer in readout.dense:
            pooled = op.add(op.matmul(pooled, self._of(layer.weight), False, True), self._of(layer.bias[None]))
            pooled = op.tanh(pooled) if layer.tanh else pooled
        if readout.dimension:
            pooled = op.slice(pooled, self._of([0]), self._of([readout.dimension]), self._of([1]), self._of([1]))
        return op.normalize_l2(pooled, self._of([1]), 1e-12, "max") if readout.unit else pooled


def rounded_rows(weight: FloatMatrix) -> tuple[FloatMatrix, "np.typing.NDArray[np.int8]"]:
    """Return a scale per row, float32 [out, 1], and the row in whole numbers, int8 [out, in], symmetric around 0."""
    largest = np.abs(weight).max(axis=1, keepdims=True)
    scale = (np.where(largest > 0, largest, 1) / INT8_LARGEST).astype(np.float32)
    return scale, np.rint(weight / scale).astype(np.int8)
