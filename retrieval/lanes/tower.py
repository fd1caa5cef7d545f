"""The lane of a dual encoder: from a sentence-transformers model to what runs it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from indexing.errors import ConfigError
from retrieval.config import Precision
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.openvino_graph import DenseLayer, Readout, write_graph
from retrieval.lanes.openvino_lane import OpenVinoLane
from retrieval.tower import TowerSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

POOLINGS = ("mean", "cls")
"""What a graph can pool by."""


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
    graph = write_graph(weights, readout, int8=precision is Precision.int8, pairs=False)
    return OpenVinoLane(
        graph,
        width=settings.dimension,
        hidden=weights.width,
        precision=precision,
        threads=threads,
        batch_tokens=batch_tokens,
        pad_token=int(model.tokenizer.pad_token_id or 0),
    )


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


def unknown_part(named: str, reason: str) -> ConfigError:
    """Return the error for a model with a part that only torch can run."""
    return ConfigError(
        f"runtime.backend=openvino cannot run {named}: {reason}; set runtime.backend=torch, with "
        "runtime.precision=fp32 or bf16"
    )
