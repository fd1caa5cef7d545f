"""Open hundreds of hostile bundles and configurations: each is refused with an error of ours, and none runs anything.

The payloads name a module that writes a file when it is imported or called. An audit hook besides: no process is
started, nothing is unpickled, no connection opened and no file written outside the bundle while something is opened.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexing.errors import ShortlistError
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from shortlist.engine import SearchEngine
from tools.reliability.harness.draft import Draft
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.hostile_kinds import hostile_kinds
from tools.reliability.harness.hostile_kinds.kind import PAYLOAD, HostileKind
from tools.reliability.harness.shop import scratch
from tools.reliability.harness.tiny import build_tiny

STEP = 7
"""A sample takes every seventh kind."""

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
)
FORBIDDEN += (
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
    "ctypes.dlopen",
    "shutil.rmtree",
    "os.remove",
)
"""Events of ``sys.audit`` that opening a bundle has no reason for."""


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the one figure."""
    with scratch() as folder:
        root = build_tiny(folder)
        with Watch(folder) as watch:
            SearchEngine.open(root, probe=False).search("red usb")  # whatever is imported late is imported now
            yield refuse(root, hostile_kinds()[:: STEP if quick else 1], watch, quick=quick)


class Watch:
    """A sentinel that payloads would touch, and an audit hook that notes what opening must not do.

    Attributes:
        noted: What happened while armed.
    """

    def __init__(self, folder: Path) -> None:
        """Put the payload where an import would find it; hooks cannot be removed, so this one can be disarmed."""
        self.noted: list[str] = []
        self._folder = folder
        self._sentinel = folder / "touched"
        self._armed = False
        module = (
            f"def touch(*_, **__):\n    open({str(self._sentinel)!r}, 'w').close()\n    return touch\n\n\ntouch()\n"
        )
        (folder / "payload").mkdir()
        (folder / "payload" / f"{PAYLOAD}.py").write_text(module, encoding="utf-8")
        sys.path.insert(0, str(folder / "payload"))
        sys.addaudithook(self._hear)

    @property
    def is_touched(self) -> bool:
        """Whether a payload was imported or called."""
        return self._sentinel.exists() or PAYLOAD in sys.modules

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Note forbidden events for the length of a ``with`` block."""
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def __enter__(self) -> "Watch":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the payload out of the path again."""
        self._armed = False
        sys.path.remove(str(self._folder / "payload"))

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._armed:
            return
        if event in FORBIDDEN:
            self.noted.append(f"{event} {arguments!r:.100}")
        elif event == "open" and self._is_written(arguments):
            self.noted.append(f"{arguments[0]} opened for writing")

    def _is_written(self, arguments: tuple[object, ...]) -> bool:
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR) or path == os.devnull:
            return False
        return not str(path).endswith(".pyc") and "__pycache__" not in str(path)


def refuse(root: Path, kinds: list[HostileKind], watch: Watch, *, quick: bool) -> Figure:
    """Offer every kind and count."""
    failures, refused = [], 0
    for kind in kinds:
        problem = offer(root, kind, watch)
        if problem:
            failures.append(f"{kind.name}: {problem}")
        else:
            refused += 1
        failures += [f"{kind.name}: {event}" for event in watch.noted]
        watch.noted.clear()
    SearchEngine.open(root, probe=False)  # everything was put back
    counts = {"kinds": len(kinds), "refused": refused, "touched": int(watch.is_touched)}
    return Figure(
        "hostile configuration and artifact files",
        counts,
        (*failures, *(["the sentinel was touched"] if watch.is_touched else [])),
        at_least={"kinds": 200 // (STEP if quick else 1)},
    )


def offer(root: Path, kind: HostileKind, watch: Watch) -> str:
    """Compose or open one kind; return what went wrong, or nothing when it was refused as it should be."""
    if kind.harm is None:
        return _outcome(lambda: load_config(BuildConfig, kind.overrides), watch)
    draft = Draft(root)
    try:
        kind.harm(draft)
        return _outcome(lambda: SearchEngine.open(root, probe=False), watch)
    finally:
        draft.withdraw()


def _outcome(attempt: object, watch: Watch) -> str:
    try:
        with watch.armed():
            attempt()  # type: ignore[operator]
    except ShortlistError:
        return ""
    except Exception as error:  # noqa: BLE001 - an error without a type of ours is a finding
        return f"refused with {type(error).__module__}.{type(error).__name__}: {str(error)[:120]}"
    return "accepted"


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
