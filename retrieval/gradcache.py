"""Gradients of a loss over a whole batch, computed part by part: memory of one part, result of all.

The loss sees every vector of the batch, the network only a part at a time. First the vectors are made without a graph;
the loss gives the gradient of each vector; then every part runs again with a graph and takes its vectors' gradients
back through the network. Gradients equal those of one large batch, at the price of a second forward pass.

Source: Gao, Zhang, Han, Callan, Scaling deep contrastive learning batch size under memory limited setup, RepL4NLP 2021,
section 3 (GradCache). Sharing the parts among processes is ours: each runs every n-th part, vectors are gathered before
the loss, gradients are summed after it, so the result does not depend on how many there are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from indexing.types import IntVector
from retrieval.batches import TokenRow, token_budget_batches

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Side:
    """One role's texts of a batch.

    Attributes:
        rows: Token rows.
        encode: Runs the network on some of them and returns unit vectors, float [b, d].
    """

    rows: Sequence[TokenRow]
    encode: "Callable[[Sequence[TokenRow]], torch.Tensor]"


class Group(Protocol):
    """The processes that share a batch."""

    rank: int
    size: int

    def add_up(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace every tensor by its sum over the processes."""


class Alone:
    """One process."""

    rank = 0
    size = 1

    def add_up(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Nothing to add."""


PART_TOKENS = 1024
"""Tokens of a part where memory would hold more: rows of like length share one, so little is padded. With titles of 20
tokens on average a step took 2.6 times as long where all rows of a side were padded to the longest."""


@dataclass(frozen=True, slots=True)
class _Part:
    side: int
    rows: IntVector
    seed: int


def cached_backward(
    sides: Sequence[Side],
    loss: "Callable[..., torch.Tensor]",
    *,
    batch_tokens: int,
    dim: int,
    seed: int,
    group: Group,
    parameters: "Sequence[torch.Tensor]",
) -> float:
    """Add the gradient of a loss over all vectors of a batch to ``parameters`` and return the loss.

    Args:
        sides: The roles, such as queries and products.
        loss: Takes one matrix of unit vectors per side, float [rows, d], and returns a scalar.
        batch_tokens: Tokens (padding included) whose graph memory holds at once. A batch of no more runs through the
            network once, a larger one twice.
        dim: Length of the vectors.
        seed: Seeds the dropout of this batch. Every part has a seed of its own, so dropout depends on neither the
            second run nor the process it happens in.
        group: The processes that share the work.
        parameters: What is learned; their ``grad`` is added to, and is the same in every process. With several
            processes it must be empty before.

    Returns:
        The loss. Not finite means that nothing was added.
    """
    import torch

    parts = _parts(sides, min(batch_tokens, PART_TOKENS), seed)
    if group.size == 1 and sum(_tokens(sides, part) for part in parts) <= batch_tokens:
        value = loss(*_all_at_once(sides, parts))
        if torch.isfinite(value):
            value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())
    mine = parts[group.rank :: group.size]
    leaves = _gather(sides, mine, dim=dim, group=group, like=parameters[0])
    value = loss(*leaves)
    if torch.isfinite(value):
        value.backward()  # type: ignore[no-untyped-call]
        _take_back(sides, mine, leaves, group=group, parameters=parameters)
    return float(value.detach())


def _parts(sides: Sequence[Side], batch_tokens: int, seed: int) -> list[_Part]:
    parts: list[_Part] = []
    for number, side in enumerate(sides):
        for rows in token_budget_batches([len(row) for row in side.rows], batch_tokens):
            drawn = np.random.SeedSequence([seed, len(parts)]).generate_state(1)
            parts.append(_Part(side=number, rows=rows, seed=int(drawn[0])))
    return parts


def _tokens(sides: Sequence[Side], part: _Part) -> int:
    return len(part.rows) * max(len(sides[part.side].rows[row]) for row in part.rows)


def _all_at_once(sides: Sequence[Side], parts: Sequence[_Part]) -> "Iterator[torch.Tensor]":
    """Yield every side's vectors in the order of its rows, all of them in one graph."""
    import torch

    for number in range(len(sides)):
        own = [part for part in parts if part.side == number]
        vectors = torch.cat([_encode(sides, part, graph=True) for part in own])
        order = np.argsort(np.concatenate([part.rows for part in own]))
        yield vectors[torch.from_numpy(order).to(vectors.device)]


def _encode(sides: Sequence[Side], part: _Part, *, graph: bool) -> "torch.Tensor":
    """Return the vectors of a part, in its order."""
    import torch

    side = sides[part.side]
    torch.manual_seed(part.seed)
    with torch.set_grad_enabled(graph):
        return side.encode([side.rows[row] for row in part.rows])


def _gather(
    sides: Sequence[Side], mine: Sequence[_Part], *, dim: int, group: Group, like: "torch.Tensor"
) -> "list[torch.Tensor]":
    """Return every side's vectors as leaves of a new graph."""
    import torch

    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    whole = [torch.zeros(len(side.rows), dim, dtype=dtype, device=like.device) for side in sides]
    for part in mine:
        whole[part.side][_places(part, like)] = _encode(sides, part, graph=False)
    group.add_up(whole)  # every row is 0 in all processes but one
    return [vectors.requires_grad_() for vectors in whole]


def _take_back(
    sides: Sequence[Side],
    mine: Sequence[_Part],
    leaves: "Sequence[torch.Tensor]",
    *,
    group: Group,
    parameters: "Sequence[torch.Tensor]",
) -> None:
    import torch

    for part in mine:
        gradient = leaves[part.side].grad
        if gradient is None:  # the loss does not look at this side
            continue
        vectors = _encode(sides, part, graph=True)
        (vectors * gradient[_places(part, gradient)]).sum().backward()  # type: ignore[no-untyped-call]
    if group.size > 1:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        group.add_up([parameter.grad for parameter in parameters if parameter.grad is not None])


def _places(part: _Part, like: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.from_numpy(part.rows).to(like.device)
