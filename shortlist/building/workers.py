"""Encoding in several processes: they get whole segments, and what they give comes back in the order of the segments.

What a segment holds is settled before anybody encodes it, so the vectors of a build do not depend on how many workers
there are or on which of them took it. A worker is a fresh interpreter (`shortlist.building.worker`), not a fork: native
threads survive none. It leads its own session, so that Ctrl-C reaches the build alone, which then ends its workers.
"""

import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import wait
from time import monotonic
from typing import IO, Any, Self

import numpy as np

from indexing.errors import EnvironmentProblem, ShortlistError
from indexing.types import FloatMatrix
from retrieval.config import RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.runtime import budget
from shortlist.building.worker import read_error, receive, send, write_runtime
from shortlist.building.worker_process import device_number, environment, limit_transfers, process_state
from shortlist.probe import last_line, signal_name
from shortlist.product_vectors import encode_checked

_log = logging.getLogger(__name__)

CHILD = ("-P", "-m", "shortlist.building.worker")
"""Arguments of the interpreter; ``-P`` keeps the current folder out of its path."""

AHEAD = 2
"""Segments per worker that are being encoded or wait to be written: one slow segment does not stop the others at once,
and no more than these is held in memory."""

LISTEN_S = 5.0
"""Seconds that are listened for at a time. Silence is counted by what was listened: what a worker says while its parent
writes lies in the socket, and where both were stopped, as a frozen container is, no more than this is counted."""

LAST_WORDS_S = 10.0
"""Seconds that a worker whose socket is closed may take to end, before it is killed."""

Segment = list[tuple[bytes, str]]
"""Keys and texts of one segment."""

Owners = Callable[[Sequence[bytes], Sequence[int]], list[str]]
"""The keys of a segment and positions in it -> ids of all products that have one of these texts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What encoding a segment needs besides its texts.

    Attributes:
        dim: Dimension of the vectors.
        owners: Names the products of texts that have no vector.
        advance: Called with the number of texts just encoded.
    """

    dim: int
    owners: Owners
    advance: Callable[[int], None]


def require_devices(runtime: RuntimeConfig) -> None:
    """Refuse devices that are not there, before anything else is done.

    Raises:
        EnvironmentProblem: ``runtime.devices`` names one that torch does not see.
    """
    if not runtime.devices:
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    absent = [name for name in runtime.devices if device_number(name) >= count]
    if absent:
        there = ", ".join(f"cuda:{number}" for number in range(count)) or "none"
        raise EnvironmentProblem(
            f"runtime.devices names {', '.join(absent)}, but torch {torch.__version__} sees these CUDA devices: "
            f"{there}; set runtime.devices to what is there, or leave it out"
        )


def encode_segments(
    encoder: DualEncoder, runtime: RuntimeConfig, segments: Iterator[Segment], work: Work
) -> Generator[tuple[Segment, FloatMatrix], None, None]:
    """Yield every segment with its checked vectors, float32 [n, dim], in order; in this process or in several.

    Args:
        encoder: The product tower, open in this process; workers open the same in the same arithmetic.
        runtime: ``workers``, ``devices`` and ``threads``.
        segments: Read only as far ahead as there is work for.
        work: What else it takes.

    Raises:
        VectorError, EnvironmentProblem: As `encode_checked`, after all segments before that one; a worker ended before
            it was done.
        ConfigError, ArtifactError, EnvironmentProblem: A worker cannot open the encoder.
    """
    count = runtime.workers or len(runtime.devices)
    if count < 2 and not runtime.devices:
        for segment in segments:
            yield segment, _encode_here(encoder, segment, work)
        return
    require_devices(runtime)
    first = next(segments, None)
    if first is None:
        return
    with _Crew(encoder, runtime, count, work) as crew:
        yield from crew.encode(_after(first, segments))


def _encode_here(encoder: DualEncoder, segment: Segment, work: Work) -> FloatMatrix:
    owners = partial(work.owners, [key for key, _ in segment])
    encode = partial(encoder.encode_products, progress=work.advance)
    return encode_checked(encode, [text for _, text in segment], dim=work.dim, owners=owners)


def _after(first: Segment, others: Iterator[Segment]) -> Iterator[Segment]:
    yield first
    yield from others


class _Worker:
    """One process and the segment that it has.

    Attributes:
        name: For messages.
        connection: This side of the socket.
        ready: Whether its encoder is open.
        number: Of the segment that it encodes, from 1; 0 when it has none.
        encoded: Texts of it that are done.
        at: Position of the text that it is at, or that is the longest of a batch; ``None`` before the first.
        silent_s: Seconds that it was listened to and said nothing.
    """

    def __init__(self, name: str, runtime: RuntimeConfig, device: str, task: dict[str, Any]) -> None:
        self.name = name
        self.ready = False
        self.number = 0
        self.encoded = 0
        self.at: int | None = None
        self.silent_s = 0.0
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker; a pipe would fill up
        self.connection, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, *CHILD, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                env=environment(os.environ, runtime.threads, device),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self.connection.close()
            self._words.close()
            raise EnvironmentProblem(f"could not start {name}: {error}; set runtime.workers=1") from error
        finally:
            theirs.close()  # or its end would not be seen
        limit_transfers(self.connection.fileno(), runtime.worker_silence_s)
        with suppress(OSError):  # one that has ended already is noticed by who listens
            send(self.connection, task | {"runtime": write_runtime(runtime)})

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def owes_word(self) -> bool:
        """Whether it has something to do, and so something to say."""
        return not self.ready or self.number > 0

    def give(self, number: int, segment: Segment) -> None:
        """Hand it a segment; one that does not take it is noticed by who listens."""
        self.number, self.encoded, self.at, self.silent_s = number, 0, None, 0.0
        self.tell({"texts": [text for _, text in segment]})

    def tell(self, message: dict[str, Any]) -> None:
        """Send it a message; one that has just ended, or takes nothing, is noticed by who listens."""
        try:
            send(self.connection, message)
        except BlockingIOError:
            self.silent_s = math.inf
        except OSError as gone:
            _log.debug("worker %d takes nothing: %s", self.pid, gone)

    def doing(self) -> str:
        """Say what it was at."""
        if self.number:
            return f"it encoded segment {self.number} of this build"
        return "it waited for work" if self.ready else "it opened the encoder"

    def end(self) -> None:
        """Kill it, wait for its end, and free what it had; ending again does nothing."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._words.close()

    def how_it_ended(self) -> str:
        """Say what ended the process whose socket is closed."""
        try:
            code = self._process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "closed its socket and did not end"
        self._words.seek(0)
        last = last_line(self._words.read().decode("utf-8", "replace"))
        return f"was killed by {signal_name(-code)}{last}" if code < 0 else f"ended with {code}{last}"


class _Crew:
    """Workers at work; leaving the ``with`` block ends them, whatever happened."""

    def __init__(self, encoder: DualEncoder, runtime: RuntimeConfig, count: int, work: Work) -> None:
        self._work = work
        self._count = count
        self._workers: list[_Worker] = []
        self._ending = ExitStack()
        self._at_work: dict[int, Segment] = {}  # handed out and not yet yielded
        self._outcomes: dict[int, FloatMatrix | ShortlistError] = {}
        # All have equally many threads, since which worker takes a segment must not matter.
        own = replace(
            runtime,
            device="cuda" if runtime.devices else encoder.device,
            threads=max(1, budget(runtime) // count),
            precision=encoder.precision,
            backend=encoder.lane.backend,
        )
        self._task = {"encoder": {**asdict(encoder.config), "model": str(encoder.folder.absolute())}, "dim": work.dim}
        self._runtime = own

    def __enter__(self) -> Self:
        """Start the workers."""
        devices = self._runtime.devices
        with self._ending:
            for place in range(self._count):
                device = devices[place % len(devices)] if devices else ""
                name = f"worker {place + 1} of {self._count}" + (f" on {device}" if device else "")
                worker = _Worker(name, self._runtime, device, self._task)
                self._ending.callback(worker.end)
                self._workers.append(worker)
            self._ending = self._ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        self._ending.close()

    def encode(self, segments: Iterator[Segment]) -> Iterator[tuple[Segment, FloatMatrix]]:
        """Yield the segments in order, each as soon as it and all before it are encoded."""
        numbered = enumerate(segments, 1)
        turn = 1
        while True:
            self._hand_out(numbered)
            if turn not in self._at_work:
                return
            while turn not in self._outcomes:
                self._listen()
                self._hand_out(numbered)
            outcome, segment = self._outcomes.pop(turn), self._at_work.pop(turn)
            if isinstance(outcome, ShortlistError):
                raise outcome
            yield segment, outcome
            turn += 1

    def _hand_out(self, numbered: Iterator[tuple[int, Segment]]) -> None:
        """Give segments to the workers that have none; at least one is taken on, even if nobody can have it yet."""
        while not any(isinstance(outcome, ShortlistError) for outcome in self._outcomes.values()):
            free = next((worker for worker in self._workers if worker.ready and not worker.number), None)
            if len(self._at_work) >= AHEAD * self._count or (free is None and self._at_work):
                return
            while free is None:
                self._listen()
                free = next((worker for worker in self._workers if worker.ready), None)
            number, segment = next(numbered, (0, []))
            if not number:
                return
            self._at_work[number] = segment
            free.give(number, segment)

    def _listen(self) -> None:
        """Wait for what any worker says next, or for its end, and note what it means."""
        there = {worker.connection: worker for worker in self._workers}
        begun = monotonic()
        speaking = wait(list(there), LISTEN_S)
        listened_s = min(LISTEN_S, monotonic() - begun)
        for connection, worker in there.items():
            if connection in speaking:
                self._hear(worker)
            elif worker.owes_word:
                worker.silent_s += listened_s
            if worker.owes_word and 0 < self._runtime.worker_silence_s <= worker.silent_s:
                self._give_up(worker)

    def _hear(self, worker: _Worker) -> None:
        worker.silent_s = 0.0
        try:
            message = receive(worker.connection)
            content = worker.connection.recv_bytes() if "vectors" in message else b""
        except BlockingIOError:  # it stopped in the middle of a message
            worker.silent_s = math.inf
        except (EOFError, OSError):
            self._lose(
                worker,
                f"{worker.how_it_ended()} while {worker.doing()}",
                "If memory ran out, set runtime.workers, runtime.batch_tokens or segment_texts lower",
            )
        else:
            self._note(worker, message, content)

    def _note(self, worker: _Worker, message: dict[str, Any], content: bytes) -> None:
        match message:
            case {"encoded": count}:
                worker.encoded += count
                self._work.advance(count)
            case {"at": position}:
                worker.at = position
            case {"ready": _}:
                worker.ready = True
            case {"vectors": count}:
                vectors = np.frombuffer(content, "<f4").reshape(count, self._work.dim)
                self._outcomes[worker.number], worker.number = vectors, 0
            case {"owners": positions}:
                names = self._work.owners([key for key, _ in self._at_work[worker.number]], positions)
                worker.tell({"names": names})
            case {"error": values} if worker.number:
                self._outcomes[worker.number], worker.number = read_error(values), 0
            case {"error": values}:
                raise read_error(values)

    def _give_up(self, worker: _Worker) -> None:
        """End a worker that says nothing, and say which text it was at."""
        state, where = process_state(worker.pid), ""
        worker.end()
        if worker.number:
            segment = self._at_work[worker.number]
            where = f", with {worker.encoded} of its {len(segment)} texts done"
            if worker.at is not None:
                (first, *_) = self._work.owners([key for key, _ in segment], [worker.at])
                where += f", at the text of product {first!r} or one encoded together with it"
        self._lose(
            worker,
            f"{f'({state}) ' if state else ''}said nothing for {self._runtime.worker_silence_s:g} s while "
            f"{worker.doing()}{where}, and was ended",
            "If it may take so long here, set runtime.worker_silence_s higher (0 waits without limit) or "
            "runtime.batch_tokens lower; if it hangs each time, at that text or on that device, leave it out",
        )

    def _lose(self, worker: _Worker, what: str, advice: str) -> None:
        """A worker is gone: so is its segment, or, when it had none, the build."""
        self._workers.remove(worker)
        problem = EnvironmentProblem(
            f"{worker.name} (process {worker.pid}) {what}; the segments before are stored and what was published is "
            f"as it was: build again, which goes on from there. {advice}"
        )
        if not worker.number:
            raise problem
        self._outcomes[worker.number] = problem
