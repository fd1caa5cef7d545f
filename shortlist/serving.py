"""The generation that answers, and its life: taken once by every call, exchanged as a whole, watched, given back."""

import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol, Self, TypeVar

from indexing.errors import EngineClosed, ReloadRejected
from indexing.forks import claim_threads, is_inherited
from indexing.types import FloatMatrix
from retrieval.records import Product
from retrieval.runtime import available_cores
from shortlist.bundle import CURRENT
from shortlist.generation import Generation
from shortlist.living.changing import Deleted, Upserted, delete, followed, upsert
from shortlist.monitoring.recall import RecallState, RecallWatch
from shortlist.opening import Opening
from shortlist.watching import Happening, OnEvent, Watcher

WAITING = 2
"""Threads beyond one a core: one may wait for each of the two models, which run one call at a time."""


class Companion(Protocol):
    """Something that works beside the calls in a thread of its own."""

    def close(self) -> None:
        """End it; a second call does nothing."""


CompanionT = TypeVar("CompanionT", bound=Companion)


class Serving:
    """What an engine is apart from its answers; `SearchEngine` inherits it.

    A generation goes when nobody has it any more: there is no counter of readers but Python's own. So a call takes it
    once, keeps it in a variable, and an exchange is one assignment.
    """

    def __init__(self, opening: Opening) -> None:
        """Open a bundle; see `SearchEngine.open`."""
        self._opening = opening
        self._reloading = threading.Lock()  # one reload at a time
        self._writing = threading.Lock()  # one exchange at a time, from reading the old generation to setting the new
        self._changing = threading.Lock()  # around what follows; never held for long
        self._companions: weakref.WeakSet[Companion] = weakref.WeakSet()
        self._pool: ThreadPoolExecutor | None = None
        self._watch: RecallWatch | None = None
        self._serving: Generation | None = opening.load()

    @property
    def _generation(self) -> Generation:
        """What a call takes once and passes on; here a closed engine is refused, and a forked process."""
        claim_threads()
        generation = self._serving
        if generation is None:
            raise self._closed()
        return generation

    @property
    def generation(self) -> str:
        """Name of the bundle version that answers, with ``+SEQ`` once records of the journal came on top."""
        return self._generation.name

    def reload(self) -> str | None:
        """Open what CURRENT names beside the running generation, prove it, and let it answer from then on.

        Calls under way end on the generation they took; its memory is returned when the last of them ends. A model that
        both have in common is not loaded again. Reloads wait for each other, searches for none of them.

        Returns:
            The name of the generation that answers now; ``None`` when CURRENT names the version that did already.

        Raises:
            ReloadRejected: With the reason; the version that answered before goes on.
            EngineClosed: Closed before or meanwhile.
            ForkSafetyError: In a forked process.
        """
        claim_threads()
        with self._reloading:
            name, candidate = self.generation, None
            try:
                candidate = self._candidate()
                if candidate is None:
                    return None
                with self._exchanging():
                    candidate = followed(candidate)  # what was upserted while it was loaded
                    self._exchange(candidate)
                    return self.generation  # refused when closed meanwhile
            except (EngineClosed, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # a panic of the tokenizers is no Exception
                candidate = None  # whoever keeps the error must not keep a generation, nor half of one
                _forget_locals(error)
                raise ReloadRejected(f"{type(error).__name__}: {error}", name) from error

    def follow(self) -> bool:
        """Apply what other processes have written to the journal since; return whether there was anything.

        Raises:
            ArtifactError, StorageError: The journal cannot be read; what answered before goes on.
            EngineClosed, ForkSafetyError: As every call.
        """
        with self._exchanging() as before:
            after = followed(before)
            self._exchange(after)
            return after is not before

    def upsert(self, products: Sequence[Product], *, vectors: FloatMatrix | None = None) -> Upserted:
        """Add products, or replace those of the same id: durable when this returns, and visible to the next search.

        All of them or none: a product that breaks the catalogue's rules, or an id that comes twice, refuses the call.
        A text that is stored already is not encoded again, so a new price or stock level encodes nothing. Other
        processes that follow the bundle show the products at their next look.

        Args:
            products: Held to the rules of a catalogue's rows.
            vectors: One unit row per product, float32 [n, d], for a bundle whose vectors came with its catalogue;
                without them a product keeps its vector while its text stays the same.

        Raises:
            SourceDataError: Naming the products that break the rules; nothing was written.
            VectorError: Naming the products whose vectors cannot be indexed or are missing; nothing was written.
            ConfigError: ``vectors`` for a bundle that has an encoder of its own, or of another dimension than those of
                a version that was published since; nothing was written.
            StorageFull, StorageError: Nothing was written. BuildLocked: other writers held the journal for too long.
            CommitUncertain: The products will show, but may not survive a power cut; upsert them again to be sure.
            ArtifactError: The journal on disk is not what it was.
        """
        with self._exchanging() as generation:
            after, done = upsert(generation, products, vectors)
            self._exchange(after)
        return done

    def delete(self, product_ids: Sequence[str]) -> Deleted:
        """Remove products: durable when this returns; only a later upsert brings one back, no build and no rollback.

        Args:
            product_ids: Their ids. One that no product has is no error, and is deleted all the same: a later build
                leaves it out.

        Raises:
            TypeError, ValueError: An id is no text, or empty.
            StorageError, CommitUncertain, ArtifactError: As :meth:`upsert`.
        """
        with self._exchanging() as generation:
            after, done = delete(generation, product_ids)
            self._exchange(after)
        return done

    def watch(self, *, poll_s: float = 1.0, on_event: OnEvent | None = None) -> Watcher:
        """Follow CURRENT and the journal from a thread, until the watcher or the engine is closed.

        A version that is refused is reported once and not tried again until CURRENT is written again. After an error
        that may pass (no memory, the file system) there is another try, with pauses that grow to a minute.

        Args:
            poll_s: Seconds between two looks.
            on_event: Called from that thread with every `WatchEvent`; ``None`` logs them.

        Returns:
            The watcher, running; it is also a context manager.

        Raises:
            ValueError: ``poll_s`` is not above 0.
            EngineClosed, ForkSafetyError: As every call.
        """
        return self._accompanied(lambda: Watcher(self, self._opening.root, poll_s=poll_s, on_event=on_event))

    def catch_up(self, name: str) -> Happening | None:
        """Act on a name of the bundle that changed (of `shortlist.watching.LOOKS`); this is what a watcher calls.

        Returns:
            What came of it; ``None`` when all was known already.

        Raises:
            ReloadRejected, ArtifactError, StorageError, EngineClosed, ForkSafetyError: As `reload` and `follow`.
        """
        if name == CURRENT:
            return "reloaded" if self.reload() is not None else None
        return "followed" if self.follow() else None

    def watch_recall(
        self,
        *,
        target: float = 0.95,
        k: int = 100,
        sample: float = 0.01,
        alpha: float = 0.05,
        load: float = 0.1,
        seed: int = 0,
        on_alarm: Callable[[RecallState], object] | None = None,
    ) -> RecallWatch:
        """Hold sampled queries against exact search in the background, and raise an alarm when recall has fallen.

        What :meth:`search`, :meth:`search_many` and :meth:`asearch` get from the dense index is checked as a build
        checks it, on the generation that answered, filters included. When another version serves, the watch begins
        anew; upserts and deletes do not make it. A query is handed over or dropped and counted; no search waits for it.

        Args:
            target: Recall at ``k`` that queries should have in the mean, in (0, 1); by default that of a build.
            k: Cut-off; for a query that asked for fewer candidates, their number.
            sample: Probability that a query is checked, in (0, 1].
            alpha: Probability of an alarm, ever, about a version whose recall never falls below the target; and of
                a confidence sequence that is ever wrong.
            load: Largest share of one core that the checks may take, in (0, 1].
            seed: Of the sampling.
            on_alarm: Called with the state, once per version, in the watch's own thread; what it raises is logged.

        Returns:
            The watch, running; close it, or use it as a context manager. Closing the engine closes it.

        Raises:
            EngineClosed, ForkSafetyError: As every call.
            ValueError: A number out of range, or this engine is watched already.
            TypeError: ``k`` is no whole number.
        """
        if self._watch is not None:
            raise ValueError("recall is watched already; close that watch first")
        self._watch = self._accompanied(
            lambda: RecallWatch(
                lambda: self._generation,
                target=target,
                k=k,
                sample=sample,
                alpha=alpha,
                load=load,
                seed=seed,
                on_alarm=on_alarm,
                on_close=self._unwatch,
            )
        )
        return self._watch

    def close(self) -> None:
        """End what watches, refuse further calls, and let go of models and indexes; calls under way still end well.

        Closing again does nothing, and neither does closing in a forked process: what is there belongs to the parent.
        """
        if is_inherited():
            return
        self._part()  # before what they look at goes
        with self._changing:
            self._serving = None
            pool, self._pool = self._pool, None
        self._part()  # from who came meanwhile
        if pool is not None:
            pool.shutdown(wait=False)

    def __enter__(self) -> Self:
        """Use the engine for the length of a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _accompanied(self, start: Callable[[], CompanionT]) -> CompanionT:
        """Start something with a thread of its own that ends when this engine is closed."""
        claim_threads()
        with self._changing:
            if self._serving is None:
                raise self._closed()
            companion = start()
            self._companions.add(companion)
            return companion

    def _part(self) -> None:
        while True:
            with self._changing:
                if not self._companions:
                    return
                companion = self._companions.pop()
            companion.close()

    def _unwatch(self) -> None:
        self._watch = None

    def _watched(self, generation: Generation) -> Generation:
        """The same generation; when recall is watched, one that hands its dense searches over."""
        watch = self._watch
        return generation.observed(partial(watch.offer, generation)) if watch is not None else generation

    @contextmanager
    def _exchanging(self) -> Iterator[Generation]:
        """Yield the generation that answers, which nobody else exchanges during the ``with`` block."""
        claim_threads()
        with self._writing:
            yield self._generation

    def _exchange(self, generation: Generation) -> None:
        """Let another generation answer, within `_exchanging`; after `close`, none does."""
        with self._changing:
            if self._serving is not None:
                self._serving = generation

    def _candidate(self) -> Generation | None:
        """Return the live version, loaded and proven; ``None`` when it answers already."""
        serving = self._generation
        return None if self._opening.is_live(serving) else self._opening.load(beside=serving)

    def _threads(self) -> ThreadPoolExecutor:
        """Return the threads for calls that must not block their caller, made when first needed."""
        claim_threads()
        with self._changing:
            if self._serving is None:
                raise self._closed()
            if self._pool is None:
                size = (self._opening.runtime.threads or available_cores()) + WAITING
                self._pool = ThreadPoolExecutor(size, thread_name_prefix="shortlist")
            return self._pool

    def _closed(self) -> EngineClosed:
        return EngineClosed(f"the engine of {self._opening.root} is closed; open another with SearchEngine.open")


def _forget_locals(error: BaseException | None) -> None:
    """Clear the variables of the functions that an error came through, and those of its causes."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
