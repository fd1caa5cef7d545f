"""What a training run needs to go on after a kill as if nothing had happened: one safetensors file, no pickle.

Order, noise and dropout follow from the seed and the number of the step, so no random state has to be kept: weights,
the optimiser's moments, what early stopping has seen, and the losses so far are all.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing import storage
from indexing.errors import ArtifactCorrupt
from retrieval.learner import Learner
from retrieval.stopping import DevPoint, EarlyStopping

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps per weight (torch.optim.AdamW.state)."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        losses: Losses of the steps taken before; its length is the number of the last one.
        seconds: Wall time they took.
    """

    losses: tuple[float, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint of one run.

    Attributes:
        path: Its file, beside the folder that the run will write.
        run: Digest of everything that decides the run; another run's checkpoint is not gone on from.
    """

    path: Path
    run: str

    @classmethod
    def of(cls, out: Path, *, settings: Mapping[str, Any], texts: Iterable[Sequence[str]]) -> "Checkpoint":
        """Name the checkpoint of a run after its folder, its settings and what it learns from."""
        content = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for group in texts:
            content.update(hashlib.sha256("\x00".join(group).encode("utf-8", "surrogatepass")).digest())
        return cls(path=out.with_name(f".{out.name}.checkpoint.safetensors"), run=content.hexdigest())

    def write(self, learner: Learner, stopping: EarlyStopping, *, losses: Sequence[float], seconds: float) -> None:
        """Replace the checkpoint by the state after the last of ``losses``.

        Raises:
            StorageError: When the file system refuses; the checkpoint before stays.
        """
        from safetensors.torch import save

        tensors: dict[str, torch.Tensor] = {}
        for number, weight in enumerate(learner.parameters):
            tensors[f"weight.{number}"] = weight.detach().contiguous()
            for name in MOMENTS if weight in learner.optimiser.state else ():
                tensors[f"{name}.{number}"] = learner.optimiser.state[weight][name].contiguous()
        for number, weight in enumerate(stopping.kept):
            tensors[f"best.{number}"] = weight.contiguous()
        state = {
            "run": self.run,
            "losses": list(losses),
            "seconds": seconds,
            "dev": [asdict(point) for point in stopping.points],
            "misses": stopping.misses,
        }
        storage.replace_bytes(self.path, save(tensors, metadata={"state": json.dumps(state)}))

    def resume(self, learner: Learner, stopping: EarlyStopping) -> Resumed:
        """Put weights, optimiser and early stopping where the checkpoint left them; without one, change nothing.

        Raises:
            ArtifactCorrupt: When the file is no checkpoint.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return Resumed()
        try:
            with safe_open(str(self.path), framework="pt") as opened:
                state = json.loads(opened.metadata()["state"])
                if state["run"] != self.run:
                    logger.warning("%s is of a run with other settings or data; starting anew", self.path)
                    return Resumed()
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ArtifactCorrupt(f"{self.path} is no checkpoint: {error}; remove it to start anew") from error
        _restore(learner, tensors)
        points = [DevPoint(**point) for point in state["dev"]]
        stopping.resume(points, misses=int(state["misses"]), kept=_numbered(tensors, "best"))
        logger.warning("going on after step %d of %s", len(state["losses"]), self.path)
        return Resumed(losses=tuple(state["losses"]), seconds=float(state["seconds"]))

    def remove(self) -> None:
        """Remove the file; none there is fine."""
        storage.remove_file(self.path)


def _restore(learner: Learner, tensors: "Mapping[str, torch.Tensor]") -> None:
    import torch

    with torch.no_grad():
        for number, weight in enumerate(learner.parameters):
            weight.copy_(tensors[f"weight.{number}"])
            if f"step.{number}" in tensors:
                learner.optimiser.state[weight] = {
                    name: tensors[f"{name}.{number}"].to(weight.device) for name in MOMENTS
                }


def _numbered(tensors: "Mapping[str, torch.Tensor]", name: str) -> "list[torch.Tensor]":
    found = sorted((int(key.partition(".")[2]), key) for key in tensors if key.startswith(f"{name}."))
    return [tensors[key] for _, key in found]
