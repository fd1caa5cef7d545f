"""The pipelines that are held beside each other, each a process of its own that speaks `protocol`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.peers.grounds import Ground

HERE = Path(__file__).resolve().parent
K = 100
"""Products per answer: what R@100 needs."""
DEPTH = 100
"""Candidates that a cross-encoder scores: Shortlist's default."""


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        name: As printed.
        script: The pipeline's file.
        kind: Rows of one kind are compared: words, vectors, both, reranked.
        folder: Where its index lies, below the ground's folder.
    """

    name: str
    script: str
    kind: str
    folder: str

    @property
    def ours(self) -> bool:
        """Whether this is Shortlist itself."""
        return self.script == "shortlist_engine.py"


ENTRIES = (
    Entry("shortlist-bm25", "shortlist_engine.py", "words", "shortlist/bm25"),
    Entry("bm25s", "bm25s_words.py", "words", "bm25s"),
    Entry("tantivy", "tantivy_words.py", "words", "tantivy"),
    Entry("shortlist-dense", "shortlist_engine.py", "vectors", "shortlist/dense"),
    Entry("st-faiss", "st_faiss.py", "vectors", "st_faiss"),
    Entry("shortlist-hybrid", "shortlist_engine.py", "both", "shortlist/hybrid"),
    Entry("txtai-hybrid", "txtai_hybrid.py", "both", "txtai"),
    Entry("lancedb-hybrid", "lancedb_hybrid.py", "both", "lancedb"),
    Entry("shortlist-hybrid_rerank", "shortlist_engine.py", "reranked", "shortlist/hybrid_rerank"),
    Entry("st-faiss-ce", "st_faiss.py", "reranked", "st_faiss_ce"),
)
PACKAGES = ("sentence-transformers", "faiss-cpu", "torch", "bm25s", "txtai", "lancedb", "tantivy")


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a pipeline is run.

    Attributes:
        entry: Which one.
        before: What comes before ``build`` or ``serve``: interpreter and script.
        after: What comes after it.
    """

    entry: Entry
    before: Sequence[str]
    after: Sequence[str]

    @classmethod
    def of(cls, entry: Entry, ground: Ground, corpus: Path, folder: Path, peers_python: Path) -> "Command":
        """Return the command on one ground; Shortlist runs in this environment, everybody else in the peers'."""
        python = sys.executable if entry.ours else str(peers_python)
        after = [str(corpus), str(folder / entry.folder), "--model", str(ground.model), "--depth", str(DEPTH)]
        if ground.cross_encoder is not None and (entry.kind == "reranked" or entry.ours):
            after += ["--cross-encoder", str(ground.cross_encoder)]
        return cls(entry=entry, before=[python, str(HERE / entry.script)], after=after)

    def build(self, log: Path) -> dict[str, float]:
        """Build its index and return what the pipeline says of it: seconds and memory."""
        with log.open("ab") as errors:
            command = [*self.before, "build", *self.after]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        if done.returncode:
            sys.exit(f"{self.entry.name} could not be built; see {log}")
        values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return values

    def serve(self, log: Path) -> "Runner":
        """Start it as a process that answers queries."""
        return Runner(self.entry, [*self.before, "serve", *self.after], log)


class Runner:
    """One pipeline as a process that is open for queries."""

    def __init__(self, entry: Entry, command: Sequence[str], log: Path) -> None:
        """Start it and wait until it is ready."""
        self.entry = entry
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.open_s = float(self._read()["open_s"])

    def ask(self, query: str) -> tuple[list[tuple[str, float]], float]:
        """Return the answer and its milliseconds."""
        answer = self._write(json.dumps({"query": query, "k": K}))
        return [(product_id, score) for product_id, score in answer["ranked"]], float(answer["ms"])

    def close(self) -> dict[str, float]:
        """Return its memory and let it end."""
        memory = self._write("")
        self._end()
        return {name: float(value) for name, value in memory.items()}

    def _write(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None  # a pipe was asked for
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._end()
            sys.exit(f"{self.entry.name} ended; see {self.log}")
        values: dict[str, Any] = json.loads(line)
        return values

    def _end(self) -> None:
        """Close the pipes and wait for the process."""
        self.process.communicate(timeout=60)


def versions(peers_python: Path) -> dict[str, str]:
    """Return the versions of the peers, from their own environment."""
    script = "import json, sys; from importlib.metadata import version as v; "
    script += "print(json.dumps({name: v(name) for name in sys.argv[1:]}))"
    done = subprocess.run([str(peers_python), "-c", script, *PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
