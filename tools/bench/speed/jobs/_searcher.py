"""A process that opens one index, searches it, and says what memory that took: FOLDER VECTORS QUERIES PARAMETERS."""

import json
import sys
from pathlib import Path

import numpy as np

from indexing import ArrayVectors, open_index
from indexing.threads import set_budget

K = 100


def main(folder: str, vectors: str, queries: str, parameters: str) -> None:
    """Print resident memory before opening and after the last query, in bytes."""
    set_budget(1)
    asked = np.load(queries)
    before = resident()
    stored = ArrayVectors(np.load(vectors, mmap_mode="r"))
    index = open_index(Path(folder), stored, verify=False).tuned(**json.loads(parameters))
    for query in asked:
        index.search(query[np.newaxis], K)
    after = resident()
    print(json.dumps({name: after[name] - before[name] for name in after}))


def resident() -> dict[str, int]:
    """Return the process's own memory and what it has mapped from files and touched, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[key].split()[0]) * 1024 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


if __name__ == "__main__":
    main(*sys.argv[1:])
