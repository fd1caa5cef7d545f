"""What each command does with its parsed options: compose, run the job, and say what came out."""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing.errors import ConfigError
from shortlist.cli.texts import build_text, calibration_text, hits_text, reranker_text, retriever_text, survey_text
from shortlist.compose import load_config
from shortlist.config import (
    BuildConfig,
    CheckConfig,
    CompactConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    SearchConfig,
    TuneConfig,
    UpsertConfig,
)
from shortlist.progress import say
from shortlist.training_config import (
    CalibrateConfig,
    DemoConfig,
    TrainConfig,
    TrainRerankerConfig,
    TrainRetrieverConfig,
)

if TYPE_CHECKING:
    from shortlist.engine import SearchEngine

SHOWN = 10
"""Ids named in a line: enough to see which they are, few enough to read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command prints.

    Attributes:
        text: For people.
        values: For scripts: one JSON document.
        exit_code: 0, or what a failed check returns although there is something to print.
    """

    text: str
    values: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def doctor(_: argparse.Namespace) -> Outcome:
    """Examine the environment; exit 4 on trouble."""
    from shortlist.jobs.doctor import examine

    findings = examine()
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'!' if finding.problem else ' '} {finding.name:<{width}}  {finding.value}")
        if finding.problem:
            lines.append(f"  {'':<{width}}  -> {finding.problem}")
    trouble = any(finding.problem for finding in findings)
    lines.append("trouble: see the lines marked !" if trouble else "all well")
    values = {"ok": not trouble, "findings": [asdict(finding) for finding in findings]}
    return Outcome("\n".join(lines), values, exit_code=4 if trouble else 0)


def check(options: argparse.Namespace) -> Outcome:
    """Survey a catalogue."""
    from shortlist.jobs.check import check as run

    config = load_config(CheckConfig, options.overrides)
    survey = run(config, source=Path(options.source), quarantine=_path(options.quarantine))
    return Outcome(survey_text(survey), asdict(survey))


def build(options: argparse.Namespace) -> Outcome:
    """Build and publish a bundle, or print the plan."""
    config = load_config(BuildConfig, options.overrides)
    if options.dry_run:
        from shortlist.building.plan import plan, plan_text

        planned = plan(
            config, source=Path(options.source), out=Path(options.out), restore_deleted=options.restore_deleted
        )
        return Outcome(plan_text(planned), asdict(planned))
    from shortlist.building.job import build as run

    report = run(config, source=Path(options.source), out=Path(options.out), restore_deleted=options.restore_deleted)
    return Outcome(build_text(report), asdict(report))


def search(options: argparse.Namespace) -> Outcome:
    """Ask a bundle one query."""
    engine, asked = _asked(options)
    result = engine.search(options.query, **asked)
    return Outcome(hits_text(result), asdict(result))


def explain(options: argparse.Namespace) -> Outcome:
    """Say why a product is, or is not, in the answer to a query."""
    from shortlist.explain.text import explanation_text

    engine, asked = _asked(options)
    explanation = engine.explain(options.query, options.product_id, **asked)
    return Outcome(explanation_text(explanation), asdict(explanation))


def _asked(options: argparse.Namespace) -> tuple["SearchEngine", dict[str, Any]]:
    """Open the bundle that one query is asked of, and return it with the arguments of ``SearchEngine.search``."""
    from retrieval.filters import parse_filter
    from shortlist.engine import SearchEngine

    config = load_config(SearchConfig, options.overrides)
    filters = [parse_filter(condition) for condition in options.filter]
    runtime = config.runtime
    engine = SearchEngine.open(
        options.bundle,
        device=runtime.device,
        threads=runtime.threads,
        precision=runtime.precision.name,
        rerank=config.rerank,
    )
    asked = {
        "k": config.k,
        "depth": config.depth or None,
        "filters": filters or None,
        "rerank": config.rerank,
        "spelling": config.spelling,
        "deadline_ms": config.deadline_ms or None,
    }
    return engine, asked


def evaluate(options: argparse.Namespace) -> Outcome:
    """Evaluate a bundle's systems and runs from elsewhere; exit 5 when a gate fails."""
    from indexing.errors import GateFailed
    from shortlist.evaluation.cost.text import cost_text
    from shortlist.evaluation.gates import parse_gates, require_gates
    from shortlist.evaluation.report import report_document, table
    from shortlist.jobs.evaluate import EvaluationSources
    from shortlist.jobs.evaluate import evaluate as run

    config = load_config(EvaluateConfig, options.overrides)
    gates = parse_gates(options.gate)
    out = Path(options.out)
    sources = EvaluationSources(
        source=_path(options.source),
        bundle=_path(options.bundle),
        judgments=_path(options.judgments),
        runs=tuple(Path(path) for path in options.run),
    )
    done = run(config, sources, out=out, against=_path(options.against), command=options.command_line)
    evaluation, document = done.evaluation, report_document(done.evaluation, done.changes)
    tables = [table(evaluation)] + ([cost_text(evaluation.cost)] if evaluation.cost is not None else [])
    text = "\n\n".join(tables) + f"\n\nreport {out / 'report.html'}\nruns   {out}/<system>.trec, {out / 'qrels.txt'}"
    try:
        require_gates(gates, evaluation)
    except GateFailed as missed:
        say(f"shortlist evaluate: {missed}")
        return Outcome(f"{text}\ngate missed: {missed}", document | {"missed_gates": str(missed)}, exit_code=5)
    return Outcome(text, document)


def compare(options: argparse.Namespace) -> Outcome:
    """Compare two reports; exit 5 when a gate is missed, with the comparison printed all the same."""
    from shortlist.evaluation.cells import ComparisonOptions
    from shortlist.evaluation.comparison import compare_reports
    from shortlist.evaluation.comparison_text import comparison_document, comparison_text
    from shortlist.evaluation.gates import missed_gates, parse_comparison_gates

    config = load_config(CompareConfig, options.overrides)
    gates = parse_comparison_gates(options.gate)
    compared = compare_reports(
        options.baseline,
        options.candidate,
        measure=options.measure or "",
        slices=config.slices,
        options=ComparisonOptions(
            trials=config.trials,
            seed=config.seed,
            alpha=config.alpha,
            margin=config.margin,
            min_queries=config.min_queries,
        ),
    )
    missed = missed_gates(gates, compared)
    text = "\n".join([comparison_text(compared), *(f"gate missed: {gate}" for gate in missed)])
    return Outcome(text, comparison_document(compared) | {"missed_gates": missed}, exit_code=5 if missed else 0)


def export(options: argparse.Namespace) -> Outcome:
    """Write a catalogue as a BEIR folder."""
    from retrieval.catalog import open_catalog
    from shortlist.evaluation.beir import write_beir

    config = load_config(ExportConfig, options.overrides)
    report = write_beir(open_catalog(config.catalog, Path(options.source)), Path(options.out))
    judged = ", ".join(f"{split} {count}" for split, count in report.judgments.items()) or "none"
    text = f"wrote {report.folder}: {report.products} products, {report.queries} queries, judgments: {judged}"
    if report.outside:
        text += f"\nwarning: {report.outside} judgments are of products that the catalogue does not hold"
    return Outcome(text, asdict(report))


def train_retriever(options: argparse.Namespace) -> Outcome:
    """Fine-tune the dual encoder."""
    from shortlist.jobs.training import run_train_retriever

    config = load_config(TrainRetrieverConfig, options.overrides)
    report = run_train_retriever(
        config, source=Path(options.source), out=Path(options.out), judgments=_path(options.judgments)
    )
    return Outcome(f"{retriever_text(report)}\nmodel {options.out}", asdict(report))


def train_reranker(options: argparse.Namespace) -> Outcome:
    """Fine-tune a cross-encoder."""
    from shortlist.jobs.training import run_train_reranker

    config = load_config(TrainRerankerConfig, options.overrides)
    report = run_train_reranker(
        config,
        source=Path(options.source),
        bundle=Path(options.bundle),
        out=Path(options.out),
        judgments=_path(options.judgments),
    )
    return Outcome(f"{reranker_text(report)}\nmodel {options.out}", asdict(report))


def calibrate(options: argparse.Namespace) -> Outcome:
    """Choose weight and confidence anew."""
    from shortlist.jobs.calibrate import run_calibrate

    report = run_calibrate(
        load_config(CalibrateConfig, options.overrides),
        source=Path(options.source),
        bundle=Path(options.bundle),
        out=Path(options.out),
        judgments=_path(options.judgments),
    )
    return Outcome(f"{calibration_text(report)}\nmodel {options.out}", asdict(report))


def train(options: argparse.Namespace) -> Outcome:
    """Run a whole recipe."""
    from shortlist.jobs.train.recipe import run_recipe
    from shortlist.jobs.train.report import document, summary

    config = load_config(TrainConfig, options.overrides)
    out = Path(options.out)
    report = run_recipe(config, source=Path(options.source), out=out, judgments=_path(options.judgments))
    return Outcome(summary(report, out), document(report))


def demo(options: argparse.Namespace) -> Outcome:
    """Run the whole job on the built-in store."""
    from shortlist.jobs.demo import run_demo

    report = run_demo(load_config(DemoConfig, options.overrides), out=Path(options.out))
    return Outcome(report.text(), asdict(report))


def upsert(options: argparse.Namespace) -> Outcome:
    """Upsert the products of a catalogue."""
    from shortlist.jobs.living import upsert_catalogue

    config = load_config(UpsertConfig, options.overrides)
    report = upsert_catalogue(config, source=Path(options.source), root=Path(options.bundle))
    text = (
        f"{report.generation}: {report.products} products, {report.new} of them new, {report.encoded} texts encoded, "
        f"{report.records} records written; quarantined rows {report.quarantined}"
    )
    return Outcome(text, asdict(report))


def delete(options: argparse.Namespace) -> Outcome:
    """Delete products by id."""
    from shortlist.jobs.living import delete_products, read_ids

    ids = [*options.overrides, *(read_ids(Path(options.ids)) if options.ids else [])]
    done = delete_products(ids, root=Path(options.bundle))
    shown = ", ".join(map(repr, done.unknown[:SHOWN])) + (", ..." if len(done.unknown) > SHOWN else "")
    unknown = f"; {len(done.unknown)} ids that no product had: {shown}" if done.unknown else ""
    return Outcome(f"{done.generation}: {done.products} products deleted{unknown}", asdict(done))


def compact(options: argparse.Namespace) -> Outcome:
    """Merge the journal into a new version."""
    from shortlist.building.compact import compact as run

    report = run(load_config(CompactConfig, options.overrides), root=Path(options.bundle))
    if report is None:
        return Outcome("nothing to compact: the live version holds all that it shows", {"version": None})
    return Outcome(build_text(report), asdict(report))


def tune(options: argparse.Namespace) -> Outcome:
    """Choose the operating point of the live version's index."""
    from shortlist.cli.tuning import tuning_plot, tuning_text
    from shortlist.jobs.tune import tune_bundle

    config = load_config(TuneConfig, options.overrides)
    report = tune_bundle(
        config, root=Path(options.bundle), queries=_path(options.queries), publishing=not options.dry_run
    )
    if options.plot:
        Path(options.plot).write_text(tuning_plot(report), encoding="utf-8")
    return Outcome(tuning_text(report), asdict(report))


def verify(options: argparse.Namespace) -> Outcome:
    """Check the live version's files, and with --full what they compute; exit 3 when it is refused."""
    from shortlist.jobs.verify import verify as run

    report = run(Path(options.bundle), full=bool(options.full))
    return Outcome(report.text(), report.values(), exit_code=3 if report.error is not None else 0)


def rollback(options: argparse.Namespace) -> Outcome:
    """Make an earlier version live again."""
    from shortlist.versions import rollback as run

    done = run(Path(options.bundle), options.version or "")
    return Outcome(f"{done.version} is live; {done.previous} was", asdict(done))


def versions(options: argparse.Namespace) -> Outcome:
    """List the versions of a bundle, and remove superseded ones when asked to."""
    from shortlist.bundle import list_versions
    from shortlist.versions import Collected, clean

    root = Path(options.bundle)
    if options.keep is not None and not (options.collect and options.keep.isdecimal()):
        raise ConfigError(f"--keep N says how many versions --collect leaves, got {options.keep!r}; give both")
    collected = clean(root, keep=int(options.keep or 3)) if options.collect else Collected()
    found = list_versions(root)
    lines = [
        *(f"  removed {name}" for name in (*collected.removed, *collected.stores)),
        *(f"  kept {name}, which some process has open" for name in collected.in_use),
    ]
    lines += [
        f"{'*' if version.live else ' '} {version.version}  "
        + (version.problem or f"{version.products} products  {version.index}  {version.size_bytes / 2**20:.1f} MiB")
        + (f"  encoded in {version.precision}" if version.precision else "")
        for version in found
    ]
    values = {"versions": [asdict(version) for version in found]}
    return Outcome("\n".join([*lines, "(* is live)"]), values | (asdict(collected) if options.collect else {}))


def _path(option: str | None) -> Path | None:
    return Path(option) if option is not None else None


RUNNERS: dict[str, Callable[[argparse.Namespace], Outcome]] = {
    "doctor": doctor,
    "demo": demo,
    "check": check,
    "train": train,
    "train-retriever": train_retriever,
    "train-reranker": train_reranker,
    "calibrate": calibrate,
    "build": build,
    "search": search,
    "explain": explain,
    "evaluate": evaluate,
    "compare": compare,
    "export": export,
    "upsert": upsert,
    "delete": delete,
    "compact": compact,
    "tune": tune,
    "verify": verify,
    "versions": versions,
    "rollback": rollback,
}
"""Command name -> what runs it; a test holds it against ``options.COMMANDS``."""
