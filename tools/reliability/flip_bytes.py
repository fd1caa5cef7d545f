"""Flip every byte of every file of a bundle, and cut every file at every length: opening must refuse each time.

The bundle is a whole one, two models and a journal of an upsert and a delete included. Each flip changes one bit, a
different one from byte to byte; each is given to the functions that every opening begins with, not to a process of its
own.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from indexing.errors import ArtifactError
from retrieval.records import Product
from shortlist.bundle import LOCK, open_bundle
from shortlist.engine import SearchEngine
from shortlist.living.journal import Journal
from shortlist.living.standing import standing
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.shop import scratch
from tools.reliability.harness.tiny import build_tiny

STEP = 97
"""A sample takes every so many bytes; a prime, so that no structure of the files is in step with it."""


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the flips, then the truncations."""
    with scratch() as folder:
        root = build_tiny(folder)
        with SearchEngine.open(root, probe=False) as engine:
            engine.upsert([Product("p90", "red sofa", price=1.0), Product("p03", "blue sofa", price=2.0)])
            engine.delete(["p01", "p02"])
        yield flips(root, step=STEP if quick else 1)
        yield truncations(root, step=STEP if quick else 1)
        if not accepted(root):
            raise RuntimeError("a file was not put back as it was")


def flips(root: Path, *, step: int) -> Figure:
    """Flip a bit of every ``step``-th byte of every file; the byte is put back each time."""
    tried, losses = 0, []
    files = contents(root)
    for path in files:
        descriptor = os.open(path, os.O_RDWR)
        try:
            for place in range(0, path.stat().st_size, step):
                byte = os.pread(descriptor, 1, place)
                os.pwrite(descriptor, bytes([byte[0] ^ (1 << place % 8)]), place)
                tried += 1
                if accepted(root):
                    losses.append(f"bit {place % 8} of byte {place} of {path.relative_to(root)}")
                os.pwrite(descriptor, byte, place)
        finally:
            os.close(descriptor)
    counts = {"files": len(files), "flips": tried, "losses": len(losses)}
    return Figure("flipped bytes", counts, tuple(losses), at_least={"files": 30, "flips": 30_000 // step})


def truncations(root: Path, *, step: int) -> Figure:
    """Cut every file to every ``step``-th length below its own, longest first, and put it back at the end."""
    tried, losses = 0, []
    files = contents(root)
    for path in files:
        content = path.read_bytes()
        for length in range(len(content) - 1, -1, -step):
            os.truncate(path, length)
            tried += 1
            if accepted(root):
                losses.append(f"{path.relative_to(root)} cut to {length} bytes")
        path.write_bytes(content)
    counts = {"files": len(files), "lengths": tried, "losses": len(losses)}
    return Figure("truncated files", counts, tuple(losses), at_least={"files": 30, "lengths": 30_000 // step})


def contents(root: Path) -> list[Path]:
    """Return the files that a bundle consists of: not the lock, and nothing that is never trusted."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != LOCK)
    return [path for path in found if path.relative_to(root).parts[0] != "cache"]


def accepted(root: Path) -> bool:
    """Whether opening goes past the verification; an error of another type than ours ends the program."""
    try:
        manifest = open_bundle(root).manifest
        standing(Journal(root).read(), journal_seq=manifest.journal_seq, where=manifest.version)
    except ArtifactError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
