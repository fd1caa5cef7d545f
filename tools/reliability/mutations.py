"""Take one safeguard out of a copy of the tree, and see that something fails: a check that cannot fail proves nothing.

Each entry names what is taken out, the file, the text that goes and what takes its place, and the test or program that
must notice. The text must be there exactly once, so that a mutation cannot silently become none; and what must fail is
first seen to pass on an unchanged copy.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tools.machine import ROOT
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.safeguards_serving import SERVING
from tools.reliability.harness.safeguards_storage import PROGRAM, STORAGE
from tools.reliability.harness.shop import scratch

MUTATIONS = (*STORAGE, *SERVING)


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield how many of the mutations were noticed."""
    chosen = MUTATIONS[3:4] if quick else MUTATIONS
    times = {one: (ROOT / one.file).read_text(encoding="utf-8").count(one.old) for one in MUTATIONS}
    failures = [
        f"{one.what}: its text stands in {one.file} {found} times" for one, found in times.items() if found != 1
    ]
    with scratch() as folder:
        _copy(folder / "tree")
        for witness in _together(one.witness for one in chosen):
            if not _passes(folder / "tree", witness):
                failures.append(f"something of {' '.join(witness)} fails although nothing was taken out")
        for one in chosen:
            path = folder / "tree" / one.file
            original = path.read_text(encoding="utf-8")
            path.write_text(original.replace(one.old, one.new), encoding="utf-8")
            if _passes(folder / "tree", one.witness):
                failures.append(f"nobody noticed that this is gone: {one.what}")
            path.write_text(original, encoding="utf-8")
    counts = {"mutations": len(chosen), "noticed": len(chosen) - len(failures), "missed": len(failures)}
    yield Figure("safeguards taken out", counts, tuple(failures))


def _together(witnesses: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the programs, each by itself, and all tests as one, which saves importing the libraries for each."""
    distinct = sorted(set(witnesses))
    tests = sorted({test for witness in distinct if not witness[0].startswith(PROGRAM) for test in witness})
    return [*(witness for witness in distinct if witness[0].startswith(PROGRAM)), *([tuple(tests)] if tests else [])]


def _copy(target: Path) -> None:
    """Copy what git knows and what it would add."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def _passes(tree: Path, witness: Sequence[str]) -> bool:
    if witness[0].startswith(PROGRAM):
        words = [sys.executable, "-m", witness[0], "--quick"]
    else:
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", *witness]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, cwd=tree, env=environment, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
