"""Approximate search at recall@100 >= .95, one thread, one query at a time; the peers are hnswlib and usearch.

Operating points, the peers' and ours, are chosen on Home Depot's train queries and measured on its dev queries.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing import ArrayVectors, ExactIndex, Neighbors, recall_at
from indexing.config import HnswSq8Config
from indexing.faiss_index import FaissIndex
from indexing.scores import score_rows
from indexing.types import FloatMatrix
from tools.bench.speed.jobs._built import tuned_index
from tools.bench.speed.jobs._embeddings import Embedded, catalogue
from tools.bench.speed.peer import PeerProcess
from tools.bench.speed.records import Compared, Measurement, Options, Plot, Quality, Row, Side, Target
from tools.bench.speed.stopwatch import Stopwatch
from tools.machine import ROOT

NAME = "ann"
K, TARGET = 100, 0.95
SCRIPT = ROOT / "tools" / "bench" / "peers" / "graphs.py"
REQUIREMENTS = SCRIPT.with_name("requirements-ann.txt")
GRID = (("hnswlib", 16, 200), ("usearch", 16, 128), ("hnswlib", 12, 200), ("usearch", 32, 128))
"""Library, links, beam while building: hnswlib's and usearch's own defaults, then another number of links for each."""

BEAMS = (100, 110, 120, 135, 150, 175, 200, 250, 300, 400, 600, 800)
TIMES_FASTER = {"hnswlib": 2.0, "usearch": 3.0}
LIMIT = (
    "reaching a thousand or more vectors in memory, one after another: pages of 2 MiB take .86 of the time, codes of "
    "fewer bits or with cheaper products none less (docs/decisions/0024-graphs-lie-in-huge-pages.md)"
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's index at its operating point."""

    library: str
    name: str
    process: PeerProcess
    ef: int
    recall: float
    build_s: float
    size_bytes: int


def measure(options: Options) -> Measurement:
    """Build every index over the same vectors, choose operating points, then search in turns."""
    count = options.number("ann.count", 200_000, quick=3_000)
    if not _peers_are_there(options.peers_python):
        return _not_run(count)
    asked = options.number("ann.queries", 200, quick=20)
    embedded = catalogue(options, count, tuning=asked, scoring=asked)
    folder = options.work / f"ann-{count}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vectors", "tuning", "scoring"):
        np.save(folder / f"{name}.npy", getattr(embedded, name))
    stored = ArrayVectors(embedded.vectors)
    exact = {name: ExactIndex(stored).search(getattr(embedded, name), K) for name in ("tuning", "scoring")}
    config = HnswSq8Config()
    index, build_s = tuned_index(options, "hnsw_sq8", config, stored, embedded.tuning, target=TARGET)
    recall = recall_at(K, index.search(embedded.scoring, K), exact["scoring"])
    with ExitStack() as running:
        peers = [
            _peer(options, running, folder, spec, embedded, exact)
            for spec in GRID[: options.number("ann.peers", len(GRID))]
        ]
        return _contest(options, index, build_s, recall, peers, embedded)


def _peers_are_there(python: Path) -> bool:
    """Whether the peers' interpreter has both libraries."""
    imports = [str(python), "-c", "import hnswlib, usearch"]
    return python.is_file() and subprocess.run(imports, capture_output=True, check=False).returncode == 0


def _not_run(count: int) -> Measurement:
    why = f"hnswlib and usearch are not in the peers' environment: pip install -r {REQUIREMENTS.relative_to(ROOT)}"
    rows = [
        Row(
            job=f"search {count:,} vectors, k={K}, one thread, {library}",
            compared=Compared.faster,
            target=Target(at_least=target),
            not_run=why,
        )
        for library, target in TIMES_FASTER.items()
    ]
    return Measurement(name=NAME, rows=tuple(rows), threads=1)


def _peer(
    options: Options,
    running: ExitStack,
    folder: Path,
    spec: tuple[str, int, int],
    embedded: Embedded,
    exact: Mapping[str, Neighbors],
) -> Peer:
    """Build a peer's index, or open the one that was built, and find the least beam that reaches the target."""
    library, links, ef_construction = spec
    process = running.enter_context(PeerProcess(options.peers_python, SCRIPT))
    file = folder / f"{library}-{links}-{ef_construction}-{options.threads}"
    record = file.with_suffix(".json")
    if not record.is_file():
        what = {"library": library, "links": links, "ef_construction": ef_construction, "threads": options.threads}
        built = process.ask({"build": what | {"vectors": str(folder / "vectors.npy"), "file": str(file)}})
        record.write_text(json.dumps(built), encoding="utf-8")
    built = json.loads(record.read_text(encoding="utf-8"))
    process.ask({"open": {"library": library, "file": str(file), "dim": embedded.vectors.shape[1]}})
    for ef in BEAMS:
        if _recall(process, folder, "tuning", ef, embedded, exact["tuning"]) >= TARGET:
            break
    recall = _recall(process, folder, "scoring", ef, embedded, exact["scoring"])
    name = f"{library}, M {links}, efC {ef_construction}, ef {ef}"
    return Peer(library, name, process, ef, recall, float(built["seconds"]), int(built["bytes"]))


def _recall(process: PeerProcess, folder: Path, which: str, ef: int, embedded: Embedded, exact: Neighbors) -> float:
    """Ask the peer all queries and score its rows as ours are, on the exact vectors."""
    out = folder / "answers.npy"
    process.ask({"answers": {"queries": str(folder / f"{which}.npy"), "k": K, "ef": ef, "out": str(out)}})
    rows, queries = np.load(out), getattr(embedded, which)
    scores = np.stack([score_rows(query, embedded.vectors[found]) for query, found in zip(queries, rows, strict=True)])
    return recall_at(K, Neighbors(scores, rows), exact)


def _contest(
    options: Options, index: FaissIndex, build_s: float, recall: float, peers: Sequence[Peer], embedded: Embedded
) -> Measurement:
    watch = Stopwatch.of(options)
    places = range(len(embedded.scoring))
    contestants: dict[str, Any] = {"ours": [_ask(index, query) for query in embedded.scoring]}
    contestants |= {
        peer.name: [peer.process.timed({"query": {"place": place, "k": K}}) for place in places] for peer in peers
    }
    times = watch.contest(contestants)
    plan = index.record.plan
    own = f"Shortlist {plan.kind}, M {plan.parameters['links']}, ef {plan.parameters['ef_search']}"
    ours, where = times["ours"].side(own), f"{index.count:,} x {index.dim}"
    rows = []
    for library, target in TIMES_FASTER.items():
        reaching = [peer for peer in peers if peer.library == library and peer.recall >= TARGET - 0.005] or [
            peer for peer in peers if peer.library == library
        ]
        best = min(reaching, key=lambda peer: times[peer.name].side("").median)
        quality = (
            Quality(name=f"recall@{K}", value=recall, at_least=TARGET - 0.005),
            Quality(name=f"the peer's recall@{K}", value=best.recall),
        )
        search = Row(
            job=f"search {where}, k={K}, one thread, {library}",
            compared=Compared.faster,
            ours=ours,
            peer=times[best.name].side(best.name),
            target=Target(at_least=target),
            work=len(embedded.scoring),
            per="queries",
            quality=quality,
            limited_by=LIMIT,
        )
        rows += [search, _build_row(options, own, build_s, best, where), _size_row(own, index, best, where)]
    mapped = 4 * index.dim
    notes = (
        f"{embedded.facts['recipe']}; {embedded.facts['real']:,} of {embedded.facts['count']:,} are real, seed "
        f"{embedded.facts['seed']}. Queries are people's (Home Depot): operating points were chosen on "
        f"{len(embedded.tuning)} train queries, recall and time are of {len(embedded.scoring)} dev queries; a point "
        "within .005 of the target there counts as reaching it.",
        f"Our bytes per vector are those of the index; the {mapped:,} of each exact vector, which refinement reads, "
        "are mapped from the vector store and not counted. The peers' indexes hold their vectors.",
    )
    return Measurement(
        name=NAME,
        rows=tuple(rows),
        threads=1,
        noise=watch.noise(),
        plots=(_plot(times, peers, recall, own),),
        notes=notes,
        facts=embedded.facts | {"plan": dict(plan.parameters), "peers": {p.name: [p.recall, p.build_s] for p in peers}},
    )


def _ask(index: FaissIndex, query: Any) -> Any:  # noqa: ANN401 - a contestant's call
    alone: FloatMatrix = query[np.newaxis]
    return lambda: index.search(alone, K)


def _build_row(options: Options, own: str, build_s: float, best: Peer, where: str) -> Row:
    return Row(
        job=f"build {where}, {options.threads} threads, {best.library}",
        compared=Compared.share,
        unit="s",
        ours=Side(name=own, values=(build_s,)),
        peer=Side(name=best.name, values=(best.build_s,)),
        target=Target(at_most=1.0),
        few_because="built once each, one after the other",
    )


def _size_row(own: str, index: FaissIndex, best: Peer, where: str) -> Row:
    return Row(
        job=f"index of {where}, {best.library}",
        compared=Compared.share,
        unit="bytes/vector",
        ours=Side(name=own, values=(index.size_bytes / index.count,)),
        peer=Side(name=best.name, values=(best.size_bytes / index.count,)),
    )


def _plot(times: Mapping[str, Any], peers: Sequence[Peer], recall: float, own: str) -> Plot:
    points = {own: ((times["ours"].percentile("", 50).median, recall),)}
    points |= {peer.name: ((times[peer.name].percentile("", 50).median, peer.recall),) for peer in peers}
    return Plot(file="ann", title=f"Recall@{K} and time of a query", x="ms", y=f"recall@{K}", series=points)
