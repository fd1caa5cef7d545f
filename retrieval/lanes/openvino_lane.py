"""The OpenVINO lane: one stream of work per core, rows of like length together, nothing padded that need not be.

A single text runs on one thread, which is the fastest there is for it: two threads have to meet after every product.
Several texts are parted among the streams. Callers in several threads do not wait for each other as long as there is a
free stream.
"""

import queue
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from indexing.types import FloatMatrix
from retrieval.config import Backend, Precision
from retrieval.lanes.lane import LaneInput, dense_batch
from retrieval.lanes.openvino_package import load_openvino
from retrieval.runtime import available_cores

if TYPE_CHECKING:
    import openvino

BATCH_TOKENS = 512
"""Tokens of a batch: what lies between the products then stays in a core's cache. all-MiniLM-L6-v2 on Icecat in int8,
products a core and second: 221 with 256, 228 with 512, 219 with 1,024; some 10 % less with 2,048."""

GROUP = 64
"""Largest number of activations that share a scale in int8. all-MiniLM-L6-v2, 88 queries over 400 products of Icecat,
top-10 overlap with fp32 and products a core and second: .963 and 221 with 128, .977 and 217 with 64, .977 and 192 with
32."""

Finish = Callable[[FloatMatrix], FloatMatrix]
"""What is left to do in numpy with the rows that the graph gives."""


class OpenVinoLane:
    """Runs one compiled graph.

    Attributes:
        backend: ``openvino``.
        precision: ``fp32``, ``bf16`` or ``int8`` (products of whole numbers, all else as in bf16).
        threads: How many streams, of one thread each, one call may use; there is one for every core, so that callers at
            once do not wait for each other.
    """

    backend = Backend.openvino

    def __init__(
        self,
        model: "openvino.Model",
        *,
        width: int,
        hidden: int,
        precision: Precision,
        threads: int,
        batch_tokens: int,
        pad_token: int,
        finish: Finish | None = None,
    ) -> None:
        """Compile ``model`` for this processor.

        Args:
            model: As `openvino_graph.write_graph` writes it.
            width: Numbers per row of what comes out.
            hidden: Numbers per token between its layers.
            precision: Of the products.
            threads: Threads that one call may use, at least 1.
            batch_tokens: Most tokens (padding included) that are run together.
            pad_token: What padding is filled with; masked, so any token does.
            finish: Applied to what the graph gives, in float32.
        """
        self.precision = precision
        self.threads = threads
        self._width = width
        self._batch_tokens = min(batch_tokens, BATCH_TOKENS)
        self._pad_token = pad_token
        self._finish = finish
        streams = max(threads, available_cores())
        library: Any = load_openvino()
        self._tensor = library.Tensor
        compiled = library.Core().compile_model(model, "CPU", settings(precision, streams, hidden))
        self._inputs = [next(iter(port.get_names())) for port in compiled.inputs]
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    @property
    def description(self) -> str:
        """Return what runs, in words."""
        return f"openvino {self.precision.name}, {self.threads} threads"

    def run(self, given: LaneInput, *, done: Callable[[int], None] | None = None) -> FloatMatrix:
        """See :meth:`retrieval.lanes.lane.Lane.run`."""
        outputs = np.empty((len(given), self._width), dtype=np.float32)
        running: deque[tuple[Any, Any]] = deque()

        def take() -> None:
            request, batch = running.popleft()
            try:
                request.wait()
                found = np.array(request.get_output_tensor(0).data)
            finally:
                self._requests.put(request)
            outputs[batch] = found if self._finish is None else self._finish(found)
            if done is not None:
                done(len(batch))

        try:
            for batch in given.batches(self._budget(given)):
                request = self._next_request(running, take)
                running.append((request, batch))
                self._start(request, given.part(batch))
            while running:
                take()
        finally:
            for request, _ in running:  # after an error: give back no request that is still at work
                with suppress(RuntimeError):  # the first error is the one to report
                    request.wait()
                self._requests.put(request)
        return outputs

    def _budget(self, given: LaneInput) -> int:
        """Return the tokens of a batch: fewer when all of them would otherwise be the work of some streams alone."""
        tokens = sum(map(len, given.rows))
        return min(self._batch_tokens, -(-tokens // self.threads))

    def _next_request(self, running: "deque[tuple[Any, Any]]", take: Callable[[], None]) -> Any:  # noqa: ANN401
        """Return a free request; one that holds some takes its own results rather than wait for another caller's."""
        while running:
            if len(running) < self.threads:
                with suppress(queue.Empty):
                    return self._requests.get_nowait()
            take()
        return self._requests.get()

    def _start(self, request: Any, given: LaneInput) -> None:  # noqa: ANN401 - openvino's InferRequest
        arrays = dict(zip(("tokens", "mask"), dense_batch(given, pad_token=self._pad_token), strict=True))
        for place, name in enumerate(self._inputs):
            request.set_input_tensor(place, self._tensor(self._input(name, given, arrays), shared_memory=False))
        request.start_async()

    def _input(self, name: str, given: LaneInput, arrays: dict[str, Any]) -> Any:  # noqa: ANN401 - int32 or float32
        if name == "segments":
            return dense_batch(LaneInput(given.segments or []), pad_token=0)[0]
        if name == "pooled":
            pooled = arrays["mask"].copy()
            pooled[:, : given.unpooled] = 0
            return pooled
        return arrays[name]


def settings(precision: Precision, streams: int, hidden: int) -> dict[str, Any]:
    """Return what OpenVINO is told: the arithmetic, and so many streams of one thread each."""
    return {
        "INFERENCE_PRECISION_HINT": "f32" if precision is Precision.fp32 else "bf16",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": group_size(hidden) if precision is Precision.int8 else 0,
    }


def group_size(hidden: int) -> int:
    """Return the largest divisor of a width that is at most ``GROUP``: a group that does not divide is not applied."""
    return max(size for size in range(1, min(hidden, GROUP) + 1) if hidden % size == 0)
