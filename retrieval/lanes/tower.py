"""The lanes of a dual encoder: from a sentence-transformers model to what runs it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.config import Precision
from retrieval.lanes.bert import BertWeights, unknown_part
from retrieval.lanes.openvino_graph import DenseLayer, Readout, write_graph
from retrieval.lanes.openvino_lane import SINGLE_TOKENS, OpenVinoLane
from retrieval.lanes.packed_lane import PackedLane
from retrieval.tower import TowerSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

POOLINGS = ("mean", "cls")
"""What a network that is written down can pool by."""


def openvino_tower(
    model: "SentenceTransformer",
    settings: TowerSettings,
    *,
    precision: Precision,
    threads: int,
    batch_tokens: int,
    named: str,
) -> OpenVinoLane:
    """Write a tower down as an OpenVINO graph, its pooling, linear layers and unit length included, and compile it.

    Raises:
        ConfigError: When the network, its pooling or a layer behind it is of a kind that is not known here.
        EnvironmentProblem: When OpenVINO is not installed.
    """
    weights, readout = read_tower(model, settings, named=named)
    graph = write_graph(weights, readout, int8=precision is Precision.int8, pairs=False)
    return OpenVinoLane(
        graph,
        width=settings.dimension,
        hidden=weights.width,
        precision=precision,
        threads=threads,
        batch_tokens=batch_tokens,
        pad_token=int(model.tokenizer.pad_token_id or 0),
        singles=[tokens for tokens in SINGLE_TOKENS if tokens <= weights.positions],
    )


def packed_tower(
    model: "SentenceTransformer", settings: TowerSettings, *, precision: Precision, batch_tokens: int, named: str
) -> PackedLane:
    """Copy a tower, its pooling, linear layers and unit length included, to where its model lies, to run unpadded.

    Raises:
        ConfigError: When the network, its pooling or a layer behind it is of a kind that is not known here.
        EnvironmentProblem: When torch has no attention over texts of unequal length there.
    """
    weights, readout = read_tower(model, settings, named=named)
    return PackedLane(
        weights,
        readout,
        width=settings.dimension,
        device=str(model.device.type),
        precision=precision,
        batch_tokens=batch_tokens,
    )


def read_tower(model: "SentenceTransformer", settings: TowerSettings, *, named: str) -> tuple[BertWeights, Readout]:
    """Return the weights of a tower's network, and what becomes of its last layer.

    Raises:
        ConfigError: When the network, its pooling or a layer behind it is of a kind that is not known here.
    """
    network: Any = model[0].auto_model
    weights = BertWeights.of(network, named=named)
    if settings.pooling not in POOLINGS:
        raise unknown_part(named, f"it pools by {settings.pooling}, mean or cls expected")
    if settings.pooling == "cls" and not settings.prompt_pooled:
        raise unknown_part(named, "it pools the first token behind the prompt")
    if model.tokenizer.padding_side != "right":
        raise unknown_part(named, "it is padded on the left")
    readout = Readout(
        pooling=settings.pooling,
        unpooled=not settings.prompt_pooled,
        dense=dense_layers(list(model)[1:], named=named),
        dimension=settings.dimension,
        unit=True,
    )
    return weights, readout


def dense_layers(modules: "list[torch.nn.Module]", *, named: str) -> list[DenseLayer]:
    """Return the linear layers among the modules behind a transformer, in order.

    Raises:
        ConfigError: When one has another activation than none or tanh.
    """
    layers = []
    for module in modules:
        if type(module).__name__ != "Dense":
            continue
        dense: Any = module
        activation = type(dense.activation_function).__name__
        if activation not in ("Identity", "Tanh"):
            raise unknown_part(named, f"a Dense layer has the activation {activation}, Identity or Tanh expected")
        linear = dense.linear
        weight = linear.weight.detach().cpu().float().numpy()
        bias = np.zeros(len(weight), np.float32) if linear.bias is None else linear.bias.detach().cpu().float().numpy()
        layers.append(DenseLayer(weight=weight, bias=bias, tanh=activation == "Tanh"))
    return layers
