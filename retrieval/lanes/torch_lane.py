"""The reference lane: the network as torch runs it, on the CPU or on CUDA, in fp32 or under bfloat16 autocast."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from indexing.types import FloatMatrix
from retrieval.config import Backend, Precision
from retrieval.lanes.lane import LaneInput
from retrieval.runtime import autocast

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 4096
"""Tokens of a batch where none are asked for."""

Forward = Callable[[LaneInput], "torch.Tensor"]
"""At least one row -> float32 [b, width]."""


class TorchLane:
    """Runs a torch network, one forward pass at a time.

    Attributes:
        backend: ``torch``.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``; weights are float32 either way.
        lock: Held during a forward pass; lanes over the same weights share it. Concurrent passes of one module share
            caches and threads, gain nothing on one device, and have mixed up results.
    """

    backend = Backend.torch

    def __init__(
        self,
        forward: Forward,
        *,
        width: int,
        device: str,
        precision: Precision,
        batch_tokens: int,
        lock: "threading.Lock | None" = None,
    ) -> None:
        """Run ``forward``, which gives ``width`` numbers a row, ``batch_tokens`` tokens at most at once (0: 4,096)."""
        self.device = device
        self.precision = precision
        self.lock = lock or threading.Lock()
        self._forward = forward
        self._width = width
        self._batch_tokens = batch_tokens or BATCH_TOKENS

    @property
    def description(self) -> str:
        """Return what runs, in words."""
        return f"torch {self.precision.name} on {self.device}"

    def run(self, given: LaneInput, *, done: Callable[[int], None] | None = None) -> FloatMatrix:
        """See :meth:`retrieval.lanes.lane.Lane.run`."""
        import torch

        outputs = np.empty((len(given), self._width), dtype=np.float32)
        for batch in given.batches(self._batch_tokens):
            with self.lock, torch.inference_mode(), autocast(self.device, self.precision):
                outputs[batch] = self._forward(given.part(batch)).cpu().numpy()
            if done is not None:
                done(len(batch))
        return outputs
