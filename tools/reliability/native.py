"""The same kills and failures from outside, by strace, which sees what libraries do past our own file system.

First it is shown that nothing is done past it: every system call of a build that changes the bundle is one that
`indexing.storage` made. Then builds are killed at system calls, and system calls are made to fail, by the kernel's own
tracing. Without strace, or where tracing is forbidden, nothing is tried, and that is said.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from indexing.errors import ShortlistError
from shortlist.building.job import build
from shortlist.config import BuildConfig
from tools.machine import ROOT
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.processes import in_child
from tools.reliability.harness.shop import build_config, scratch, stub_encoder, warm_up, write_model, write_shop
from tools.reliability.harness.trees import differences, look, tree

SEAM = {
    "write": ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice"),
    "truncate": ("ftruncate", "truncate", "fallocate"),
    "fsync": ("fsync", "fdatasync", "sync_file_range", "msync"),
    "rename": ("rename", "renameat", "renameat2"),
    "link": ("link", "linkat", "symlink", "symlinkat"),
    "mkdir": ("mkdir", "mkdirat"),
    "unlink": ("unlink",),
    "rmdir": ("rmdir",),
    "chmod": ("fchmod", "chmod", "fchmodat"),
    "open": ("open", "openat", "openat2", "creat"),
}
"""A call of the seam -> the system calls that do such a thing, whoever makes them."""

KILLED_AT = ("write", "fsync", "rename", "mkdir", "unlink", "link", "ftruncate", "rmdir")
FAILING = {"write": "ENOSPC", "fsync": "EIO", "rename": "EIO", "mkdir": "ENOSPC", "unlink": "EIO", "link": "EIO"}

PATIENCE_S = 120


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the comparison of calls, the kills and the failures."""
    if not _can_trace():
        yield Figure("system calls by strace: not run, strace is missing or may not trace", {"runs": 0})
        return
    with scratch() as folder:
        warm_up(folder / "first")
        shop = Shop(folder)
        yield shop.nothing_passes_by()
        yield shop.killed(("fsync",) if quick else KILLED_AT, most=1 if quick else 40)
        yield shop.failing(("write",) if quick else tuple(FAILING), most=1 if quick else 20)


class Shop:
    """A published bundle, and the build of its next version, which is watched."""

    def __init__(self, folder: Path) -> None:
        """Publish, and take note of what an undisturbed build ends with."""
        self.model = write_model(folder / "model")
        self.config: BuildConfig = build_config(self.model)
        first, self.source = write_shop(folder / "shop"), write_shop(folder / "changed", products=20)
        self.published, self.out, self.log = folder / "published", folder / "out", folder / "strace.log"
        undisturbed = folder / "undisturbed"
        self._build(first, self.published)
        shutil.copytree(self.published, undisturbed)
        self._build(self.source, undisturbed)
        self.old, self.new = (self._look(root) for root in (self.published, undisturbed))
        self.expected = tree(undisturbed)

    def nothing_passes_by(self) -> Figure:
        """Hold the system calls that change the bundle against those that storage made."""
        shutil.copytree(self.published, self.out)
        names = ",".join(name for group in SEAM.values() for name in group if name not in ("creat",))
        ended = self._traced(["-y", "-e", f"trace={names},unlinkat", "-o", str(self.log)])
        made = Counter(json.loads(ended.stdout)["calls"])
        seen = Counter(self._changes(self.log.read_text(encoding="utf-8", errors="replace")))
        shutil.rmtree(self.out)
        del made["lock"]  # a flock is no change, and has no path in the trace that would tell whose it is
        failures = [f"{name}: storage made {made[name]}, the kernel saw {seen[name]}" for name in {*made, *seen}]
        failures = [line for name, line in zip({*made, *seen}, failures, strict=True) if made[name] != seen[name]]
        counts = {"calls": sum(made.values()), "seen": sum(seen.values()), "differ": len(failures)}
        return Figure("system calls made past storage", counts, tuple(failures), at_least={"calls": 100})

    def killed(self, names: Sequence[str], *, most: int) -> Figure:
        """Kill a build at system calls, ``most`` of each kind; look, finish, compare."""
        points, failures = Counter[str](), list[str]()
        for name in names:
            for number in self._numbers(name, most):
                shutil.copytree(self.published, self.out)
                ended = self._traced(["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={number}"])
                points[name] += 1
                problem = (
                    "" if ended.returncode == -signal.SIGKILL else f"not killed: {ended.returncode} {ended.stderr}"
                )
                seen = problem or self._look(self.out)
                if seen not in (self.old, self.new):
                    problem = f"the reader found {seen}"
                failures += self._finished(f"{name} {number}", problem)
        counts = {"points": sum(points.values()), **points, "losses": len(failures)}
        few = {} if most < 10 else {"points": 100}
        return Figure("killed by strace", counts, tuple(failures), at_least=few)

    def failing(self, names: Sequence[str], *, most: int) -> Figure:
        """Let system calls fail, ``most`` of each kind."""
        runs, failures = 0, list[str]()
        for name in names:
            error = FAILING[name]
            for number in self._numbers(name, most):
                shutil.copytree(self.published, self.out)
                ended = self._traced(["-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}"])
                runs += 1
                problem = self._failed_well(ended, error)
                failures += self._finished(f"{name} {number} {error}", problem)
        counts = {"runs": runs, "wrong": len(failures)}
        return Figure("failing by strace", counts, tuple(failures), at_least={"runs": len(names)})

    def _failed_well(self, ended: "subprocess.CompletedProcess[str]", error: str) -> str:
        try:
            outcome = json.loads(ended.stdout)
        except ValueError:
            return f"no typed error: exit {ended.returncode}, {ended.stderr[-300:]}"
        seen = self._look(self.out)
        kind = outcome.get("error", "")
        if kind == "CommitUncertain" or not kind:  # published, perhaps with a warning about what could not be removed
            return "" if seen == self.new else f"{kind or 'published'}, but the reader found {seen}"
        expected = "StorageFull" if error == "ENOSPC" else "StorageError"
        return "" if (kind, seen) == (expected, self.old) else f"{outcome}, and the reader found {seen}"

    def _finished(self, where: str, problem: str) -> list[str]:
        """Build again undisturbed, compare, clean up; return what was wrong."""
        if not problem:
            self._build(self.source, self.out)
            problem = differences(tree(self.out), self.expected)
        shutil.rmtree(self.out)
        return [f"{where}: {problem}"] if problem else []

    def _numbers(self, name: str, most: int) -> Sequence[int]:
        """Return which calls of a kind are hit: at most so many, evenly spread over those that a build makes."""
        shutil.copytree(self.published, self.out)
        self._traced(["-e", f"trace={name}", "-o", str(self.log)])
        shutil.rmtree(self.out)
        calls = self.log.read_text(encoding="utf-8", errors="replace").count(f" {name}(")
        return range(1, calls + 1, max(1, -(-calls // most)))

    def _traced(self, options: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        quiet = [] if "-o" in options else ["-o", os.devnull]
        words = ["strace", "-f", "-qq", *quiet, *options, sys.executable, "-m", "tools.reliability.harness.one_build"]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*words, str(self.model), str(self.source), str(self.out)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip

    def _changes(self, trace: str) -> Iterator[str]:
        """Yield the seam's name of every traced call that changes something below the bundle, or tried to."""
        kinds = {name: seam for seam, names in SEAM.items() for name in names}
        out = str(self.out)
        for line in trace.splitlines():
            found = re.match(r"\d+ +(\w+)\((.*)\) += (-?\d+)", line)
            if found is None or out not in found[2]:
                continue
            name, arguments = found[1], found[2]
            if name == "unlinkat":
                yield "rmdir" if "AT_REMOVEDIR" in arguments else "unlink"
            elif kinds[name] != "open" or "O_CREAT" in arguments:
                yield kinds[name]

    def _build(self, source: Path, out: Path) -> None:
        def run() -> str:
            with stub_encoder():
                return build(self.config, source=source, out=out).version

        ended = in_child(run)
        if ended.error:
            raise RuntimeError(ended.error)

    def _look(self, root: Path) -> Any:  # noqa: ANN401 - a digest, or the error in words
        ended = in_child(partial(_live, root))
        return ended.value or ended.error or str(ended)


def _live(root: Path) -> str:
    try:
        return str(look(root)["live"])
    except ShortlistError as error:
        return f"{type(error).__name__}: {error}"


def _can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return tried.returncode == 0


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
