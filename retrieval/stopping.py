"""Early stopping: look at held-out queries now and then, keep the best weights, stop when they no longer improve."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.dev import DevSet
from retrieval.encoder import DualEncoder

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
    """

    def __init__(
        self,
        tower: DualEncoder,
        dev: DevSet | None,
        parameters: "list[torch.Tensor]",
        *,
        patience: int,
        progress: bool = False,
    ) -> None:
        """Look at the untrained model.

        Args:
            tower: The model in training.
            dev: The held-out queries, or none.
            parameters: The parameters that training changes; copies of the best are kept in memory.
            patience: Looks in a row without a better score after which to stop.
            progress: Show a bar for a look that takes long.
        """
        self._tower = tower
        self._dev = dev
        self._parameters = parameters
        self._patience = patience
        self._progress = progress
        self._misses = 0
        self.points: list[DevPoint] = []
        self.best: DevPoint | None = None
        self.look(epoch=0.0, step=0)

    def look(self, *, epoch: float, step: int) -> bool:
        """Measure the model as it is now and return whether training should stop."""
        if self._dev is None:
            return False
        self.points.append(DevPoint(epoch=epoch, step=step, ndcg=self._dev.ndcg(self._tower, progress=self._progress)))
        if self.best is None or self.points[-1].ndcg > self.best.ndcg:
            self.best = self.points[-1]
            self._misses = 0
            self._kept = [parameter.detach().clone() for parameter in self._parameters]
        else:
            self._misses += 1
        return self._misses >= self._patience

    def restore(self) -> None:
        """Put the best weights back into the model; without a dev set the last ones stay."""
        import torch

        if self.best is None:
            return
        with torch.no_grad():
            for parameter, kept in zip(self._parameters, self._kept, strict=True):
                parameter.copy_(kept)
