"""The lanes of a cross-encoder: from a sentence-transformers CrossEncoder to what runs it.

The head is applied to the pooled state in float32: in numpy behind an OpenVINO graph, by torch in the packed lane. In
bfloat16, which has eight significant bits, good candidates would tie.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexing.types import FloatMatrix
from retrieval.config import Precision
from retrieval.lanes.bert import BertWeights, unknown_part
from retrieval.lanes.openvino_graph import DenseLayer, Readout, write_graph
from retrieval.lanes.openvino_lane import OpenVinoLane
from retrieval.lanes.packed_lane import PackedLane
from retrieval.lanes.tower import POOLINGS, dense_layers

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder


def openvino_scorer(
    model: "CrossEncoder", *, precision: Precision, threads: int, batch_tokens: int, named: str
) -> OpenVinoLane:
    """Write a cross-encoder down as an OpenVINO graph and compile it.

    Where its head reads the first token alone, the last layer is computed for that token alone, which is exact.

    Raises:
        ConfigError: When the network, its pooling or its head is of a kind that is not known here.
        EnvironmentProblem: When OpenVINO is not installed.
    """
    weights, readout = read_scorer(model, named=named)
    graph = write_graph(
        weights, Readout(pooling=readout.pooling), int8=precision is Precision.int8, pairs=_reads_segments(model)
    )
    return OpenVinoLane(
        graph,
        width=1,
        hidden=weights.width,
        precision=precision,
        threads=threads,
        batch_tokens=batch_tokens,
        pad_token=int(model.tokenizer.pad_token_id or 0),
        finish=lambda states: apply_head(readout.dense, states),
    )


def packed_scorer(model: "CrossEncoder", *, precision: Precision, batch_tokens: int, named: str) -> PackedLane:
    """Copy a cross-encoder to where its model lies, to score pairs of unequal length without padding.

    Raises:
        ConfigError: When the network, its pooling or its head is of a kind that is not known here.
        EnvironmentProblem: When torch has no attention over texts of unequal length there.
    """
    weights, readout = read_scorer(model, named=named)
    return PackedLane(
        weights,
        readout,
        width=1,
        device=str(model.device.type),
        precision=precision,
        batch_tokens=batch_tokens,
        pairs=_reads_segments(model),
    )


def read_scorer(model: "CrossEncoder", *, named: str) -> tuple[BertWeights, Readout]:
    """Return the weights of a cross-encoder's network, and its pooling and head.

    Raises:
        ConfigError: When the network, its pooling or its head is of a kind that is not known here.
    """
    modules: list[Any] = list(model)
    network = modules[0].auto_model
    weights = BertWeights.of(network, named=named)
    pooling = next((module.pooling_mode for module in modules if type(module).__name__ == "Pooling"), "cls")
    if pooling not in POOLINGS:
        raise unknown_part(named, f"it pools by {pooling}, mean or cls expected")
    head = dense_layers(modules[1:], named=named) or classification_head(network, named=named)
    return weights, Readout(pooling=pooling, dense=head)


def _reads_segments(model: "CrossEncoder") -> bool:
    return "token_type_ids" in model.tokenizer.model_input_names


def classification_head(network: "torch.nn.Module", *, named: str) -> list[DenseLayer]:
    """Return the linear layers of a sequence-classification network, in order.

    BERT's are the pooler of its body, with a hyperbolic tangent, and ``classifier``; RoBERTa's both are in
    ``classifier`` (transformers 5.23, ``modeling_bert`` and ``modeling_roberta``).

    Raises:
        ConfigError: When it has neither.
    """
    parts: Any = network
    classifier: Any = getattr(parts, "classifier", None)
    pooler: Any = getattr(getattr(parts, "base_model", None), "pooler", None)
    if hasattr(classifier, "out_proj"):
        return [_layer(classifier.dense, tanh=True), _layer(classifier.out_proj, tanh=False)]
    if hasattr(classifier, "weight") and hasattr(pooler, "dense"):
        return [_layer(pooler.dense, tanh=True), _layer(classifier, tanh=False)]
    raise unknown_part(named, "its head is neither BERT's nor RoBERTa's")


def apply_head(head: Sequence[DenseLayer], states: FloatMatrix) -> FloatMatrix:
    """Return what linear layers make of pooled states, float32 [b, out]; row by row, whatever the other rows are."""
    for layer in head:
        states = np.vecdot(states[:, None, :], layer.weight[None]) + layer.bias
        states = np.tanh(states) if layer.tanh else states
    return states


def _layer(linear: Any, *, tanh: bool) -> DenseLayer:  # noqa: ANN401 - torch's Linear
    weight, bias = (_array(tensor) for tensor in (linear.weight, linear.bias))
    return DenseLayer(weight=weight, bias=bias, tanh=tanh)


def _array(tensor: Any) -> Any:  # noqa: ANN401 - a tensor, as a float32 array
    return tensor.detach().cpu().float().numpy()
