"""Weights between those before a training and those after it: what was learned, and what the model knew.

Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, section 3: on the straight line between the
two lie models better than both, on queries like those of the training and on others; .5 where nothing can choose.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weights_of(model: "torch.nn.Module") -> "dict[str, torch.Tensor]":
    """Return copies of all parameters of a model by their names."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def set_between(
    model: "torch.nn.Module", before: Mapping[str, "torch.Tensor"], after: Mapping[str, "torch.Tensor"], share: float
) -> None:
    """Set the parameters of a model to ``share`` of the way from ``before`` to ``after``.

    Args:
        model: Is changed.
        before: Name of a parameter -> weights, of all of them; as `weights_of` returns them.
        after: The same, elsewhere.
        share: 0 for ``before``, 1 for ``after``.

    Raises:
        KeyError: When a parameter is missing.
        RuntimeError: When the shapes differ.
    """
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.lerp(before[name], after[name], share))
