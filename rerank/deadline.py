"""Reranking until a deadline: candidates in the order of their promise, a few at a time, until time or doubt runs out.

Every micro-batch is predicted before it begins (`rerank.cost`) and made as small as the time left asks for. So an
answer is late by less than the one batch that took longer than predicted, and what was scored until then counts.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from indexing.types import FloatVector
from rerank.cost import BatchCost
from rerank.final import Mix
from rerank.reranker import Reranker
from rerank.stepping import Steps, steps_of

ROOM = 10.0
"""Where so many times the predicted time is left, all candidates are scored at once, as without a deadline."""

LOOKAHEAD = 16
"""Candidates made ready at a time: what is made ready and not scored any more is lost, a fraction of a millisecond."""

Clock = Callable[[], float]
"""Seconds from any moment on."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which an answer should be there.

    Attributes:
        at_s: On ``clock``.
        clock: Seconds.
    """

    at_s: float
    clock: Clock = time.perf_counter

    @classmethod
    def after(cls, start_s: float, deadline_ms: float, clock: Clock = time.perf_counter) -> "Deadline":
        """Return the moment so many milliseconds after ``start_s``, which was read from the same clock."""
        return cls(start_s + deadline_ms / 1000, clock)

    def left_ms(self) -> float:
        """Return the milliseconds until then; below 0 afterwards."""
        return (self.at_s - self.clock()) * 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cross-encoder has said.

    Attributes:
        scores: Of the first m candidates, float32 [m].
        of: How many it was to see.
        settled: Whether it was stopped because nothing could change the first places any more.
        batches: Micro-batches that ran.
    """

    scores: FloatVector
    of: int
    settled: bool = False
    batches: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether the deadline came first."""
        return len(self.scores) < self.of and not self.settled


def score_all(reranker: Reranker, cost: BatchCost, query: str, texts: Sequence[str]) -> Seen:
    """Score every text at once; other callers wait."""
    with cost.lane:
        return _all_at_once(reranker, query, texts)


def _all_at_once(reranker: Reranker, query: str, texts: Sequence[str]) -> Seen:
    return Seen(np.asarray(reranker.score(query, texts), dtype=np.float32), of=len(texts), batches=1)


def score_until(
    deadline: Deadline,
    reranker: Reranker,
    cost: BatchCost,
    query: str,
    texts: Callable[[int, int], Sequence[str]],
    *,
    mix: Mix,
    k: int,
) -> Seen:
    """Score candidates in their order until the deadline, until all are scored, or until the first ``k`` are settled.

    Waiting for other callers counts; it is given up when a batch of one pair would end too late.

    Args:
        deadline: When to be done.
        reranker: Scores the texts.
        cost: Of its batches, refined with each of them.
        query: Normalised query.
        texts: Returns the candidates' texts from one place up to another, the latter not included.
        mix: Of the n candidates: made ready on the way, and asked whether the answer is settled.
        k: Places of the answer.
    """
    return _Run(deadline, steps_of(reranker), cost, query, texts, mix, k).run(reranker)


@dataclass(slots=True)
class _Run:
    deadline: Deadline
    steps: Steps
    cost: BatchCost
    query: str
    texts: Callable[[int, int], Sequence[str]]
    mix: Mix
    k: int
    ready: list[tuple[str, Any]] = field(default_factory=list)  # text and prepared pair, not scored yet
    scores: list[float] = field(default_factory=list)
    known: dict[str, float] = field(default_factory=dict)  # equal texts in batches of other widths would differ
    batches: int = 0

    def run(self, reranker: Reranker) -> Seen:
        n = self.mix.count
        if self.deadline.left_ms() <= self.cost.predict_ms(1):  # not even one token
            return self._seen(settled=False)
        self.mix.prepare()
        self._make_ready()
        ample_ms = ROOM * self._whole_ms()
        with self._lane(ample_ms) as is_ours:
            if is_ours:
                return _all_at_once(reranker, self.query, self.texts(0, n))
        while len(self.scores) < n:
            settled = self.mix.is_settled(np.array(self.scores), k=self.k)
            if settled or not self._step():
                return self._seen(settled=settled)
        return self._seen(settled=False)

    def _seen(self, *, settled: bool) -> Seen:
        return Seen(np.array(self.scores, dtype=np.float32), self.mix.count, settled, self.batches)

    def _make_ready(self) -> None:
        begin = len(self.scores) + len(self.ready)
        texts = list(self.texts(begin, min(begin + LOOKAHEAD, self.mix.count)))
        self.ready += zip(texts, self.steps.prepare(self.query, texts), strict=True)

    def _whole_ms(self) -> float:
        """What all of them would take, by the tokens of those that are ready."""
        tokens = self.steps.tokens([pair for _, pair in self.ready]) * self.mix.count / max(1, len(self.ready))
        return self.cost.predict_ms(tokens)

    def _step(self) -> bool:
        """Score one micro-batch; false when there is no time for any."""
        if not self.ready:
            self._make_ready()
        alone_ms = self.cost.predict_ms(self.steps.tokens([self.ready[0][1]]))
        with self._lane(alone_ms) as is_ours:
            if is_ours:
                self._score(self._take(self.deadline.left_ms()))
            return is_ours

    @contextmanager
    def _lane(self, needed_ms: float) -> Iterator[bool]:
        """Wait for the lane while so much time would be left; yield whether it is ours and that much is."""
        spare_ms = self.deadline.left_ms() - needed_ms
        if spare_ms < 0 or not self.cost.lane.acquire(timeout=min(spare_ms / 1000, threading.TIMEOUT_MAX)):
            yield False
            return
        try:
            yield self.deadline.left_ms() >= needed_ms  # whoever had it may have taken long
        finally:
            self.cost.lane.release()

    def _take(self, left_ms: float) -> list[tuple[str, Any]]:
        """Take what the next batch may hold: one pair at least, no more than is worth its while or than fits."""
        allowed = min(self.cost.step_tokens, self.cost.affordable_tokens(left_ms))
        count = 1
        while count < len(self.ready) and self.steps.tokens([pair for _, pair in self.ready[: count + 1]]) <= allowed:
            count += 1
        taken, self.ready = self.ready[:count], self.ready[count:]
        return taken

    def _score(self, taken: list[tuple[str, Any]]) -> None:
        new = {text: pair for text, pair in taken if text not in self.known}
        if new:
            batch = list(new.values())
            start = self.deadline.clock()
            scores = self.steps.score(batch)
            self.cost.observe(self.steps.tokens(batch), (self.deadline.clock() - start) * 1000)
            self.known.update(zip(new, (float(score) for score in scores), strict=True))
            self.batches += 1
        self.scores += [self.known[text] for text, _ in taken]
