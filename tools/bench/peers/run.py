"""Shortlist beside the pipelines that a user would otherwise write: one corpus, one set of queries, one table.

Every pipeline runs in a process of its own (`protocol`), the peers in an environment of their own, with their own
defaults. Text, models and cut-offs are the same for all. Builds follow each other; then all stay open and every query
goes to each in turn, so that all meet the same weather, in an order that changes from query to query. Quality comes
from the same evaluator for all, on the run files that this leaves behind.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexing.errors import ShortlistError
from retrieval.catalog import Catalog, open_catalog
from retrieval.models import model_folder
from retrieval.records import Query
from retrieval.text import TextTemplate
from shortlist.compose import load_config
from shortlist.config import BuildConfig, EvaluateConfig
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.paired import bootstrap_interval, differences
from shortlist.evaluation.records import Evaluation, EvaluationOptions, SystemRun
from shortlist.evaluation.trec import write_qrels, write_run
from shortlist.jobs.evaluate import judged_queries
from shortlist.store.judgments import completed
from tools.machine import ROOT, commit, machine

HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "tools" / "bench" / "results"

SHARED = ROOT.parent / "shared" / "data"
K = 100
"""Products per answer: what R@100 needs."""
DEPTH = 100
"""Candidates that a cross-encoder scores: Shortlist's default."""
SEED = 7
GROUNDS = ("icecat", "homedepot", "store")


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        name: As printed.
        script: The pipeline's file.
        kind: Rows of one kind are compared: words, vectors, both, reranked.
        folder: Where its index lies, below the dataset's folder.
    """

    name: str
    script: str
    kind: str
    folder: str


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
COLUMNS = (
    "pipeline",
    "nDCG@10",
    "condensed",
    "R@100",
    "Judged@10",
    "p50 ms",
    "p95 ms",
    "build s",
    "open s",
    "resident MiB",
    "peer ahead in",
)
PACKAGES = ("sentence-transformers", "faiss-cpu", "torch", "bm25s", "txtai", "lancedb", "tantivy")


@dataclass(frozen=True)
class Ground:
    """A catalogue with judged queries, and the models that everybody uses on it.

    Attributes:
        name: As asked for.
        catalog: Products, queries and judgments.
        model: The dual encoder.
        cross_encoder: Without one, nobody reranks.
        complete: A product without a judgment has grade 0.
    """

    name: str
    catalog: Catalog
    model: Path = field(default_factory=lambda: model_folder("minilm"))
    cross_encoder: Path | None = None
    complete: bool = False


def grounds(names: Sequence[str], demo: Path) -> Iterable[Ground]:
    """Open the catalogues that were asked for; what is not there is said, not passed over."""
    for name in names:
        if name == "store":
            if not (demo / "models").is_dir():
                sys.exit(f"{demo} holds no models; make them with: make demo")
            catalog = _catalog(["catalog=demo", "catalog.split=test"], demo / "store")
            yield Ground(name, catalog, demo / "models" / "retriever", demo / "models" / "reranker", complete=True)
        elif not (SHARED / name).is_dir():
            print(f"{name}: left out, {SHARED / name} is not there")
        elif name == "homedepot":
            yield Ground(name, _catalog(["catalog=homedepot", "catalog.split=dev"], SHARED / name))
        else:
            yield Ground(name, _catalog([f"catalog={name}"], SHARED / name))


def _catalog(overrides: Sequence[str], source: Path) -> Catalog:
    return open_catalog(load_config(EvaluateConfig, overrides).catalog, source)


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


def measure(ground: Ground, work: Path, *, peers_python: Path, limit: int) -> dict[str, Any]:
    """Build with every pipeline, ask all of them every query in turn, score the runs; return the table's rows."""
    folder = work / ground.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    queries, qrels = judged_queries(ground.catalog, None)
    queries = queries[:limit] if limit else queries
    qrels = {query.query_id: qrels[query.query_id] for query in queries}
    corpus = _write_corpus(ground, folder)
    entries = [entry for entry in ENTRIES if entry.kind != "reranked" or ground.cross_encoder is not None]
    builds: dict[str, dict[str, float]] = {}
    for entry in entries:
        builds[entry.name] = _build(entry, ground, corpus, folder, peers_python, builds)
    print(f"{ground.name}: {len(queries)} queries to each of {len(entries)} pipelines in turn")
    runs, times, closing = _ask_in_turn(entries, ground, corpus, folder, queries, peers_python)
    if ground.complete:
        qrels = completed(qrels, [system.run for system in runs.values()], depth=K)
    evaluation = evaluate_runs(ground.name, qrels, runs, options=EvaluationOptions(k=10, recall_k=K))
    _write_runs(evaluation, folder)
    rows = [_row(entry, evaluation, builds[entry.name], times[entry.name], closing[entry.name]) for entry in entries]
    for row in rows:
        row["nDCG@10_over_shortlist"] = _over_ours(row, rows, evaluation)
    return {"ground": ground.name, "queries": evaluation.queries, "rows": rows}


def _write_corpus(ground: Ground, folder: Path) -> Path:
    """Write every product's text as Shortlist's default template renders it; an empty text becomes the id."""
    template = TextTemplate(load_config(BuildConfig).text)
    path = folder / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for product in (product for batch in ground.catalog.products() for product in batch.products):
            text = template.render(product).encode(errors="replace").decode()
            lines.write(json.dumps({"product_id": product.product_id, "text": text or product.product_id}) + "\n")
    return path


def _command(entry: Entry, verb: str, ground: Ground, corpus: Path, folder: Path, peers_python: Path) -> list[str]:
    ours = entry.script == "shortlist_engine.py"
    python = sys.executable if ours else str(peers_python)
    command = [python, str(HERE / entry.script), verb, str(corpus), str(folder / entry.folder)]
    command += ["--model", str(ground.model), "--depth", str(DEPTH)]
    if ground.cross_encoder is not None and (entry.kind == "reranked" or ours):
        command += ["--cross-encoder", str(ground.cross_encoder)]
    return command


def _build(
    entry: Entry,
    ground: Ground,
    corpus: Path,
    folder: Path,
    peers_python: Path,
    builds: Mapping[str, dict[str, float]],
) -> dict[str, float]:
    """Build one index; Shortlist's systems share a bundle, which is built once."""
    ours = [built for name, built in builds.items() if name.startswith("shortlist")]
    if entry.script == "shortlist_engine.py" and ours:
        return ours[0]
    print(f"{ground.name}: building {entry.name if entry.script != 'shortlist_engine.py' else 'shortlist'}")
    log = folder / "build.log"
    with log.open("ab") as errors:
        command = _command(entry, "build", ground, corpus, folder, peers_python)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
    if done.returncode:
        sys.exit(f"{entry.name} could not be built on {ground.name}; see {log}")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def _ask_in_turn(
    entries: Sequence[Entry],
    ground: Ground,
    corpus: Path,
    folder: Path,
    queries: Sequence[Query],
    peers_python: Path,
) -> tuple[dict[str, SystemRun], dict[str, list[float]], dict[str, dict[str, float]]]:
    log = folder / "serve.log"
    runners = [Runner(e, _command(e, "serve", ground, corpus, folder, peers_python), log) for e in entries]
    answers: dict[str, dict[str, list[tuple[str, float]]]] = {entry.name: {} for entry in entries}
    times: dict[str, list[float]] = {entry.name: [] for entry in entries}
    shuffled = random.Random(SEED)
    for runner in runners:
        runner.ask(queries[0].text)  # the first call allocates; it does not count
    for query in queries:
        for runner in shuffled.sample(runners, len(runners)):
            ranked, taken_ms = runner.ask(query.text)
            answers[runner.entry.name][query.query_id] = _ordered(ranked)
            times[runner.entry.name].append(taken_ms)
    closing = {runner.entry.name: {"open_s": runner.open_s, **runner.close()} for runner in runners}
    return {name: SystemRun(run) for name, run in answers.items()}, times, closing


def _ordered(ranked: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Give every answer scores that fall with its own order, so that nobody loses by how ties are settled."""
    return [(product_id, float(len(ranked) - place)) for place, (product_id, _score) in enumerate(ranked)]


def _write_runs(evaluation: Evaluation, folder: Path) -> None:
    write_qrels(folder / "qrels.txt", evaluation.qrels)
    for name, result in evaluation.systems.items():
        write_run(folder / f"{name}.trec", result.run, tag=name)


def _row(
    entry: Entry,
    evaluation: Evaluation,
    built: Mapping[str, float],
    times: Sequence[float],
    closing: Mapping[str, float],
) -> dict[str, Any]:
    result = evaluation.systems[entry.name]
    return {
        "name": entry.name,
        "kind": entry.kind,
        "measures": {measure: round(value, 4) for measure, value in result.means.items()},
        "p50_ms": round(statistics.median(times), 2),
        "p95_ms": round(sorted(times)[int(0.95 * (len(times) - 1))], 2),
        "build_s": round(built["build_s"], 1),
        "build_peak_mib": round(built["peak_mib"]),
        "open_s": round(closing["open_s"], 2),
        "resident_mib": round(closing["resident_mib"]),
    }


def _over_ours(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> list[float]:
    """Return the paired bootstrap interval of the difference in nDCG@10 to Shortlist's row of the same kind."""
    ours = next(other for other in rows if other["kind"] == row["kind"])
    theirs, mine = (evaluation.systems[each["name"]].per_query["nDCG@10"] for each in (row, ours))
    interval = bootstrap_interval(differences(mine, theirs))
    return [round(interval.low, 4), round(interval.high, 4)]


def table(measured: Mapping[str, Any]) -> str:
    """Return one ground's table, Markdown; a peer that is ahead of Shortlist's row of its kind is marked."""
    lines = [
        f"{measured['ground']}, {measured['queries']} queries",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in measured["rows"]:
        values = row["measures"]
        recall = next(value for name, value in values.items() if name.startswith("R("))
        cells = [
            row["name"],
            *(
                f"{value:.4f}"
                for value in (values["nDCG@10"], values["condensed_nDCG@10"], recall, values["Judged@10"])
            ),
            *(str(row[name]) for name in ("p50_ms", "p95_ms", "build_s", "open_s", "resident_mib")),
            ahead(row, measured["rows"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ahead(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Name what a peer does better than Shortlist's row of the same kind; empty for Shortlist's own."""
    ours = next(other for other in rows if other["kind"] == row["kind"])
    if ours is row:
        return ""
    better = []
    if row["nDCG@10_over_shortlist"][0] > 0:
        better.append("quality")
    for key, name in (("p50_ms", "p50"), ("build_s", "build"), ("open_s", "open"), ("resident_mib", "memory")):
        if row[key] < ours[key]:
            better.append(name)
    return ", ".join(better)


def versions(peers_python: Path) -> dict[str, str]:
    """Return the versions of the peers, from their own environment."""
    script = "import json, sys; from importlib.metadata import version as v; "
    script += "print(json.dumps({name: v(name) for name in sys.argv[1:]}))"
    done = subprocess.run([str(peers_python), "-c", script, *PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every ground, print its table, write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--grounds", nargs="+", default=GROUNDS, choices=GROUNDS)
    parser.add_argument("--demo", type=Path, default=ROOT / "artifacts" / "demo", help="what `make demo` left")
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "peers", help="indexes and run files")
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--limit", type=int, default=0, help="first queries only, as a trial; writes no result")
    given = parser.parse_args(arguments)
    measured = []
    for ground in grounds(given.grounds, given.demo):
        measured.append(measure(ground, given.work, peers_python=given.peers_python, limit=given.limit))
        print(f"\n{table(measured[-1])}\n", flush=True)
    if not given.limit and measured:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"peers-{commit()}.json"
        about = {"machine": machine(), "peers": versions(given.peers_python), "seed": SEED, "k": K, "depth": DEPTH}
        path.write_text(json.dumps({**about, "grounds": measured}, indent=1) + "\n", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ShortlistError as error:
        sys.exit(str(error))
