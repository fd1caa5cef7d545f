"""The packed lane: texts of unequal length in one batch without padding; made for CUDA, where it is the fast one.

The device is kept busy: while it computes a batch, the next is put together and sent, and only then is the one before
waited for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from indexing.types import FloatMatrix, IntVector
from retrieval.batches import filled_batches
from retrieval.config import Backend, Precision
from retrieval.lanes.attention import choose_attention
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.lane import LaneInput
from retrieval.lanes.openvino_graph import Readout
from retrieval.lanes.packed_network import PackedBert, pack

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 32_768
"""Tokens of a batch where none are asked for. Each layer starts about a dozen kernels, which takes the processor a
tenth of a millisecond, whatever they compute: a batch has to be worth it. States of so many tokens take some 400 MB in
a network of width 384. Reckoned, not measured."""


@dataclass(slots=True)
class _Running:
    """A batch under way: its places, and where its vectors arrive once ``arrived`` (nothing on a processor) is over."""

    places: IntVector
    vectors: "torch.Tensor"
    arrived: Any


class PackedLane:
    """Runs one network. Calls from several threads share nothing that changes.

    Attributes:
        backend: ``packed``.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` (on processors) or ``bf16``; weights and states, pooling and what follows it in float32.
    """

    backend = Backend.packed

    def __init__(
        self,
        weights: BertWeights,
        readout: Readout,
        *,
        width: int,
        device: str,
        precision: Precision,
        batch_tokens: int,
        pairs: bool = False,
    ) -> None:
        """Copy the weights to the device.

        Args:
            weights: The network's.
            readout: What follows its layers.
            width: Numbers per row of what comes out.
            device: ``cpu`` or ``cuda``.
            precision: ``fp32`` or ``bf16``.
            batch_tokens: Most tokens that run together, a longer text excepted; 0 takes ``BATCH_TOKENS``.
            pairs: Whether the network is told which of two texts a token belongs to.

        Raises:
            EnvironmentProblem: When torch has no such attention there; see `choose_attention`.
        """
        import torch

        attention = choose_attention(device, heads=weights.heads, width=weights.width // weights.heads)
        dtype = torch.float32 if precision is Precision.fp32 else torch.bfloat16
        self.device = device
        self.precision = precision
        self._network = PackedBert(weights, readout, device=device, dtype=dtype, attention=attention)
        self._width = width
        self._pairs = pairs
        self._batch_tokens = batch_tokens or BATCH_TOKENS

    @property
    def description(self) -> str:
        """Return what runs, in words."""
        return f"packed {self.precision.name} on {self.device}"

    def run(self, given: LaneInput, *, done: Callable[[int], None] | None = None) -> FloatMatrix:
        """See :meth:`retrieval.lanes.lane.Lane.run`; a row without tokens gives zeros."""
        outputs = np.zeros((len(given), self._width), dtype=np.float32)
        lengths = np.fromiter(map(len, given.rows), np.int64, len(given))

        def take(running: _Running) -> None:
            if running.arrived is not None:
                running.arrived.synchronize()
            outputs[running.places] = running.vectors.numpy()
            if done is not None:
                done(len(running.places))

        before: _Running | None = None
        for places in filled_batches(lengths, self._batch_tokens):
            running = self._start(given.part(places), places)
            if before is not None:
                take(before)
            before = running
        if before is not None:
            take(before)
        return outputs

    def _start(self, given: LaneInput, places: IntVector) -> _Running:
        """Have a batch computed and its vectors copied back; on a device, return before that is done."""
        import torch

        with torch.inference_mode():
            vectors = self._network(pack(given, self.device, pairs=self._pairs)).to("cpu", non_blocking=True)
        if self.device == "cpu":
            return _Running(places, vectors, None)
        arrived: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return _Running(places, vectors, arrived)
