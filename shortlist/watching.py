"""Following a bundle on disk: a thread that looks what changed, and lets the engine act on it.

It looks at names, not at contents. `LOOKS` says which: each is replaced by rename, or a folder to which files are
added, so that a stamp of it tells. One that changed is handed to `Follower.catch_up` by name.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from indexing.errors import EngineClosed, ReloadRejected, StorageError
from shortlist.bundle import CURRENT
from shortlist.living.journal import JOURNAL

logger = logging.getLogger(__name__)

TRANSIENT = (StorageError, OSError, MemoryError)
"""What may be gone at the next try: the file system or the memory said no, not the candidate."""

LONGEST_PAUSE_S = 60.0
"""Between two tries of something that met a transient error; the pause doubles up to here, unless it changes."""

Happening = Literal["reloaded", "followed", "rejected", "failed"]
"""``reloaded``: another version answers from now on. ``followed``: records of the journal were applied. ``rejected``: a
version was refused, and will not be tried again until CURRENT is written again. ``failed``: something could not be
tried for now; it will be, with growing pauses."""

Stamp = Hashable
"""Equal as long as nothing changed."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something that happened to a followed bundle.

    Attributes:
        kind: What happened.
        generation: The generation that answers now.
        message: The reason of a refusal or a failure, for people; otherwise empty.
    """

    kind: Happening
    generation: str
    message: str = ""


OnEvent = Callable[[WatchEvent], object]


class Follower(Protocol):
    """What a watcher needs of an engine."""

    @property
    def generation(self) -> str:
        """Name of the generation that answers."""

    def catch_up(self, name: str) -> Happening | None:
        """Act on a name of `LOOKS` that changed; return what came of it, ``None`` for nothing."""


def look_at_file(path: Path) -> Stamp:
    """Return inode, time and size of a file that is replaced by rename; ``None`` when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def look_at_journal(folder: Path) -> Stamp:
    """Return how many records there are and the name of the last; ``None`` when there is no journal."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json")]  # noqa: PTH208 - no objects wanted
    except FileNotFoundError:
        return None
    return len(names), max(names, default="")


LOOKS: dict[str, Callable[[Path], Stamp]] = {CURRENT: look_at_file, JOURNAL: look_at_journal}
"""What is looked at below a bundle directory, and how; first CURRENT, whose version brings the journal with it."""


class Watcher:
    """A daemon thread that follows one bundle for one engine, until `close`, the engine's end, or a ``with`` block's.

    It does not keep the engine alive.
    """

    def __init__(self, engine: Follower, root: Path, *, poll_s: float, on_event: OnEvent | None) -> None:
        """Start to follow; see `SearchEngine.watch`."""
        if not poll_s > 0:
            raise ValueError(f"poll_s must be above 0 seconds, got {poll_s}")
        self._engine = weakref.ref(engine)
        self._poll_s = poll_s
        self._on_event = on_event or _log_event
        self._closed = threading.Event()
        self._trails = [_Trail(root / name, look, poll_s=poll_s) for name, look in LOOKS.items()]
        self._thread = threading.Thread(target=self._follow, name="shortlist-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and wait for it; a reload that it has begun is finished first."""
        self._closed.set()
        if self._thread is not threading.current_thread():  # an on_event may close its own watcher
            self._thread.join()

    def __enter__(self) -> Self:
        """Follow for the length of a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _follow(self) -> None:
        while True:
            engine = self._engine()
            if engine is None:
                return
            try:
                for trail in self._trails:
                    self._report(trail.follow(engine), engine)
            except EngineClosed:
                return
            del engine
            if self._closed.wait(self._poll_s):
                return

    def _report(self, found: "tuple[Happening, str] | None", engine: Follower) -> None:
        if found is None:
            return
        kind, message = found
        event = WatchEvent(kind, engine.generation, message)
        try:
            self._on_event(event)
        except EngineClosed:
            raise
        except Exception:
            logger.exception("on_event raised; the watcher goes on")


class _Trail:
    """One followed name: what was seen of it, what is settled, and when to try again what is not."""

    def __init__(self, path: Path, look: Callable[[Path], Stamp], *, poll_s: float) -> None:
        self._path, self._look, self._poll_s = path, look, poll_s
        self._settled: Stamp = "never looked"
        self._seen: Stamp = self._settled
        self._reported = ""
        self._pause_s = self._try_again_at = 0.0

    def follow(self, engine: Follower) -> tuple[Happening, str] | None:
        """Look once, let the engine act on a change, and return what there is to report."""
        try:
            stamp = self._look(self._path)
        except OSError as error:
            return self._once("failed", f"could not look at {self._path}: {error}")
        if stamp != self._seen:
            self._seen, self._reported, self._pause_s, self._try_again_at = stamp, "", 0.0, 0.0
        if stamp == self._settled or time.monotonic() < self._try_again_at:
            return None
        try:
            happened = engine.catch_up(self._path.name)
        except EngineClosed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and the next look comes
            return self._after(error)
        self._settled = stamp
        return (happened, "") if happened is not None else None

    def _after(self, error: Exception) -> tuple[Happening, str] | None:
        """Settle what was refused for good; try the rest again, later and later."""
        if isinstance(error, ReloadRejected) and not isinstance(error.__cause__, TRANSIENT):
            self._settled = self._seen
            return self._once("rejected", str(error))
        self._pause_s = min(max(self._poll_s, 2 * self._pause_s), LONGEST_PAUSE_S)
        self._try_again_at = time.monotonic() + self._pause_s
        return self._once("failed", str(error))

    def _once(self, kind: Happening, message: str) -> tuple[Happening, str] | None:
        """Return what to report, nothing when it was reported already."""
        if message == self._reported:
            return None
        self._reported = message
        return kind, message


def _log_event(event: WatchEvent) -> None:
    level = logging.INFO if event.kind in ("reloaded", "followed") else logging.WARNING
    logger.log(level, "%s: %s answers now. %s", event.kind, event.generation, event.message)
