"""Resident memory of a searcher, part by part, weighed in a process that does nothing else.

Inside the process that evaluates, a part would be served from memory that something else has freed, and all that the
evaluation itself holds would be counted. So a fresh interpreter loads the bundle, looks at what the kernel says after
each part, answers some queries, and looks again.

``python -m shortlist.evaluation.cost.memory`` reads its orders as JSON on standard input and prints the parts as JSON.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexing.errors import EnvironmentProblem
from retrieval.config import Backend, Precision, RuntimeConfig
from shortlist.evaluation.cost.records import Memory, MemoryPart
from shortlist.evaluation.cost.ways import Way

ROLLUP = Path("/proc/self/smaps_rollup")
"""Linux 4.14 and later: what this process holds."""

HOW = f"resident set size of a process of its own, from {ROLLUP}, after loading each part"

DENSE_PARTS = ("vectors", "index", "encoder")
"""Parts that a search by words does without."""


def weigh(bundle: Path, *, queries: Sequence[str], runtime: RuntimeConfig, depth: int) -> Memory:
    """Load a bundle in a process of its own and weigh its parts.

    Args:
        bundle: The bundle's folder.
        queries: Normalised queries that are answered before the last part is weighed.
        runtime: Device, threads, precision.
        depth: Candidates of those answers.

    Raises:
        EnvironmentProblem: If this system does not say what a process holds, or the process failed.
    """
    if not ROLLUP.is_file():
        raise EnvironmentProblem(f"{ROLLUP} does not exist: only Linux says what a process holds by its parts")
    orders = {
        "bundle": str(bundle),
        "queries": list(queries),
        "runtime": asdict(runtime) | {"precision": runtime.precision.name, "backend": runtime.backend.name},
        "depth": depth,
    }
    # The child imports what this process would, from wherever this process would.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise EnvironmentProblem(f"the process that weighs the bundle failed: {last[0]}")
    parts = tuple(MemoryPart(**part) for part in json.loads(done.stdout.splitlines()[-1]))
    return Memory(how=HOW, parts=parts, answered=len(queries))


def needed_bytes(memory: Memory, way: Way, index_bytes: Mapping[str, int]) -> int:
    """Return the resident bytes that one way of answering needs: the sum of its parts.

    Args:
        memory: All parts, of the bundle as it is.
        way: A search by words does without the vectors' parts; an index that is not the bundle's own takes its place
            with its size; layers that do not run are not counted.
        index_bytes: Kind of index -> its size.
    """
    total = 0
    for part in memory.parts:
        size = part.anonymous_bytes + part.mapped_bytes
        if part.name == "index" and way.index is not None and not way.index.own:
            size = index_bytes[way.index.kind]
        if part.name == "reranker":
            size = size - way.dropped_bytes if way.all_layers else 0
        if way.index is not None or part.name not in DENSE_PARTS:
            total += size
    return total


def parse_rollup(text: str) -> tuple[int, int]:
    """Return the resident bytes of own memory, and of mapped files, in a ``smaps_rollup``.

    Resident, not proportional: a library that another process has loaded too would weigh less, and the numbers would
    depend on who else runs.

    Source: Linux, Documentation/filesystems/proc.rst: sizes in kB, which are 1,024 bytes.
    """
    found = dict[str, int]()
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * 1024
    return found["Anonymous"], found["Rss"] - found["Anonymous"]


# --- in the process of its own ----------------------------------------------------------------------------------------


class _Scales:
    """Weighs what has come since it was last asked."""

    def __init__(self) -> None:
        self._before = (0, 0)
        self.parts: list[MemoryPart] = []

    def weigh(self, name: str) -> None:
        gc.collect()
        now = parse_rollup(ROLLUP.read_text(encoding="ascii"))
        anonymous, mapped = (after - before for after, before in zip(now, self._before, strict=True))
        self.parts.append(MemoryPart(name, anonymous, mapped))
        self._before = now


def _weigh_here(orders: Mapping[str, Any]) -> list[MemoryPart]:
    """Load, weigh, answer and weigh, in the order of loading."""
    import faiss  # noqa: F401 - weighed apart from what they hold
    import pyarrow.parquet  # noqa: F401
    import sentence_transformers  # noqa: F401

    from shortlist.bundle import open_bundle
    from shortlist.loading import load_generation

    scales = _Scales()
    scales.weigh("libraries")
    runtime = RuntimeConfig(
        **{
            **orders["runtime"],
            "precision": Precision[orders["runtime"]["precision"]],
            "backend": Backend[orders["runtime"]["backend"]],
        }
    )
    bundle = open_bundle(Path(orders["bundle"]), verify=False)  # whoever asks has just opened it
    generation = load_generation(bundle, runtime=runtime, probing=False, loaded=scales.weigh)
    for query in orders["queries"]:
        generation.rank([query], recall_depth=orders["depth"], rerank_depth=orders["depth"])
    scales.weigh("answering")
    return scales.parts


if __name__ == "__main__":
    found = _weigh_here(json.load(sys.stdin))
    sys.stdout.write(json.dumps([asdict(part) for part in found]) + "\n")
