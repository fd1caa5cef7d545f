"""Run a function in a forked child and learn how it ended; children may be killed, or kill themselves, at any call.

Forking is safe here because the parent only imports the libraries and leaves their threads unstarted.
"""

import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 60.0
"""A child that has not ended by then hangs; the builds of the harness take a twentieth of a second."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        value: What its function returned, through JSON.
        error: ``type: message`` of what it raised; empty when it returned.
        signal: The signal that killed it, 0 for none.
        hung: Whether it had to be killed because it did not end.
    """

    value: Any = None
    error: str = ""
    signal: int = 0
    hung: bool = False


class Child:
    """A forked process that runs one function; ``wait`` for how it ended."""

    def __init__(self, function: Callable[[], Any]) -> None:
        """Fork and start."""
        self._reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            _run(function, writing)
        os.close(writing)

    def wait(self, patience_s: float = PATIENCE_S) -> Ended:
        """Wait for the end, read what came back, and leave nothing behind."""
        until, received, hung = time.monotonic() + patience_s, b"", False
        while True:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                hung = True
                os.kill(self.pid, signal.SIGKILL)
                break
            piece = os.read(self._reading, 1 << 16)
            if not piece:
                break
            received += piece
        os.close(self._reading)
        _, status = os.waitpid(self.pid, 0)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        try:
            outcome = json.loads(received) if received else {}
        except ValueError:
            outcome = {}
        return Ended(outcome.get("value"), outcome.get("error", ""), killed, hung)


def in_child(function: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Ended:
    """Run ``function`` in a child of its own and return how that ended."""
    return Child(function).wait(patience_s)


def import_what_it_imports(function: Callable[[], Any]) -> None:
    """Import in this process what ``function`` imports when it runs in a child, so that later children start warm."""
    before = set(sys.modules)

    def newly_imported() -> list[str]:
        function()
        return [name for name in sys.modules if name not in before]

    ended = in_child(newly_imported, patience_s=10 * PATIENCE_S)  # networks are written and built the first time
    if ended.value is None:
        raise RuntimeError(f"the first run failed: {ended}")
    for name in ended.value:
        with suppress(ImportError):  # a module that another one made up
            importlib.import_module(name)


def die() -> None:
    """End this process as ``kill -9`` does: no handler, no finally, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


def _run(function: Callable[[], Any], writing: int) -> None:
    """Run in the child; whatever happens, it ends here and never returns to the parent's code."""
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        try:
            outcome = {"value": function()}
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
            outcome = {"error": f"{type(error).__name__}: {error}"}
        with suppress(OSError):
            os.write(writing, json.dumps(outcome).encode())
    finally:
        os._exit(0)
