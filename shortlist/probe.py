"""Try a version's native files in a process of their own first, so that a crash of a loader is no crash of the server.

FAISS and Arrow are native code: a file made to hurt them, or a bug that a good file meets, may end the process that
loads it. So a child that imports neither torch nor sentence-transformers opens the first stage of the version and asks
it the canary's searches, with its memory and its time limited. What kills it is reported as an error of the version.

A version that passed is not tried again by this process: the digests of its files say that they are the same.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from indexing.errors import ArtifactCorrupt, EnvironmentProblem, ShortlistError
from shortlist.bundle import Bundle

BASE_BYTES = 2 << 30
"""Address space of the child beyond what files need; libraries and a small bundle take .9 GiB of it (measured)."""

BASE_S, BYTES_PER_S = 60.0, 20 << 20
"""Seconds a child may take, and how much it may be slowed by large files; opening reads at a GiB a second or so."""

TABLE_FACTOR, INDEX_FACTOR, PRODUCT_BYTES = 30, 3, 2000
"""Address space per byte of compressed products, per byte of anything else, and per product for ids and orders."""

CHILD = ("-P", "-m", "shortlist.probe_child")
"""Arguments of the interpreter; ``-P`` keeps the current folder out of its path."""

REFUSED = 3
"""Exit code of a child that refused the version with an error of ours, which it prints as JSON."""

_passed: set[str] = set()


class Probe:
    """A child at work on a version; leaving the ``with`` block ends it, whatever happened.

    Example:
        >>> with Probe(bundle) as probe:  # doctest: +SKIP
        ...     load_the_models()  # meanwhile
        ...     probe.wait()
    """

    def __init__(self, bundle: Bundle, *, needed: bool = True, timeout_s: float | None = None) -> None:
        """Start the child.

        Args:
            bundle: Opened and verified.
            needed: Without need there is no child, and `wait` returns at once.
            timeout_s: Seconds it may take; ``None`` gives it a minute, and more for large files.

        Raises:
            EnvironmentProblem: If no process can be started.
        """
        self._bundle = bundle
        self._timeout_s = timeout_s or BASE_S + _size_bytes(bundle) / BYTES_PER_S
        self._child: subprocess.Popen[str] | None = None
        task = _task(bundle)
        self._digest = hashlib.sha256(task).hexdigest()
        if needed and self._digest not in _passed:
            self._child = _start([sys.executable, *CHILD], task)

    def wait(self) -> None:
        """Wait for the child's verdict.

        Raises:
            ArtifactCorrupt: It was killed, by a signal or for taking too long; the message names the signal.
            ShortlistError: What the child raised, of the same type.
            EnvironmentProblem: The child could not do its work.
        """
        if self._child is None:
            return
        try:
            answer, complaint = self._child.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            raise ArtifactCorrupt(
                f"the process that tried the indexes and the products of {self._bundle.folder} did not end within "
                f"{self._timeout_s:.0f} s; nothing of them was loaded here: rebuild with: shortlist build"
            ) from None
        self._judge(self._child.returncode, answer, complaint)
        _passed.add(self._digest)

    def __enter__(self) -> Self:
        """Return the probe."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child if it still runs."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()

    def _judge(self, code: int, answer: str, complaint: str) -> None:
        if code < 0:
            raise ArtifactCorrupt(
                f"the process that tried the indexes and the products of {self._bundle.folder} was killed by "
                f"{signal_name(-code)}{last_line(complaint)}; nothing of them was loaded here: rebuild with: "
                "shortlist build"
            )
        if code == REFUSED:
            verdict = json.loads(answer)
            raise error_type(verdict["code"])(verdict["message"])
        if code != 0:
            raise EnvironmentProblem(
                f"the process that tries a version before it is loaded ended with {code}{last_line(complaint)}; "
                "SearchEngine.open(..., probe=False) does without it"
            )


def limit_bytes(bundle: Bundle) -> int:
    """Return the address space that trying a version may take."""
    files = bundle.manifest.files
    table = files["products.parquet"].size_bytes if "products.parquet" in files else 0
    products = int(bundle.manifest.catalogue["accepted"])
    return BASE_BYTES + TABLE_FACTOR * table + INDEX_FACTOR * _size_bytes(bundle) + PRODUCT_BYTES * products


def _size_bytes(bundle: Bundle) -> int:
    """Return the bytes of what the child reads."""
    files = bundle.manifest.files
    read = sum(files[name].size_bytes for name in files if not name.startswith(("encoder/", "reranker/", "student/")))
    return read + sum(segment.vectors.size_bytes for segment in bundle.manifest.segments)


def _task(bundle: Bundle) -> bytes:
    """Return what the child is told: the manifest that was verified, so that it looks at nothing else."""
    task = {"root": str(bundle.root.absolute()), "manifest": bundle.manifest.to_json(), "bytes": limit_bytes(bundle)}
    return json.dumps(task).encode()


def _start(command: Sequence[str], task: bytes) -> "subprocess.Popen[str]":
    # One thread, for Arrow as well: more ask for address space per core, and a few queries gain nothing.
    single = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    surroundings = os.environ | single | {"PYTHONPATH": own_packages(), "PYTHONIOENCODING": "utf-8"}
    told = os.memfd_create("shortlist-probe")  # a pipe would hold 64 KiB, and wait
    try:
        os.write(told, task)
        os.lseek(told, 0, os.SEEK_SET)
        return subprocess.Popen(
            list(command),
            stdin=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=surroundings,
            start_new_session=True,  # Ctrl-C is for the server, which then ends the child
        )
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"could not start {command[0] or 'the Python interpreter'} to try a version before it is loaded: {error}; "
            "SearchEngine.open(..., probe=False) does without it"
        ) from error
    finally:
        os.close(told)


def own_packages() -> str:
    """Return the PYTHONPATH with which a child uses the packages that this process uses."""
    own = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([own, *(entry for entry in sys.path if entry)])


def error_type(code: str) -> type[ShortlistError]:
    """Return the error of the tree that has this code."""
    kinds: list[type[ShortlistError]] = [ShortlistError]
    for kind in kinds:
        if kind.code == code:
            return kind
        kinds += kind.__subclasses__()
    return ArtifactCorrupt


def signal_name(number: int) -> str:
    """Return what to call the signal that killed a process."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"signal {number} ({name}{', as when memory runs out' if name == 'SIGKILL' else ''})"


def last_line(complaint: str) -> str:
    """Return the last line that a process wrote on standard error, in brackets, after a space; nothing for none."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return f" ({lines[-1][:200]})" if lines else ""
