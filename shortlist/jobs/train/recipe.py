"""Run a recipe over its ground, at once or fold by fold, and again with further seeds; go on where one stopped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ConfigError
from retrieval.suggestions import did_you_mean
from shortlist.evaluation.origins import flat
from shortlist.jobs.train.bench import Bench, digest_of
from shortlist.jobs.train.crossing import run_crossed
from shortlist.jobs.train.ground import SCORED, Ground, read_ground
from shortlist.jobs.train.registry import STEPS
from shortlist.jobs.train.running import Hits, Row, answering, last_hits, run_steps
from shortlist.jobs.train.steps import Step
from shortlist.progress import say
from shortlist.training_config import TrainConfig

WHOLE = "whole recipe"
"""What a user of the recipe gets; its steps may stay with one seed and not with another."""


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
        seconds: Wall time of one run of it, earlier interrupted ones included, measuring apart.
        measuring: Wall time of measuring, s.
        hits: System -> scored query_id -> its first products, as the recipe left them.
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
    measuring: float = 0.0
    hits: Hits = field(default_factory=dict)
    repeats: Mapping[int, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def headline(self) -> dict[str, dict[str, float]]:
        """System -> measure -> mean, of the recipe as it is in the end; `WHOLE` is whichever of them answers."""
        stands = self.rows[-1].stands
        means = {system: dict(of.means) for system, of in stands.items()}
        return means | ({WHOLE: means[answering(stands)]} if stands else {})


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
    if ground.folds:
        rows, bench, hits = run_crossed(bench, steps)
    else:
        rows = run_steps(bench, steps, out)
        hits = last_hits(rows)
    report = RecipeReport(
        name=ground.name,
        split=ground.split,
        counts={role: len(queries) for role, queries in bench.ground.queries.items()}
        | {SCORED: len(ground.queries[SCORED])},
        rows=tuple(rows),
        artefacts={name: str(path.relative_to(out)) for name, path in bench.artefacts.items()},
        configuration=settings,
        digests=ground.digests,
        seconds=sum(row.seconds for row in rows),
        measuring=sum(row.measuring for row in rows),
        hits=hits,
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
