"""A peer in a process and an environment of its own, which times itself: its pipe is not part of its work.

The script is what a user of the other library would write, and imports nothing of Shortlist's. It reads one JSON
document per line from stdin and answers each with one on stdout; an empty line ends it. An answer about something timed
has the key ``ms``. What a library prints must not come between: send it to stderr.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.bench.speed.stopwatch import SelfTimed


class PeerProcess:
    """Runs the script; use it in a ``with`` statement."""

    def __init__(self, python: Path, script: Path, arguments: Sequence[str] = ()) -> None:
        """Start it.

        Raises:
            FileNotFoundError: If the interpreter is not there.
        """
        if not python.is_file():
            raise FileNotFoundError(
                f"expected the peers' interpreter at {python}; make it with: make .venv-peers/.installed"
            )
        self._script = script
        self._process = subprocess.Popen(
            [str(python), str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it end."""
        try:
            self._process.communicate("\n", timeout=60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.communicate()

    def ask(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Send one document and return the answer.

        Raises:
            RuntimeError: If the process has ended; its reason is on stderr.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError(f"{self._script.name} has no pipes")
        stdin.write(json.dumps(document) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self._script.name} ended with code {self._process.wait()} when asked {document!r:.200}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def timed(self, document: Mapping[str, Any]) -> SelfTimed:
        """Return a contestant that asks this and takes the time from the answer's ``ms``."""
        return SelfTimed(lambda: float(self.ask(document)["ms"]))
