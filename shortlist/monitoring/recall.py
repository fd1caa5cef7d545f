"""Live recall: what the dense index found for sampled queries, held against exact search while the engine serves."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from indexing.exact import ExactIndex
from indexing.recall import recall_at
from indexing.types import BoolVector, FloatMatrix, Neighbors, Vectors
from shortlist.monitoring.sequences import DecayTest, MeanSequence

_WAITING = 32
"""Samples that may wait for their check. A filtered one holds its eligible rows, a byte per product."""

_RECENT = 200
"""Checks in the mean shown beside the one over all. Where one query in two misses .1, its standard error is .004."""

_Outcome: TypeAlias = float | Literal["empty", "failed"]

_log = logging.getLogger(__name__)


class Searched(Protocol):
    """What the watch needs of a generation."""

    @property
    def version(self) -> str:
        """Name of its bundle version."""

    @property
    def vectors(self) -> Vectors:
        """The exact vectors behind its dense index, n rows."""

    @property
    def alive(self) -> BoolVector | None:
        """Rows whose products are there, bool [n]; ``None`` when all are."""


@dataclass(frozen=True, slots=True)
class RecallState:
    """What a watch knows about one bundle version.

    Every sampled query is ``checked``, ``empty``, ``failed`` or ``dropped``, or still ``waiting``.

    Attributes:
        version: What these numbers are about. Another version begins anew; upserts and deletes do not.
        since: When they began, UTC.
        k: Cut-off of the recall.
        target: Recall below which there is an alarm.
        seen: Queries that asked the dense index, sampled or not.
        checked: Samples held against exact search.
        empty: Samples whose filter left nothing to find.
        failed: Samples whose check raised; each is logged.
        dropped: Samples for which there was no room.
        waiting: Samples not yet checked.
        mean: Mean recall of the checked ones; ``None`` before the first.
        recent: Mean recall of the last 200 of them, without a guarantee; ``None`` before the first.
        lower: Lower end of the confidence sequence for the mean; see `MeanSequence`.
        upper: Its upper end.
        evidence: Against "recall is at the target or above"; see `DecayTest`. It can fall again.
        alarm: Whether the evidence has ever reached 1 / alpha.
    """

    version: str
    since: datetime
    k: int
    target: float
    seen: int
    checked: int
    empty: int
    failed: int
    dropped: int
    waiting: int
    mean: float | None
    recent: float | None
    lower: float
    upper: float
    evidence: float
    alarm: bool


class RecallWatch:
    """Checks sampled queries in a thread of its own; ``SearchEngine.watch_recall`` makes it.

    A search hands over what was sampled and goes on. Close the watch, or use it as a context manager: until then it
    keeps its engine alive. It may be read and closed from any thread, ``on_alarm`` included.
    """

    def __init__(
        self,
        current: Callable[[], Searched],
        *,
        target: float,
        k: int,
        sample: float,
        alpha: float,
        load: float,
        seed: int,
        on_alarm: Callable[[RecallState], object] | None = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            current: Returns the generation that serves now, whose version is the one watched.
            target: See ``SearchEngine.watch_recall``, as for those that follow.
            k: Cut-off.
            sample: Probability of a check.
            alpha: Probability of a false alarm.
            load: Largest share of one core.
            seed: Of the sampling.
            on_alarm: Called once per version, in the watch's thread; what it raises is logged.
            on_close: Called when the watch is closed.

        Raises:
            TypeError, ValueError: As ``SearchEngine.watch_recall``.
        """
        _require(k, sample, load)
        self._current = current
        self._target, self._alpha, self._k = target, alpha, k
        self._sample, self._load = sample, load
        self._on_alarm, self._on_close = on_alarm, on_close
        self._draw = random.Random(seed).random
        self._changed = threading.Condition()  # guards what follows
        self._samples: deque[_Sample] = deque()
        self._checking = self._closed = False
        self._tally = _Tally(current().version, target=target, alpha=alpha)
        self._thread = threading.Thread(target=self._work, name="shortlist-recall-watch", daemon=True)
        self._thread.start()

    def offer(self, generation: Searched, vectors: FloatMatrix, found: Neighbors, eligible: BoolVector | None) -> None:
        """Take what the dense index was asked and answered, keep samples of it, and never wait for a check.

        Args:
            generation: The one that answered; when its version does not serve (any more), nothing is counted.
            vectors: Query vectors, float32 [q, d].
            found: What the index returned, [q, depth].
            eligible: Rows that could be returned, bool [n]; ``None`` means all.
        """
        drawn = [slice(place, place + 1) for place in range(len(vectors)) if self._draw() < self._sample]
        samples = [
            _Sample(generation, vectors[at].copy(), Neighbors(found.scores[at].copy(), found.rows[at].copy()), eligible)
            for at in drawn
        ]
        with self._changed:
            self._follow()
            if self._closed or generation.version != self._tally.version:
                return
            room = _WAITING - len(self._samples)
            self._tally.seen += len(vectors)
            self._tally.dropped += len(samples[room:])
            self._samples.extend(samples[:room])
            if samples:
                self._changed.notify_all()

    def state(self) -> RecallState:
        """Return what is known now. Looking changes nothing, however often."""
        with self._changed:
            self._follow()
            return self._state()

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until no sample waits for its check; false when the time is over before that."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._samples or self._checking), timeout_s)

    def close(self) -> None:
        """Stop checking and let the engine go; samples that wait are not checked. The last state stays readable."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._samples.clear()
            self._changed.notify_all()
        if self._on_close is not None:
            self._on_close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        """Return the watch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # --- with the lock held -------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Begin anew when another version serves; samples of the one before are let go, and it with them."""
        if self._closed:  # its engine may be as well
            return
        version = self._current().version
        if version != self._tally.version:
            _log.info("live recall: %s serves in place of %s; counting anew", version, self._tally.version)
            self._samples.clear()
            self._tally = _Tally(version, target=self._target, alpha=self._alpha)

    def _state(self) -> RecallState:
        tally, checked = self._tally, self._tally.means.count
        lower, upper = tally.means.interval()
        return RecallState(
            version=tally.version,
            since=tally.since,
            k=self._k,
            target=self._target,
            seen=tally.seen,
            checked=checked,
            empty=tally.empty,
            failed=tally.failed,
            dropped=tally.dropped,
            waiting=len(self._samples) + self._checking,
            mean=float(tally.means.mean) if checked else None,
            recent=sum(tally.recent) / len(tally.recent) if checked else None,
            lower=float(lower),
            upper=float(upper),
            evidence=float(tally.test.evidence),
            alarm=tally.alarm,
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (spent_s := self._check_next()) is not None:
            with self._changed:  # rest for as long as it takes to keep to the load
                self._changed.wait_for(lambda: self._closed, spent_s * (1 / self._load - 1))

    def _check_next(self) -> float | None:
        """Wait for a sample, check it, and return the seconds that took; ``None`` when the watch is closed.

        A sample holds its generation, so none outlives this call.
        """
        sample = self._next()
        if sample is None:
            return None
        start = time.perf_counter()
        outcome: _Outcome
        try:
            outcome = sample.recall(self._k)
        except Exception:  # noqa: BLE001 - a check that cannot be made must not end the watch
            _log.exception("live recall: a check failed, which is counted")
            outcome = "failed"
        alarm = self._record(sample.generation.version, outcome)
        if alarm is not None:
            self._tell(alarm)
        with self._changed:
            self._checking = False
            self._changed.notify_all()
        return time.perf_counter() - start

    def _next(self) -> "_Sample | None":
        with self._changed:
            while not self._closed:
                self._follow()
                if self._samples:
                    self._checking = True
                    return self._samples.popleft()
                self._changed.wait()
            return None

    def _record(self, version: str, outcome: _Outcome) -> RecallState | None:
        """Count an outcome; return the state when it is the one that raises the alarm."""
        with self._changed:
            self._follow()
            if version != self._tally.version:
                return None
            self._tally.count(outcome)
            if self._tally.alarm or self._tally.test.evidence < 1 / self._alpha:
                return None
            self._tally.alarm = True
            return self._state()

    def _tell(self, state: RecallState) -> None:
        _log.warning(
            "live recall: recall@%d of %s is below %g: mean %.4f over %d checked queries (%.4f to %.4f), %.4f over the "
            "last %d",
            *(state.k, state.version, state.target, state.mean, state.checked, state.lower, state.upper),
            *(state.recent, min(state.checked, _RECENT)),
        )
        if self._on_alarm is not None:
            try:
                self._on_alarm(state)
            except Exception:  # noqa: BLE001 - the code of a caller
                _log.exception("live recall: on_alarm raised")


@dataclass(frozen=True, slots=True)
class _Sample:
    """One query as the dense index answered it."""

    generation: Searched
    vector: FloatMatrix  # [1, d]
    found: Neighbors  # [1, depth]
    eligible: BoolVector | None

    def recall(self, k: int) -> _Outcome:
        """Recall at ``k``, or at the depth that was asked for when that is less."""
        k = min(k, self.found.rows.shape[1])
        eligible = self.generation.alive if self.eligible is None else self.eligible
        exact = ExactIndex(self.generation.vectors).search(self.vector, k, eligible=eligible)
        return recall_at(k, self.found, exact) if exact.rows[0, 0] >= 0 else "empty"


class _Tally:
    """What was counted and observed of one version."""

    def __init__(self, version: str, *, target: float, alpha: float) -> None:
        self.version = version
        self.since = datetime.now(UTC)
        self.seen = self.empty = self.failed = self.dropped = 0
        self.alarm = False
        self.means = MeanSequence(alpha=alpha)
        self.test = DecayTest(target)
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def count(self, outcome: _Outcome) -> None:
        match outcome:
            case "empty":
                self.empty += 1
            case "failed":
                self.failed += 1
            case float():
                self.means.observe(outcome)
                self.test.observe(outcome)
                self.recent.append(outcome)


def _require(k: int, sample: float, load: float) -> None:
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"k must be an int, got {k!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    for name, share in (("sample", sample), ("load", load)):
        if not 0 < share <= 1:
            raise ValueError(f"{name} must be above 0 and at most 1, got {share}")
