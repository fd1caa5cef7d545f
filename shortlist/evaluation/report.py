"""An evaluation written down: TREC files, ``per_query.json``, ``report.html``, ``report.json``; and a table."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexing.storage import make_folder, replace_bytes, replace_json
from shortlist.evaluation.caveats import caveats
from shortlist.evaluation.changes import Changes, changes_document
from shortlist.evaluation.cost.document import cost_document
from shortlist.evaluation.figures import counted, latency_ms, p_text, references
from shortlist.evaluation.page.render import render
from shortlist.evaluation.records import Ceiling, Comparison, Estimate, Evaluation, SystemResult
from shortlist.evaluation.scores import ScoreProfile
from shortlist.evaluation.slices import DEFINITIONS
from shortlist.evaluation.stored import REPORT_FORMAT
from shortlist.evaluation.trec import write_qrels, write_run


def write_evaluation(evaluation: Evaluation, folder: Path, *, changes: Changes | None = None) -> list[Path]:
    """Write everything about an evaluation into a folder; files of the same names are replaced, others stay.

    ``qrels.txt`` holds the evaluated queries alone, so that a tool that averages over all queries of the file gets the
    same means. ``report.json`` comes last: where it is, the rest is complete, and it holds the digests of the others.

    Args:
        evaluation: What is written.
        folder: Created when it is not there.
        changes: Against an earlier report, which may be the one replaced here; ``None`` when there is none.

    Returns:
        The paths written, in the order of writing.

    Raises:
        EnvironmentProblem: If the extra ``eval`` is not installed.
        StorageError: If a file cannot be written.
    """
    # A title may hold half a surrogate pair, which UTF-8 has no bytes for.
    page = render(evaluation, changes).encode(errors="replace")
    make_folder(folder)
    digests = {"qrels.txt": write_qrels(folder / "qrels.txt", evaluation.qrels)}
    for name, result in evaluation.systems.items():
        digests[f"{name}.trec"] = write_run(folder / f"{name}.trec", result.run, tag=name)
    digests["per_query.json"] = replace_json(folder / "per_query.json", per_query_document(evaluation))
    digests["report.html"] = replace_bytes(folder / "report.html", page)
    document = report_document(evaluation, changes) | {
        "files": {name: written.sha256 for name, written in digests.items()}
    }
    replace_json(folder / "report.json", document)
    return [folder / name for name in (*digests, "report.json")]


def report_document(evaluation: Evaluation, changes: Changes | None = None) -> dict[str, Any]:
    """Return what report.json holds, without the digests of the files beside it (docs/formats.md)."""
    document = {
        "format": REPORT_FORMAT,
        "dataset": evaluation.dataset,
        "queries": evaluation.queries,
        "left_out": len(evaluation.left_out),
        "primary": evaluation.primary,
        "baseline": evaluation.baseline,
        "order": list(evaluation.systems),
        "systems": {
            name: _system_document(result, evaluation.comparisons.get(name))
            for name, result in evaluation.systems.items()
        },
        "convention": evaluation.options.convention.name,
        "conventions": asdict(evaluation.conventions),
        "floors": asdict(evaluation.floors),
        "ceiling": None if evaluation.ceiling is None else _ceiling_document(evaluation.ceiling),
        "gaps": asdict(evaluation.gaps),
        "slices": [_slice_document(cell) for cell in evaluation.by_slice],
        "untested": dict(evaluation.untested),
        "scores": {name: _scores_document(profile) for name, profile in evaluation.scores.items()},
        "against": None if changes is None else changes_document(changes),
        "cost": None if evaluation.cost is None else cost_document(evaluation.cost),
        "provenance": asdict(evaluation.provenance),
        "resampling": {"trials": evaluation.options.trials, "seed": evaluation.options.seed},
        "versions": dict(evaluation.versions),
        "generated_at": evaluation.generated_at,
    }
    return {name: _encodable(value) for name, value in document.items()}


def per_query_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return what per_query.json holds: every value behind every mean, the kind of every query, those in none."""
    document = {
        "format": REPORT_FORMAT,
        "dataset": evaluation.dataset,
        "left_out": list(evaluation.left_out),
        "queries": {query_id: evaluation.query_texts.get(query_id, query_id) for query_id in evaluation.qrels},
        "slices": {name: dict(values) for name, values in evaluation.slices.items()},
        "slice_definitions": {name: DEFINITIONS[name] for name in evaluation.slices},
        "systems": {
            name: {measure: dict(values) for measure, values in result.per_query.items()}
            for name, result in evaluation.systems.items()
        },
    }
    return {name: _encodable(value) for name, value in document.items()}


def _encodable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Put a question mark for half a surrogate pair, which a text or a path may hold and UTF-8 has no bytes for."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(of) for name, of in value.items()}
    return [_encodable(of) for of in value] if isinstance(value, list | tuple) else value


def _system_document(result: SystemResult, comparison: Comparison | None) -> dict[str, Any]:
    return {
        **result.means,
        "latency_ms": latency_ms(result),
        "interval_95": {measure: [interval.low, interval.high] for measure, interval in result.intervals.items()},
        "unanswered": result.unanswered,
        "not_evaluated": result.not_evaluated,
        "against_baseline": None if comparison is None else _comparison_document(comparison),
    }


def _ceiling_document(ceiling: Ceiling) -> dict[str, Any]:
    def estimates(of: Mapping[str, Estimate]) -> dict[str, Any]:
        return {
            name: {"mean": found.mean, "interval_95": [found.interval.low, found.interval.high]}
            for name, found in of.items()
        }

    return {
        "measure": ceiling.measure,
        "mean": ceiling.mean,
        "raters": estimates(ceiling.raters),
        "systems": estimates(ceiling.systems),
        "random": ceiling.random,
        "queries": ceiling.queries,
        "products": ceiling.products,
    }


def _comparison_document(comparison: Comparison) -> dict[str, Any]:
    return {
        "difference": comparison.difference,
        "interval_95": [comparison.interval.low, comparison.interval.high],
        "p": comparison.p,
        "p_holm": comparison.p_holm,
        "detectable": comparison.detectable,
        "wins": comparison.wins,
        "ties": comparison.ties,
        "losses": comparison.losses,
    }


def _slice_document(cell: Comparison) -> dict[str, Any]:
    named = {"system": cell.candidate, "cell": cell.cell, "queries": cell.queries}
    means = {"baseline_mean": cell.baseline_mean, "mean": cell.candidate_mean}
    return named | means | _comparison_document(cell)


def _scores_document(profile: ScoreProfile) -> dict[str, Any]:
    bins = [
        asdict(of) | {"good": of.good.mean, "interval_95": [of.good.interval.low, of.good.interval.high]}
        for of in profile.bins
    ]
    return asdict(profile) | {"bins": bins}


# --- the table --------------------------------------------------------------------------------------------------------


def table(evaluation: Evaluation) -> str:
    """Return the systems as aligned plain text, with what the numbers rest on in the lines below; no final newline."""
    alone = len(evaluation.systems) == 1
    headings = ["system", *evaluation.measures, "p50 ms", "p95 ms", *([] if alone else [f"vs {evaluation.baseline}"])]
    rows = [headings, *(_row(evaluation, result)[: len(headings)] for result in evaluation.systems.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    notes = [_basis(evaluation), *references(evaluation), *(f"note: {caveat}" for caveat in caveats(evaluation))]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *notes])


def _row(evaluation: Evaluation, result: SystemResult) -> list[str]:
    latencies = latency_ms(result) or {}
    times = [f"{latencies[name]:.1f}" if latencies else "-" for name in ("p50", "p95")]
    comparison = evaluation.comparisons.get(result.name)
    difference = "-" if comparison is None else _difference(comparison)
    return [result.name, *(f"{result.means[name]:.4f}" for name in evaluation.measures), *times, difference]


def _difference(comparison: Comparison) -> str:
    low, high = comparison.interval.low, comparison.interval.high
    return f"{comparison.difference:+.4f} [{low:+.4f}, {high:+.4f}] ({p_text(comparison.p_holm)})"


def _aligned(cells: list[str], widths: list[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *others])


def _basis(evaluation: Evaluation) -> str:
    left_out = len(evaluation.left_out)
    them = "does not count and is" if left_out == 1 else "do not count and are"
    without = f" ({left_out} more {them} left out)" if left_out else ""
    basis = f"{evaluation.dataset}: {counted(evaluation.queries, 'query', 'queries')}{without}"
    if len(evaluation.systems) == 1:
        return basis
    return (
        f"{basis}; vs {evaluation.baseline}: difference in "
        f"{evaluation.primary} [95 % interval], p of a paired randomisation test, corrected for their number"
    )
