"""How a pipeline takes part: one process builds its index from texts, another opens it and answers queries.

A pipeline is a class with ``build``, ``open`` and ``search`` in a file of its own, which imports this module and its
own library, nothing of Shortlist's: it is what a user would write by hand. `serve` turns it into a command::

    pipeline.py build CORPUS FOLDER [--model DIR] [--cross-encoder DIR]
    pipeline.py serve CORPUS FOLDER [--model DIR] [--cross-encoder DIR]

``CORPUS`` is JSON Lines of ``product_id`` and ``text``. ``build`` prints one JSON line: seconds and peak memory.
``serve`` prints one when it is ready, then answers each line of stdin, ``{"query": TEXT, "k": N}``, with the ids and
scores, best first, and the milliseconds that the search itself took; an empty line ends it with its memory.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MIB = 1024 * 1024


@dataclass(frozen=True)
class Options:
    """What every pipeline is given.

    Attributes:
        corpus: JSON Lines of product_id and text.
        folder: Where its index lies.
        model: sentence-transformers folder of the dual encoder.
        cross_encoder: sentence-transformers folder of a cross-encoder, or ``None``.
        depth: Candidates that a cross-encoder scores.
    """

    corpus: Path
    folder: Path
    model: str
    cross_encoder: str | None
    depth: int


class Pipeline(Protocol):
    """What a pipeline does; its constructor takes `Options`."""

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Index the texts and write what a search needs into the folder."""

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Make ready for searching what `build` wrote, in a fresh process."""

    def search(self, query: str, k: int) -> Sequence[tuple[str, float]]:
        """Return at most ``k`` ids with scores, best first."""


def serve(pipeline: type[Any], arguments: Sequence[str] | None = None) -> None:
    """Run a pipeline as a command; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("build", "serve"))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--cross-encoder")
    parser.add_argument("--depth", type=int, default=100)
    given = parser.parse_args(arguments)
    talk = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not end up between the answers
    options = Options(given.corpus, given.folder, given.model, given.cross_encoder, given.depth)
    product_ids, texts = read_corpus(given.corpus)
    start = time.perf_counter()
    running: Pipeline = pipeline(options)
    if given.command == "build":
        running.build(product_ids, texts)
        _say(talk, {"build_s": time.perf_counter() - start, "peak_mib": _peak_mib()})
        return
    running.open(product_ids, texts)
    _say(talk, {"open_s": time.perf_counter() - start})
    for line in sys.stdin:
        if not line.strip():
            break
        asked = json.loads(line)
        start = time.perf_counter()
        found = running.search(asked["query"], asked["k"])
        elapsed_ms = (time.perf_counter() - start) * 1000
        _say(talk, {"ranked": [[product_id, float(score)] for product_id, score in found], "ms": elapsed_ms})
    _say(talk, {"resident_mib": _resident_mib(), "peak_mib": _peak_mib()})


def read_corpus(path: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts in the order of the file."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["product_id"] for row in rows], [row["text"] for row in rows]


def _say(stream: Any, values: dict[str, Any]) -> None:  # noqa: ANN401 - a text stream
    stream.write(json.dumps(values) + "\n")
    stream.flush()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_mib() -> float:
    """Resident memory now, mapped files included; Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MIB
