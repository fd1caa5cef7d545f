"""Several processes that share every batch of a training run, as torchrun starts them.

Each process runs its share of the texts; vectors are gathered before the loss and gradients summed after it. All hold
the same weights at every step, and two of them give the loss curve of one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retrieval.gradcache import Alone, Group

if TYPE_CHECKING:
    import torch


class Processes:
    """The group that torchrun has started.

    Attributes:
        rank: Number of this process, from 0; only the first looks at held-out queries and writes files.
        size: How many there are.
    """

    def __init__(self) -> None:
        """Read the group; it must be initialised."""
        import torch

        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

    def add_up(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace every tensor by its sum over the processes, in one message per dtype."""
        import torch

        for dtype in {tensor.dtype for tensor in tensors}:
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in some])
            torch.distributed.all_reduce(flat)
            with torch.no_grad():
                start = 0
                for tensor in some:
                    tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                    start += tensor.numel()


@contextmanager
def process_group(device: str) -> Iterator[Group]:
    """Join the group that torchrun announces in the environment, and leave it at the end; alone without one.

    Args:
        device: ``cpu`` joins through gloo, ``cuda`` through NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Alone()
        return
    import torch

    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Processes()
    finally:
        torch.distributed.destroy_process_group()


def told_by_first(value: float, group: Group) -> float:
    """Return the value that the first process holds, in every process."""
    import torch

    if group.size == 1:
        return value
    told = torch.tensor([value if group.rank == 0 else 0.0], dtype=torch.float64)
    group.add_up([told])
    return float(told.item())
