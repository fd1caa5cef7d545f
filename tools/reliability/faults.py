"""Let every system call of a build fail: a typed error, what was published whole, and a next build that makes good.

Every call fails once with a full disk, a broken device and too many open files; then from some calls on everything that
needs room fails, as it does on a disk that stays full. A sync that failed must end the build: a second one that
succeeds proves nothing (Rebello et al., USENIX ATC 2020). Last, a file system that takes writes piecemeal.
"""

import errno
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import CommitUncertain, ShortlistError, StorageError, StorageFull
from indexing.storage import FileSystem
from shortlist.building.job import build
from shortlist.building.report import BuildReport
from shortlist.config import BuildConfig
from tools.reliability.harness.calls import CountedFileSystem, any_call, described
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.shop import build_config, scratch, stub_encoder, write_model, write_shop
from tools.reliability.harness.trees import differences, look, tree

KINDS = (errno.ENOSPC, errno.EIO, errno.EMFILE)
NEEDS_ROOM = ("write", "fsync", "mkdir", "link", "truncate")
"""Calls that a full disk lets fail; opening and removing go on."""


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the failures of single calls, those of a full disk, and piecemeal writes."""
    with scratch() as folder, stub_encoder(), redirect_stderr(StringIO()):
        shop = Shop(folder)
        for kind in KINDS:
            name = f"{errno.errorcode[kind]} at every call"
            yield shop.fail(name, kind, step=97 if quick else 1, lasting=False, finish_every=4 if quick else 9)
        yield shop.fail("a disk that stays full", errno.ENOSPC, step=149 if quick else 7, lasting=True, finish_every=2)
        yield shop.piecemeal()


class Shop:
    """A published bundle, and the build of its next version that is made to fail."""

    def __init__(self, folder: Path) -> None:
        """Publish, and take note of what an undisturbed build ends with."""
        self.config: BuildConfig = build_config(write_model(folder / "model"))
        first, self.source = write_shop(folder / "shop"), write_shop(folder / "changed", products=20)
        self.published, self.out = folder / "published", folder / "out"
        build(self.config, source=first, out=self.published)
        undisturbed = folder / "undisturbed"
        shutil.copytree(self.published, undisturbed)
        self.calls: list[str] = []
        with storage.using(CountedFileSystem(self._note, is_point=any_call)):
            build(self.config, source=self.source, out=undisturbed)
        self.old, self.new = look(self.published)["live"], look(undisturbed)["live"]
        self.expected = tree(undisturbed)

    def fail(self, name: str, kind: int, *, step: int, lasting: bool, finish_every: int) -> Figure:
        """Let every ``step``-th call fail in a build of its own."""
        outcomes: Counter[str] = Counter()
        failures: list[str] = []
        for number in range(1, len(self.calls) + 1, step):
            shutil.copytree(self.published, self.out)
            error = self._build_failing(number, kind, lasting=lasting)
            outcome, problem = self._outcome(error, number, kind)
            outcomes[outcome] += 1
            if not problem and (number // step) % finish_every == 0:
                outcomes["finished"] += 1
                build(self.config, source=self.source, out=self.out)
                problem = differences(tree(self.out), self.expected)
            failures += [f"call {number} ({self.calls[number - 1]}): {problem}"] if problem else []
            shutil.rmtree(self.out)
        counts = {"runs": sum(outcomes.values()) - outcomes["finished"], **dict(sorted(outcomes.items()))}
        return Figure(name, counts | {"wrong": len(failures)}, tuple(failures), at_least={"runs": 5})

    def piecemeal(self) -> Figure:
        """Build on a file system that takes at most three bytes at a time."""
        shutil.copytree(self.published, self.out)

        class Piecemeal(FileSystem):
            writes = 0

            def write(self, descriptor: int, content: memoryview) -> int:
                self.writes += 1
                return super().write(descriptor, content[:3])

        with storage.using(Piecemeal()) as file_system:
            build(self.config, source=self.source, out=self.out)
        problem = differences(tree(self.out), self.expected)
        shutil.rmtree(self.out)
        counts = {"writes": file_system.writes, "wrong": int(bool(problem))}  # type: ignore[attr-defined]
        return Figure("writes of three bytes", counts, (problem,) if problem else (), at_least={"writes": 1000})

    def _note(self, _number: int, name: str, arguments: tuple[Any, ...]) -> None:
        self.calls.append(described(name, arguments))

    def _build_failing(self, first: int, kind: int, *, lasting: bool) -> BuildReport | Exception:
        """Build; the call numbered ``first`` fails, and with ``lasting`` all later ones that need room."""

        def at(number: int, name: str, _arguments: tuple[Any, ...]) -> None:
            if number == first or (lasting and number > first and name in NEEDS_ROOM):
                raise OSError(kind, os.strerror(kind))

        try:
            with storage.using(CountedFileSystem(at, is_point=any_call)):
                return build(self.config, source=self.source, out=self.out)
        except Exception as error:  # noqa: BLE001 - whether it is of the right kind is what is asked
            return error

    def _outcome(self, result: BuildReport | Exception, number: int, kind: int) -> tuple[str, str]:
        """Return what became of a build, in a word, and what is wrong with that."""
        try:
            seen = look(self.out, search=False)["live"]
        except ShortlistError as error:
            return "lost", f"nothing can be opened: {error}"
        is_new = seen == self.new
        if isinstance(result, BuildReport):
            quiet_sync = self.calls[number - 1].startswith("fsync") and not result.warnings
            problem = "the old version is live" if not is_new else "a failed sync went unnoticed" if quiet_sync else ""
            return "published", problem
        if isinstance(result, CommitUncertain):
            return "uncertain", "" if is_new else "CommitUncertain, but the old version is live"
        if is_new or seen != self.old:
            return "failed", f"the build failed, but {'the new' if is_new else 'another'} version is live: {result}"
        expected = StorageFull if kind == errno.ENOSPC else StorageError
        if not isinstance(result, expected):
            return "failed", f"expected {expected.__name__}, got {type(result).__name__}: {result}"
        return "failed", "" if os.strerror(kind) in str(result) else f"the cause is not in the message: {result}"


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
