"""The OpenVINO lane: one stream of work per core, rows of like length together, nothing padded that need not be.

A single text runs on one thread, which is the fastest there is for it: two threads have to meet after every product.
Several texts are parted among the streams. Callers in several threads do not wait for each other as long as there is a
free stream.

OpenVINO prepares every operation anew when the shape of its input changes, which for a query takes longer than all
products (`SINGLE_TOKENS`). So a single short text, which is what a query is, has a compiled graph of one shape.
"""

import queue
from collections import deque
from collections.abc import Callable, Sequence
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

SINGLE_TOKENS = (8, 16)
"""Tokens of the graphs for a single text, ascending: a shorter text is padded, a longer one takes that of any shape.

All-MiniLM-L6-v2, median ms of a query in bf16 / int8 on one Zen 4 core, 64 queries of Home Depot (4 to 15 tokens, mean
8.5): any shape 2.66 / 2.33; the same padded to multiples of 8 2.08 / 1.15, and to 16 2.05 / 1.09; a graph of 16 tokens
1.57 / .90; one each of 8 and 16 1.49 / 1.06. Shoppers ask less: half of Icecat's queries have 4 tokens, of Home Depot's
6, and 99 of 100 at most 13; 8 tokens take 1.37 / .97 and 16 take 1.74 / 1.63 when nothing else comes between. A graph
takes some 30 MiB in bf16, 20 in int8."""

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
        singles: Sequence[int] = (),
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
            singles: Tokens of further graphs for single texts, ascending; see `SINGLE_TOKENS`.
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
        self._inputs = [next(iter(port.get_names())) for port in model.inputs]
        told = settings(precision, streams, hidden)
        core = library.Core()
        self._requests = _requests(core.compile_model(model, "CPU", told), streams)
        self._singles: dict[int, queue.SimpleQueue[Any]] = {}
        for tokens in singles:
            model.reshape({name: [1, tokens] for name in self._inputs})
            self._singles[tokens] = _requests(core.compile_model(model, "CPU", told), streams)

    @property
    def description(self) -> str:
        """Return what runs, in words."""
        return f"openvino {self.precision.name}, {self.threads} threads"

    def run(self, given: LaneInput, *, done: Callable[[int], None] | None = None) -> FloatMatrix:
        """See :meth:`retrieval.lanes.lane.Lane.run`."""
        if len(given) == 1 and len(given.rows[0]):
            tokens = next((tokens for tokens in self._singles if tokens >= len(given.rows[0])), 0)
            if tokens:
                return self._run_single(given, tokens, done)
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
                self._fill(request, given.part(batch))
                request.start_async()
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

    def _run_single(self, given: LaneInput, tokens: int, done: Callable[[int], None] | None) -> FloatMatrix:
        requests = self._singles[tokens]
        request = requests.get()
        try:
            self._fill(request, given, longest=tokens)
            request.infer()  # in this thread: handing it to another and waking up again takes a tenth of the time
            found: FloatMatrix = np.array(request.get_output_tensor(0).data)
        finally:
            requests.put(request)
        if done is not None:
            done(1)
        return found if self._finish is None else self._finish(found)

    def _fill(self, request: Any, given: LaneInput, *, longest: int = 0) -> None:  # noqa: ANN401 - an InferRequest
        tokens, mask = dense_batch(given, pad_token=self._pad_token, longest=longest)
        arrays: dict[str, Any] = {"tokens": tokens, "mask": mask}
        if "segments" in self._inputs:
            arrays["segments"] = dense_batch(LaneInput(given.segments or []), pad_token=0, longest=longest)[0]
        if "pooled" in self._inputs:
            arrays["pooled"] = mask.copy()
            arrays["pooled"][:, : given.unpooled] = 0
        for place, name in enumerate(self._inputs):
            request.set_input_tensor(place, self._tensor(arrays[name], shared_memory=False))


def _requests(compiled: Any, count: int) -> "queue.SimpleQueue[Any]":  # noqa: ANN401 - openvino's CompiledModel
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


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
