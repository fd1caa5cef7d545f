"""One step of a recipe after another: make, measure with and without, keep what helps, go on after an interruption.

A step is kept when the system that it decides by is better with it on queries that choose; the scored queries are only
reported. What is not kept leaves no artefact, and the row says why.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from indexing import storage
from retrieval.records import Query
from shortlist.jobs.train.bench import MISSPELT, OTHER_FUSIONS, Bench
from shortlist.jobs.train.ground import SCORED, TUNE
from shortlist.jobs.train.measure import DEPTH, PRIMARY, K, Measured, measure, recall_grade
from shortlist.jobs.train.steps import MODELS, Step
from shortlist.progress import say

BASIC = ("bm25", "dense", "hybrid")
"""Systems that are there without any training."""

UNTRAINED = "untrained"
"""Name of the row before the first step."""

ANSWERS = ("hybrid_rerank", "hybrid")
"""Systems that a recipe's answers come from: the first of these that there is."""

Hits = Mapping[str, Mapping[str, Sequence[str]]]
"""System -> query_id -> its first product ids."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ablation: a recipe with a step, beside the same without it.

    Attributes:
        step: Name of the step; `UNTRAINED` before the first.
        kept: Whether the recipe goes on with what it made.
        reason: Why not, or why it did not run; empty otherwise.
        seconds: Wall time of the step, measuring apart.
        measuring: Wall time of measuring it, s.
        record: What the step says of itself.
        tuned: Its nDCG@10 on the queries that choose, of the system it decides by; ``None`` where it decides by none.
        scored: System -> what the scored queries say with the step, kept or not.
        hits: The first ten behind ``scored``.
        decided: Whether the step has said itself if it should be kept.
        kept_in: How many folds of a cross-validation keep it, in words; empty without one.
        stands: System -> what the scored queries say of the recipe after the choice: with the step where it was kept,
            without it elsewhere.
    """

    step: str
    kept: bool
    reason: str = ""
    seconds: float = 0.0
    measuring: float = 0.0
    record: Mapping[str, Any] = field(default_factory=dict)
    tuned: float | None = None
    scored: Mapping[str, Measured] = field(default_factory=dict)
    hits: Hits = field(default_factory=dict)
    decided: bool = False
    kept_in: str = ""
    stands: Mapping[str, Measured] = field(default_factory=dict)

    def artefacts(self, bench: Bench) -> dict[str, Path]:
        """Return the artefacts of the step by their names."""
        return {name: bench.out / path for name, path in self.record.get("artefacts", {}).items()}


def run_steps(bench: Bench, steps: Sequence[Step], folder: Path) -> list[Row]:
    """Run the steps in order and return the untrained systems' row and one for each; ``folder`` keeps what is done."""
    rows = [_first_row(bench, folder / "untrained.json")]
    rows += [one_step(bench, step, step_folder(folder, number, step)) for number, step in enumerate(steps, start=1)]
    return [*_standing(rows)]


def step_folder(folder: Path, number: int, step: Step) -> Path:
    """Return where a step's files lie: the ``number``-th of a recipe, from 1."""
    return folder / "steps" / f"{number:02d}-{step.name}"


def made_once(bench: Bench, step: Step, folder: Path) -> Row:
    """Run a step, or take what an earlier run left of it; nothing is decided yet."""
    saved = _read_row(folder / "made.json")
    if saved is not None:
        return saved
    row = _made(bench, step, folder)
    storage.make_folder(folder)
    _write_row(folder / "made.json", row)
    return row


def last_hits(rows: Sequence[Row]) -> Hits:
    """Return the first hits of the recipe as it is after the last row."""
    return next((row.hits for row in reversed(rows) if row.kept and row.hits), {})


def answering(systems: Mapping[str, Any]) -> str:
    """Return the system that answers come from."""
    return next((name for name in ANSWERS if name in systems), "dense")


def _standing(rows: Iterable[Row]) -> Iterable[Row]:
    """Say after each row what the recipe has come to."""
    stands: Mapping[str, Measured] = {}
    for row in rows:
        stands = row.scored if row.kept and row.scored else stands
        yield replace(row, stands=stands)


def _first_row(bench: Bench, path: Path) -> Row:
    saved = _read_row(path)
    if saved is not None:
        return saved
    say("== untrained")
    started = time.perf_counter()
    row = _measured(bench, Row(step=UNTRAINED, kept=True), more=OTHER_FUSIONS)
    tuned = _tuned(bench, "hybrid", bench.ground.queries[TUNE])
    row = replace(row, tuned=tuned, measuring=time.perf_counter() - started)
    storage.make_folder(path.parent)
    _write_row(path, row)
    return row


def one_step(bench: Bench, step: Step, folder: Path) -> Row:
    """Run a step, or take what an earlier run left of it, and decide whether it stays."""
    row = _read_row(folder / "step.json")
    if row is None:
        row = made_once(bench, step, folder)
        if row.kept and step.decides:
            row = _decided(bench, step, row)
        _write_row(folder / "step.json", row)
    if row.kept:
        bench.artefacts |= row.artefacts(bench)
        bench.rankers |= step.rankers(bench)
        bench.fitted = bench.fitted or step.labels
    return row


def _made(bench: Bench, step: Step, folder: Path) -> Row:
    missing = sorted(set(step.needs) - set(bench.artefacts))
    if missing or (step.labels and not bench.ground.labelled):
        reason = f"needs {', '.join(missing)}" if missing else "no labelled queries to learn from"
        say(f"== {step.name}: left out, {reason}")
        return Row(step=step.name, kept=False, reason=reason)
    say(f"== {step.name}")
    storage.make_folder(folder)
    for name in step.makes:  # finished, but killed before it could say so
        storage.remove_folder(folder / name)
    started = time.perf_counter()
    made = step.run(bench, folder)
    seconds = time.perf_counter() - started
    artefacts = {name: str(path.relative_to(bench.out)) for name, path in made.artefacts.items()}
    return Row(
        step=step.name,
        kept=not made.refused,
        reason=made.refused,
        seconds=seconds,
        record={**made.record, "artefacts": artefacts},
        decided=made.decided,
    )


def _decided(bench: Bench, step: Step, row: Row) -> Row:
    """Measure the recipe with what a step made, and say whether it is better than without."""
    learned = step.labels and not set(step.makes).isdisjoint(MODELS)  # else it has only chosen
    chooses = bench.ground.queries[TUNE] if learned else bench.unseen
    held, rankers, started = dict(bench.artefacts), dict(bench.rankers), time.perf_counter()
    chooses = () if row.decided else chooses
    reference = _tuned(bench, step.decides if _exists(bench, step.decides) else "hybrid", chooses)
    bench.artefacts |= row.artefacts(bench)
    bench.rankers |= step.rankers(bench)
    row = replace(_measured(bench, row), tuned=_tuned(bench, step.decides, chooses))
    row = replace(row, measuring=time.perf_counter() - started)
    bench.artefacts, bench.rankers = held, rankers
    if row.tuned is not None and reference is not None and row.tuned <= reference:
        reason = f"{step.decides} {PRIMARY} on the tuning queries {row.tuned:.4f}, without it {reference:.4f}"
        return replace(row, kept=False, reason=reason)
    return row


def _exists(bench: Bench, system: str) -> bool:
    return system in (*BASIC, MISSPELT) or system in bench.rankers


def _measured(bench: Bench, row: Row, *, more: Iterable[str] = ()) -> Row:
    """Measure all systems on the scored queries; none where there are none."""
    queries, grade = bench.ground.queries[SCORED], recall_grade(bench.ground.grades)
    if not queries:
        return row
    scored, hits = {}, {}
    for system in (*BASIC, *more, *(name for name in bench.rankers if name not in BASIC)):
        run = bench.run(system, queries, DEPTH)
        scored[system] = measure(run, queries, bench.ground.grades, min_grade=grade)
        hits[system] = {query_id: [product_id for product_id, _ in found[:K]] for query_id, found in run.items()}
    return replace(row, scored=scored, hits=hits)


def _tuned(bench: Bench, system: str, queries: Sequence[Query]) -> float | None:
    if not queries or not _exists(bench, system):
        return None
    return measure(bench.run(system, queries, DEPTH), queries, bench.ground.grades, min_grade=1).means[PRIMARY]


def _write_row(path: Path, row: Row) -> None:
    storage.replace_json(path, asdict(row))


def _read_row(path: Path) -> Row | None:
    if not path.exists():
        return None
    found = storage.read_json(path)
    for name in ("scored", "stands"):
        found[name] = {system: Measured.read(of["values"]) for system, of in found[name].items()}
    return Row(**found)
