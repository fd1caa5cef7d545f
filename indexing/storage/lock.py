"""One builder at a time: a file lock that names its holder and that the kernel releases when the holder dies."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from indexing.errors import BuildLocked, ShortlistError
from indexing.storage.filesystem import explained, system
from indexing.storage.reading import read_bytes

_log = logging.getLogger(__name__)

_LONGEST_NOTE_BYTES = 4096  # a holder's note is some 150 bytes; more than this is not one
_TRY_AGAIN_S = 0.005  # a holder that is waited for writes and syncs one small file: some milliseconds
_LOOKS, _LOOK_AGAIN_S = 50, 0.01  # a holder writes its note within a millisecond; half a second is for busy machines


@contextmanager
def exclusive_lock(path: Path, *, purpose: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of ``path`` for the length of a ``with`` block.

    The file stays when the lock is released (removing it would race with the next taker); its content names the holder.

    Args:
        path: The lock file, created when absent; its folder must exist.
        purpose: What the lock is held for, shown to whoever comes second (``"build icecat"``).
        wait_s: Seconds to wait for another holder before giving up.

    Raises:
        BuildLocked: If another process, or this one, holds it; the message names pid, host, purpose and since when.
        StorageError: If the file cannot be opened or locked.
    """
    with explained("open", path):
        descriptor = system().open(path, os.O_RDWR | os.O_CREAT)
    try:
        with explained("lock", path):
            _take(path, descriptor, wait_s)
            _note(descriptor, purpose)
        try:
            yield
        finally:
            with suppress(OSError):  # closing releases the lock in any case
                system().truncate(descriptor, 0)
                system().unlock(descriptor)
    finally:
        with suppress(OSError):
            system().close(descriptor)


def _take(path: Path, descriptor: int, wait_s: float) -> None:
    give_up = time.monotonic() + wait_s
    while True:
        try:
            system().lock(descriptor)
        except BlockingIOError:
            if time.monotonic() < give_up:
                time.sleep(_TRY_AGAIN_S)
                continue
            raise BuildLocked(f"{path} is held by {_holder(path)}; wait for it, or stop that process") from None
        return


def _note(descriptor: int, purpose: str) -> None:
    """Write who holds the lock, for the loser's message; not synced, since it means nothing after a crash."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    note = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": since}
    system().truncate(descriptor, 0)
    rest = memoryview(json.dumps(note).encode())
    while rest:
        rest = rest[system().write(descriptor, rest) :]


def _holder(path: Path) -> str:
    """Describe the holder from its note, which it writes a moment after it has taken the lock."""
    for _ in range(_LOOKS):
        try:
            note = json.loads(read_bytes(path)[:_LONGEST_NOTE_BYTES])
            if _may_live(int(note["pid"]), str(note["host"])):
                return f"pid {note['pid']} on {note['host']} since {note['since']} ({note['purpose']})"
        except (ShortlistError, ValueError, KeyError, TypeError) as unreadable:  # not written yet, or half of it
            _log.debug("the note in %s cannot be read yet: %s", path, unreadable)
        time.sleep(_LOOK_AGAIN_S)
    return "another process"


def _may_live(pid: int, host: str) -> bool:
    """Whether the process of a note can be the holder: a killed one leaves its note, which its successor replaces."""
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's, so it lives
        return True
    return True
