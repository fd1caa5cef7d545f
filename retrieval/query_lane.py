"""One way to the query tower for all callers: what waits while it is busy goes through it together, and it remembers.

A network takes nearly as long for one short query as for eight: most of it is reading the weights. So whoever finds the
tower free encodes at once, alone; whoever finds it busy waits, and the first of those then encodes for all of them. No
thread of its own, no window of time, nothing added for a lone caller.

Together is only allowed where it does not change the answer. A float32 network gives the same vector, to 1e-6, whatever
it is batched with; one that quantises what flows through it by the batch does not, and bfloat16 rounds to a
thousandth. `joins` measures it, and where a vector depends on its neighbours by more than `JOIN_TOLERANCE` queries take
turns instead: load must not change what is found.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from indexing.forks import claim_threads
from indexing.types import FloatMatrix, FloatVector
from retrieval.caching import BoundedCache, CacheState
from retrieval.retriever import QueryEncoder

JOIN_TOLERANCE = 1e-5
"""Largest difference in a component, of vectors of length 1, that counts as the same vector. It moves a cosine by some
1e-6, a hundredth of the distance at which FAISS's own float32 sums differ by their order (`indexing.faiss_index`)."""

MOST_JOINED = 64
"""Texts of several callers that go together at most; a caller's own are never parted."""

ENTRY_BYTES = 200
"""What an entry takes beside its vector and the letters of its text: a string, an array object, a place in a dict."""


def joins(encoder: QueryEncoder, texts: Sequence[str]) -> bool:
    """Measure whether texts have the same vectors together as each alone; it also runs the shapes of both once.

    Args:
        encoder: The query tower.
        texts: Two or more of different lengths, as queries are.
    """
    alone = np.concatenate([encoder.encode_queries([text]) for text in texts])
    together = encoder.encode_queries(list(texts))
    return bool(np.abs(alone - together).max(initial=0.0) <= JOIN_TOLERANCE)


@dataclass(slots=True, eq=False)
class _Ticket:
    """One caller's texts and what became of them."""

    texts: Sequence[str]
    vectors: FloatMatrix | None = None
    error: BaseException | None = None
    leads: bool = False  # it is this caller's turn to encode for those that wait
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def is_done(self) -> bool:
        return self.vectors is not None or self.error is not None


class QueryLane:
    """Implements `QueryEncoder` over another; safe to call from several threads."""

    def __init__(self, encoder: QueryEncoder, *, joining: bool, cache: BoundedCache[str, FloatVector]) -> None:
        """Lead to ``encoder``.

        Args:
            encoder: The query tower.
            joining: Whether texts of several callers may be encoded together; see `joins`. Without it, a vector is that
                of its text alone, bit for bit, remembered or not.
            cache: Text -> its vector. It belongs to this tower: another one would have other vectors.
        """
        self._encoder = encoder
        self._most = MOST_JOINED if joining else 0
        self._cache = cache
        self._mutex = threading.Lock()  # guards the two that follow; never held while encoding
        self._waiting: deque[_Ticket] = deque()
        self._busy = False

    @property
    def state(self) -> CacheState:
        """Counters of the cache."""
        return self._cache.state()

    @property
    def joining(self) -> bool:
        """Whether texts of several callers may be encoded together."""
        return self._most > 0

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return the unit vectors of query texts, float32 [n, d], in their order.

        What fails for one caller's texts fails for that caller alone.

        Raises:
            ForkSafetyError: This process was forked from one that has used native threads.
            Exception: Whatever the encoder raises for these texts.
        """
        claim_threads()
        if not texts:
            return self._encoder.encode_queries(texts)
        known = self._known(texts)
        if len(known) == len(set(texts)):
            return np.stack([known[text] for text in texts])
        ticket = _Ticket(texts)
        try:
            with self._mutex:
                self._waiting.append(ticket)
                if not self._busy:
                    self._busy = ticket.leads = True
            if not ticket.leads:
                ticket.woken.wait()
            if not ticket.is_done:
                self._lead(ticket)
        except BaseException:  # interrupted: nobody may wait for a caller that is gone
            self._leave(ticket)
            raise
        return _outcome(ticket)

    def _known(self, texts: Sequence[str]) -> dict[str, FloatVector]:
        if not self._remembers(texts):
            return {}
        found = ((text, self._cache.get(text)) for text in dict.fromkeys(texts))
        return {text: vector for text, vector in found if vector is not None}

    def _remembers(self, texts: Sequence[str]) -> bool:
        """Whether vectors of these are kept: without joining, only those of texts that were encoded alone."""
        return self._cache.is_on and (self.joining or len(texts) == 1)

    def _leave(self, ticket: _Ticket) -> None:
        with self._mutex:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if ticket.leads:
            self._pass_on()

    def _lead(self, own: _Ticket) -> None:
        """Encode for the first in line and those that may go with it, then let the next in line lead."""
        taken = self._take()
        try:
            self._encode(taken)
        finally:
            with self._mutex:  # when interrupted, those that came along wait on
                self._waiting.extendleft(ticket for ticket in reversed(taken[1:]) if not ticket.is_done)
            own.leads = False
            self._pass_on()

    def _take(self) -> list[_Ticket]:
        with self._mutex:
            taken = [self._waiting.popleft()]
            room = self._most - len(taken[0].texts)
            while self._waiting and len(self._waiting[0].texts) <= room:
                taken.append(self._waiting.popleft())
                room -= len(taken[-1].texts)
        return taken

    def _pass_on(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()
            else:
                self._busy = False

    def _encode(self, taken: Sequence[_Ticket]) -> None:
        """Encode what these callers want; when it fails for several, each by itself."""
        texts = list(dict.fromkeys(text for ticket in taken for text in ticket.texts))
        try:
            vectors = self._vectors(texts)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - raised in its caller; a panic of the tokenizers is no Exception
            if len(taken) == 1:
                taken[0].error = error
                taken[0].woken.set()
                return
        else:
            for ticket in taken:
                ticket.vectors = np.stack([vectors[text] for text in ticket.texts])
                ticket.woken.set()
            return
        for ticket in taken:
            self._encode([ticket])

    def _vectors(self, texts: Sequence[str]) -> dict[str, FloatVector]:
        """Encode the distinct texts that nobody has encoded meanwhile."""
        remembers = self._remembers(texts)
        looked_up = ((text, self._cache.peek(text)) for text in texts) if remembers else ()
        vectors = {text: vector for text, vector in looked_up if vector is not None}
        missing = [text for text in texts if text not in vectors]
        encoded = self._encoder.encode_queries(missing) if missing else ()
        for text, vector in zip(missing, encoded, strict=True):
            vectors[text] = vector.copy()  # a row of its own: the matrix of the batch must not live on in it
            if remembers:
                size_bytes = vector.nbytes + len(text.encode("utf-8", "replace")) + ENTRY_BYTES
                self._cache.put(text, vectors[text], size_bytes)
        return vectors


def _outcome(ticket: _Ticket) -> FloatMatrix:
    """Return what became of a ticket, or raise it; the error must not refer to itself through this frame."""
    error, ticket.error = ticket.error, None
    try:
        if error is not None:
            raise error
    finally:
        del error
    return cast(FloatMatrix, ticket.vectors)  # it is done
