"""Run the steps of a recipe in order: measure each with and without it, keep what helps, go on after an interruption.

A step is kept when the system that it decides by is better with it on the tuning queries; the scored queries are only
reported. What is not kept leaves no artefact, and the table says so.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ConfigError
from retrieval.suggestions import did_you_mean
from shortlist.config import TrainConfig
from shortlist.evaluation.origins import flat
from shortlist.jobs.train.bench import MISSPELT, Bench, digest_of
from shortlist.jobs.train.ground import SCORED, TUNE, Ground, read_ground
from shortlist.jobs.train.measure import DEPTH, PRIMARY, Measured, measure, recall_grade
from shortlist.jobs.train.registry import STEPS
from shortlist.jobs.train.steps import Step
from shortlist.progress import say

BASIC = ("bm25", "dense", "hybrid")
"""Systems that are there without any training."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ablation: a recipe with a step, beside the same without it.

    Attributes:
        step: Name of the step; ``untrained`` before the first.
        kept: Whether the recipe goes on with what it made.
        reason: Why not, or why it did not run; empty otherwise.
        seconds: Wall time of the step, measuring apart.
        record: What the step says of itself.
        tuned: Its nDCG@10 on the tuning queries, of the system it decides by; ``None`` where it decides by none.
        scored: System -> what the scored queries say.
    """

    step: str
    kept: bool
    reason: str = ""
    seconds: float = 0.0
    record: Mapping[str, Any] = field(default_factory=dict)
    tuned: float | None = None
    scored: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecipeReport:
    """What a recipe did.

    Attributes:
        name: Of the catalogue.
        split: How its queries were parted.
        counts: Role -> queries.
        rows: The untrained systems, then a row per step.
        artefacts: Name -> path of what was kept.
        configuration: The recipe as composed.
        digests: File of the source -> SHA-256.
        seconds: Wall time of one run of it, earlier interrupted ones included.
        repeats: Further seed -> what it came to, as `headline`.
    """

    name: str
    split: str
    counts: Mapping[str, int]
    rows: tuple[Row, ...]
    artefacts: Mapping[str, str]
    configuration: Mapping[str, str]
    digests: Mapping[str, str]
    seconds: float
    repeats: Mapping[int, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def headline(self) -> dict[str, dict[str, float]]:
        """System -> measure -> mean, of the last row that was kept and measured."""
        last = next(row for row in reversed(self.rows) if row.kept and row.scored)
        return {system: dict(of.means) for system, of in last.scored.items()}


def run_recipe(config: TrainConfig, *, source: Path, out: Path, judgments: Path | None = None) -> RecipeReport:
    """Run a recipe and leave models, cards, logs, plots and the ablation table in ``out``.

    Args:
        config: The recipe; ``config.steps`` in this order.
        source: Folder of the catalogue's files.
        out: Its folder; one that holds an interrupted run of the same recipe is gone on with.
        judgments: CSV in place of the catalogue's judgments.

    Raises:
        ConfigError: An unknown step, or ``out`` holds another recipe's run.
        SourceDataError, VectorError, EnvironmentProblem, StorageError: As the steps do.
    """
    from shortlist.jobs.train.report import write_report

    ground = read_ground(config, source, judgments)
    report, bench = _run_once(config, ground, out, vectors=out / "vectors")
    for seed in config.seeds:
        say(f"== seed {seed}")
        again, _ = _run_once(seeded(config, seed), ground, out / "seeds" / str(seed), vectors=out / "vectors")
        report = replace(report, repeats={**report.repeats, seed: again.headline})
    write_report(report, bench, out)
    return report


def seeded(config: TrainConfig, seed: int) -> TrainConfig:
    """Return the same recipe with another seed in everything that draws."""
    return replace(
        config,
        seeds=[],
        retriever=replace(config.retriever, seed=seed),
        reranker=replace(config.reranker, seed=seed),
        adaptation=replace(config.adaptation, seed=seed),
        mining=replace(config.mining, seed=seed),
        synthetic=replace(config.synthetic, seed=seed),
    )


def _run_once(config: TrainConfig, ground: Ground, out: Path, *, vectors: Path) -> tuple[RecipeReport, Bench]:
    steps = [_step(name) for name in config.steps]
    storage.make_folder(out)
    settings = settings_of(config)
    _claim(out, digest_of({**settings, **ground.digests, "seeds": ""}))  # more seeds go on with the same run
    bench = Bench(config=config, ground=ground, out=out, vectors=vectors)
    rows = [_first_row(bench)]
    for number, step in enumerate(steps, start=1):
        rows.append(_one(bench, step, out / "steps" / f"{number:02d}-{step.name}"))
    report = RecipeReport(
        name=ground.name,
        split=ground.split,
        counts={role: len(queries) for role, queries in ground.queries.items()},
        rows=tuple(rows),
        artefacts={name: str(path.relative_to(out)) for name, path in bench.artefacts.items()},
        configuration=settings,
        digests=ground.digests,
        seconds=sum(row.seconds for row in rows),
    )
    return report, bench


def settings_of(config: TrainConfig) -> dict[str, str]:
    """Return a composed recipe as dotted names and texts; a group says under ``kind`` which of its schemas it is."""
    found: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        found[each.name] = _plain(value)
    return flat(found)


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything a schema holds
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **{key: _plain(of) for key, of in asdict(value).items()}}
    if isinstance(value, dict):
        return {key: _plain(of) for key, of in value.items()}
    return [_plain(of) for of in value] if isinstance(value, list) else value


def _step(name: str) -> Step:
    if name not in STEPS:
        raise ConfigError(f"unknown step {name!r}{did_you_mean(name, STEPS)} (steps: {', '.join(STEPS)})")
    return STEPS[name]


def _claim(out: Path, run: str) -> None:
    """Mark a folder as this recipe's, or refuse it."""
    mark = out / "recipe.json"
    if mark.exists():
        if storage.read_json(mark).get("run") != run:
            raise ConfigError(f"{out} holds another recipe's run, or one on other data; choose another --out DIR")
        return
    if any(out.iterdir()):
        raise ConfigError(f"{out} holds files that no recipe wrote; choose an empty folder with --out DIR")
    storage.write_json(mark, {"run": run})


def _present(bench: Bench, system: str) -> str:
    """Return the system to hold a new one against: itself, or the best untrained fusion where it is not there yet."""
    return system if _exists(bench, system) else "hybrid"


def _exists(bench: Bench, system: str) -> bool:
    return system in (*BASIC, MISSPELT) or system in bench.rankers


def _first_row(bench: Bench) -> Row:
    saved = _read_row(bench.out / "untrained.json")
    if saved is not None:
        return saved
    say("== untrained")
    started = time.perf_counter()
    row = _measured(bench, Row(step="untrained", kept=True), decides="hybrid")
    row = _with(row, seconds=time.perf_counter() - started)
    _write_row(bench.out / "untrained.json", row)
    return row


def _one(bench: Bench, step: Step, folder: Path) -> Row:
    """Run a step, or take what an earlier run left of it, and decide whether it stays."""
    saved = _read_row(folder / "step.json")
    if saved is None:
        saved = _run(bench, step, folder)
        storage.make_folder(folder)
        _write_row(folder / "step.json", saved)
    if saved.kept:
        bench.artefacts |= {name: bench.out / path for name, path in saved.record.get("artefacts", {}).items()}
        bench.rankers |= step.rankers(bench)
    return saved


def _run(bench: Bench, step: Step, folder: Path) -> Row:
    missing = sorted(set(step.needs) - set(bench.artefacts))
    if missing or (step.labels and not bench.ground.labelled):
        reason = f"needs {', '.join(missing)}" if missing else "no labelled queries to learn from"
        say(f"== {step.name}: left out, {reason}")
        return Row(step=step.name, kept=False, reason=reason)
    say(f"== {step.name}")
    storage.make_folder(folder)
    started = time.perf_counter()
    made = step.run(bench, folder)
    seconds = time.perf_counter() - started
    artefacts = {name: str(path.relative_to(bench.out)) for name, path in made.artefacts.items()}
    record = {**made.record, "artefacts": artefacts}
    row = Row(step=step.name, kept=True, seconds=seconds, record=record)
    if not step.decides:
        return row
    held, rankers = dict(bench.artefacts), dict(bench.rankers)
    bench.artefacts |= made.artefacts
    bench.rankers |= step.rankers(bench)
    row = _measured(bench, row, decides=step.decides)
    bench.artefacts, bench.rankers = held, rankers
    reference = _tuned(bench, _present(bench, step.decides))
    if row.tuned is not None and reference is not None and row.tuned <= reference:
        reason = f"{step.decides} {PRIMARY} on the tuning queries {row.tuned:.4f}, without it {reference:.4f}"
        return _with(row, kept=False, reason=reason)
    return row


def _measured(bench: Bench, row: Row, *, decides: str) -> Row:
    grade = recall_grade(bench.ground.grades)
    queries = bench.ground.queries[SCORED]
    scored = {
        system: measure(bench.run(system, queries, DEPTH), queries, bench.ground.grades, min_grade=grade)
        for system in (*BASIC, *(name for name in bench.rankers if name not in BASIC))
    }
    return _with(row, tuned=_tuned(bench, decides), scored=scored)


def _tuned(bench: Bench, system: str) -> float | None:
    queries = bench.ground.queries[TUNE]
    if not queries or not _exists(bench, system):
        return None
    run = bench.run(system, queries, DEPTH)
    return measure(run, queries, bench.ground.grades, min_grade=1).means[PRIMARY]


def _with(row: Row, **changes: Any) -> Row:  # noqa: ANN401 - fields of any type
    return replace(row, **changes)


def _write_row(path: Path, row: Row) -> None:
    storage.replace_json(path, asdict(row))


def _read_row(path: Path) -> Row | None:
    if not path.exists():
        return None
    found = storage.read_json(path)
    scored = {system: Measured(of["values"]) for system, of in found.pop("scored").items()}
    return Row(**found, scored=scored)
