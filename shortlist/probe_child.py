"""The child of `shortlist.probe`: ``python -m shortlist.probe_child``, told on standard input what to try.

It says nothing and ends with 0 when the version's first stage opens and answers the canary's searches as it did when
it was built; with `REFUSED` and an error as JSON on standard output when it does not.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from indexing import faiss_io
from indexing.errors import ArtifactCorrupt, ShortlistError, VectorError
from indexing.vectors import VectorStore, check_vectors
from retrieval.config import FusionConfig
from shortlist.bundle import open_segments
from shortlist.canary import check_first_stage, read_canary
from shortlist.first_stage import open_first_stage
from shortlist.manifest import CANARY_FILE, parse_manifest
from shortlist.probe import REFUSED
from shortlist.stored import thaw

BLOCK_ROWS = 65_536
"""Vectors looked at at a time: 100 MB of 384 dimensions."""


def main() -> int:
    """Do what standard input says and return the exit code."""
    task = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (task["bytes"], task["bytes"]))
    try:
        _try(task)
    except ShortlistError as error:
        print(json.dumps({"code": error.code, "message": str(error)}))  # noqa: T201 - what the parent reads
        return REFUSED
    except MemoryError:
        size, version = f"{task['bytes'] / 2**30:.1f} GiB", task["manifest"]["version"]
        message = f"opening {version} takes more than {size} of memory, which its files do not account for"
        print(json.dumps({"code": ArtifactCorrupt.code, "message": message}))  # noqa: T201 - as above
        return REFUSED
    return 0


def _try(task: dict[str, Any]) -> None:
    """Open the first stage and ask it the stored searches."""
    root = Path(task["root"])
    manifest = parse_manifest(task["manifest"], where="the manifest")
    faiss_io.limit_reading(task["bytes"])
    folder = root / "versions" / manifest.version
    store = open_segments(root / str(manifest.vectors["store"]), manifest)
    _require_unit_vectors(store)
    stage = open_first_stage(folder, store, threads=1)
    retriever = stage.retriever(thaw("fusion", manifest.fusion, FusionConfig))
    canary = read_canary(folder / CANARY_FILE)
    check_first_stage(canary, retriever, stage.products, overlap=float(manifest.canary["overlap"]))


def _require_unit_vectors(store: VectorStore) -> None:
    """Read every vector once: FAISS never returns one that is not a number, so no search would tell."""
    try:
        for first_row, block in store.view(np.arange(store.count)).blocks(BLOCK_ROWS):
            check_vectors(block, dim=store.dim, first_row=first_row)
    except VectorError as error:
        raise ArtifactCorrupt(f"{store.folder}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
