"""Shortlist beside the pipelines that a user would otherwise write: one corpus, one set of queries, one table.

Every pipeline runs in a process of its own (`protocol`), the peers in an environment of their own, with their own
defaults. Text, models and cut-offs are the same for all. Builds follow each other; then all stay open and every query
goes to each in turn, so that all meet the same weather, in an order that changes from query to query. Quality comes
from the same evaluator for all, on the run files that this leaves behind.

What is measured is kept in the work folder step by step, so that a run which was interrupted, or had only so many
``--minutes``, goes on where it stopped; another commit begins anew.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing.errors import ShortlistError
from indexing.storage import digest
from retrieval.records import Query
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.records import Evaluation, EvaluationOptions, SystemRun
from shortlist.evaluation.trec import write_qrels, write_run
from shortlist.jobs.evaluate import judged_queries
from shortlist.store.judgments import completed
from tools.bench.peers.grounds import GROUNDS, Ground, grounds, write_corpus
from tools.bench.peers.pipelines import DEPTH, ENTRIES, Command, K, versions
from tools.bench.peers.table import over_ours, row_of, table
from tools.machine import ROOT, commit, machine

RESULTS = ROOT / "tools" / "bench" / "results"
SEED = 7
QUICK_PRODUCTS, QUICK_QUERIES = 300, 10


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the grounds are measured.

    Attributes:
        work: Indexes, run files and what was measured so far, a folder per ground.
        peers_python: The peers' interpreter.
        quick: A look whether everything runs: few products, few queries.
        until: Clock (`time.monotonic`) after which no further step begins.
    """

    work: Path
    peers_python: Path
    quick: bool
    until: float

    def check(self, what: str) -> None:
        """Stop before a step for which there is no time left."""
        if time.monotonic() > self.until:
            sys.exit(f"no time left for {what}; run again to go on")


class Kept:
    """What was measured on one ground so far, at one commit, on one corpus: a JSON file beside the indexes."""

    def __init__(self, path: Path, key: Mapping[str, str]) -> None:
        """Take up what there is, or begin anew when it is of something else."""
        self._path = path
        self._values: dict[str, Any] = {"of": dict(key), "builds": {}}
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["of"] == self._values["of"]:
                self._values = found

    @property
    def builds(self) -> dict[str, dict[str, float]]:
        """Name of a pipeline -> its build."""
        builds: dict[str, dict[str, float]] = self._values["builds"]
        return builds

    @property
    def measured(self) -> dict[str, Any] | None:
        """The finished table, if there is one."""
        return self._values.get("measured")

    def finish(self, measured: dict[str, Any]) -> None:
        """Keep the table."""
        self._values["measured"] = measured
        self.save()

    def save(self) -> None:
        """Write what is known."""
        self._path.write_text(json.dumps(self._values) + "\n", encoding="utf-8")


def measure(ground: Ground, plan: Plan) -> dict[str, Any]:
    """Build with every pipeline, ask all of them every query in turn, score the runs; return the table's rows."""
    folder = plan.work / ground.name
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.jsonl"
    write_corpus(ground, corpus, limit=QUICK_PRODUCTS if plan.quick else None)
    models = {str(model): digest(model / "model.safetensors").sha256 for model in _models(ground)}
    kept = Kept(folder / "measured.json", {"commit": commit(), "corpus": digest(corpus).sha256, **models})
    if kept.measured is not None:
        print(f"{ground.name}: measured before at this commit")
        return kept.measured
    queries, qrels = judged_queries(ground.catalog, None)
    queries = queries[:QUICK_QUERIES] if plan.quick else queries
    qrels = {query.query_id: qrels[query.query_id] for query in queries}
    entries = [entry for entry in ENTRIES if entry.kind != "reranked" or ground.cross_encoder is not None]
    commands = [Command.of(entry, ground, corpus, folder, plan.peers_python) for entry in entries]
    _build_all(ground, commands, folder, plan, kept)
    plan.check(f"the queries of {ground.name}")
    print(f"{ground.name}: {len(queries)} queries to each of {len(entries)} pipelines in turn", flush=True)
    runs, times, closing = _ask_in_turn(commands, folder, queries)
    if ground.complete:
        qrels = completed(qrels, [system.run for system in runs.values()], depth=K)
    evaluation = evaluate_runs(ground.name, qrels, runs, options=EvaluationOptions(k=10, recall_k=K))
    _write_runs(evaluation, folder)
    rows = [row_of(each, evaluation, kept.builds[each.name], times[each.name], closing[each.name]) for each in entries]
    for row in rows:
        row["nDCG@10_over_shortlist"] = over_ours(row, rows, evaluation)
    kept.finish({"ground": ground.name, "queries": evaluation.queries, "rows": rows})
    return {"ground": ground.name, "queries": evaluation.queries, "rows": rows}


def _models(ground: Ground) -> list[Path]:
    return [ground.model, *([ground.cross_encoder] if ground.cross_encoder is not None else [])]


def _build_all(ground: Ground, commands: Sequence[Command], folder: Path, plan: Plan, kept: Kept) -> None:
    """Build what was not built before; Shortlist's systems share a bundle, which is built once."""
    for command in commands:
        entry = command.entry
        if entry.name in kept.builds:
            continue
        ours = [kept.builds[other.name] for other in ENTRIES if other.ours and other.name in kept.builds]
        if entry.ours and ours:
            kept.builds[entry.name] = ours[0]
        else:
            plan.check(f"building {entry.name} on {ground.name}")
            print(f"{ground.name}: building {entry.name}", flush=True)
            shutil.rmtree(folder / entry.folder.partition("/")[0], ignore_errors=True)
            kept.builds[entry.name] = command.build(folder / "build.log")
        kept.save()


def _ask_in_turn(
    commands: Sequence[Command], folder: Path, queries: Sequence[Query]
) -> tuple[dict[str, SystemRun], dict[str, list[float]], dict[str, dict[str, float]]]:
    """Return of every pipeline its answers, the milliseconds of each, and how long it opened and what it weighs."""
    runners = [command.serve(folder / "serve.log") for command in commands]
    answers: dict[str, dict[str, list[tuple[str, float]]]] = {runner.entry.name: {} for runner in runners}
    times: dict[str, list[float]] = {runner.entry.name: [] for runner in runners}
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


def _write_results(measured: Sequence[Mapping[str, Any]], peers_python: Path) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"peers-{commit()}.json"
    about = {"machine": machine(), "peers": versions(peers_python), "seed": SEED, "k": K, "depth": DEPTH}
    path.write_text(json.dumps({**about, "grounds": measured}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(ROOT)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every ground, print its table, write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--grounds", nargs="+", default=GROUNDS, choices=GROUNDS)
    parser.add_argument("--demo", type=Path, default=ROOT / "artifacts" / "demo", help="what `make demo` left")
    parser.add_argument(
        "--cross-encoder",
        type=Path,
        help="folder of one for the grounds that have none of their own; without, those are not reranked",
    )
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "peers", help="indexes and run files")
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no step after so many")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_PRODUCTS} products and {QUICK_QUERIES} queries, to see that it runs; writes no result",
    )
    given = parser.parse_args(arguments)
    plan = Plan(
        work=given.work / "quick" if given.quick else given.work,
        peers_python=given.peers_python,
        quick=given.quick,
        until=time.monotonic() + 60 * given.minutes,
    )
    measured = []
    for ground in grounds(given.grounds, given.demo, given.cross_encoder):
        measured.append(measure(ground, plan))
        print(f"\n{table(measured[-1])}\n", flush=True)
    if measured and not given.quick:
        _write_results(measured, given.peers_python)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ShortlistError as error:
        sys.exit(str(error))
