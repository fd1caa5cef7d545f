"""Early stopping: look at held-out queries now and then, keep the best weights, stop when they no longer improve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.dev import DevSet
from retrieval.encoder import DualEncoder
from retrieval.gradcache import Alone, Group
from retrieval.processes import told_by_first

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class DevPoint:
    """One look at the held-out queries.

    Attributes:
        epoch: Epochs done, 0 before the first step; a fraction within one.
        step: Steps done.
        ndcg: Mean nDCG@10 over the dev pool.
    """

    epoch: float
    step: int
    ndcg: float


class EarlyStopping:
    """Keeps the weights that did best, those before the first step included. Without a dev set it never stops.

    Attributes:
        points: Every look so far, the untrained model first; empty without a dev set.
        best: The look whose weights are kept; ``None`` without a dev set.
        kept: Those weights, in the order of the parameters; empty without a dev set.
        misses: Looks in a row without a better score.
    """

    def __init__(
        self,
        tower: DualEncoder,
        dev: DevSet | None,
        parameters: "list[torch.Tensor]",
        *,
        patience: int,
        progress: bool = False,
        group: Group | None = None,
    ) -> None:
        """Set up; the first look, at the untrained model, is the caller's.

        Args:
            tower: The model in training.
            dev: The held-out queries, or none.
            parameters: The parameters that training changes; copies of the best are kept in memory.
            patience: Looks in a row without a better score after which to stop.
            progress: Show a bar for a look that takes long.
            group: The processes that train together: the first looks, and tells the others what it saw.
        """
        self._tower = tower
        self._dev = dev
        self._parameters = parameters
        self._patience = patience
        self._progress = progress
        self._group = group or Alone()
        self.misses = 0
        self.points: list[DevPoint] = []
        self.best: DevPoint | None = None
        self.kept: list[torch.Tensor] = []

    def look(self, *, epoch: float, step: int) -> bool:
        """Measure the model as it is now and return whether training should stop."""
        if self._dev is None:
            return False
        seen = self._dev.ndcg(self._tower, progress=self._progress) if self._group.rank == 0 else 0.0
        self.points.append(DevPoint(epoch=epoch, step=step, ndcg=told_by_first(seen, self._group)))
        if self.best is None or self.points[-1].ndcg > self.best.ndcg:
            self.best = self.points[-1]
            self.misses = 0
            self.kept = [parameter.detach().clone() for parameter in self._parameters]
        else:
            self.misses += 1
        return self.misses >= self._patience

    def resume(self, points: "Sequence[DevPoint]", *, misses: int, kept: "Sequence[torch.Tensor]") -> None:
        """Go on where another run of the same recipe was."""
        self.points = list(points)
        self.misses = misses
        self.kept = [weight.to(like.device) for weight, like in zip(kept, self._parameters, strict=False)]
        self.best = max(self.points, key=lambda point: point.ndcg, default=None)

    def restore(self) -> None:
        """Put the best weights back into the model; without a dev set the last ones stay."""
        import torch

        if self.best is None:
            return
        with torch.no_grad():
            for parameter, kept in zip(self._parameters, self.kept, strict=True):
                parameter.copy_(kept)
