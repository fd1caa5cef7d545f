"""report.html: one page that holds everything it shows, for a desk, a phone or a train without network."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from indexing.errors import EnvironmentProblem
from shortlist.evaluation.caveats import caveats
from shortlist.evaluation.figures import latency_ms, p_text, references, signed
from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.records import Comparison, Evaluation, SystemResult
from shortlist.evaluation.svg import IntervalRow, gain_bars, interval_plot

_TEMPLATES = Path(__file__).with_name("templates")
_SIGNIFICANT = 0.05  # the customary level; the page shows p itself
_LEVELS = 4  # shades of the style sheet above grade 0


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    leads: bool
    unanswered: int
    cells: tuple[tuple[str, _Cell], ...]
    comparison: Comparison | None
    direction: str
    interval: str
    p: str


def render(evaluation: Evaluation) -> str:
    """Return the page as HTML text.

    Raises:
        EnvironmentProblem: If the extra ``eval`` is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise EnvironmentProblem(
            f"report.html needs the package jinja2, which is not installed ({error}); "
            "install the extra: pip install 'shortlist[eval]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Safe as they are: svg.py escapes every label.
    plots = {name: Markup(text) for name, text in _plots(evaluation).items()}
    page = environment.get_template("report.html.j2").render(**_context(evaluation), **plots)
    return page.lstrip()


def _context(evaluation: Evaluation) -> dict[str, Any]:
    leader = _leader(evaluation)
    return {
        "evaluation": evaluation,
        "meta": _meta(evaluation),
        "lead": _lead(evaluation, leader),
        "caveats": caveats(evaluation),
        # The first line is the convention, which has a section of its own.
        "references": references(evaluation)[1:],
        "tiles": _tiles(evaluation, leader),
        "headings": (*evaluation.measures, "p50 ms", "p95 ms", f"vs {evaluation.baseline}"),
        "rows": _rows(evaluation, leader),
        "shown_comparison": evaluation.comparisons.get(evaluation.candidate),
        "legend": _legend(evaluation),
        "level": _leveller(evaluation),
        "signed": signed,
        "softened": _softened,
        "conventions": tuple(asdict(evaluation.conventions).items()),
        "origins": _origins(evaluation),
        "versions": " · ".join(f"{package} {version}" for package, version in evaluation.versions.items()),
    }


def _softened(heading: str) -> str:
    """Let a measure's name break where a reader would: before the cut-off and after the prefix (zero-width spaces)."""
    return heading.replace("@", "\u200b@").replace("_", "_\u200b")


def _plots(evaluation: Evaluation) -> dict[str, str]:
    leader = _leader(evaluation)
    rows = [
        IntervalRow(
            label=result.name,
            value=result.means[evaluation.primary],
            low=result.intervals[evaluation.primary].low,
            high=result.intervals[evaluation.primary].high,
            emphasised=result is leader,
        )
        for result in evaluation.systems.values()
    ]
    return {
        "interval_plot": interval_plot(rows, title=f"{evaluation.primary} of every system with its interval"),
        "gains_plot": gain_bars(_gains(evaluation), title="difference per query") if evaluation.candidate else "",
    }


def _gains(evaluation: Evaluation) -> list[float]:
    baseline = evaluation.systems[evaluation.baseline].per_query[evaluation.primary]
    candidate = evaluation.systems[evaluation.candidate].per_query[evaluation.primary]
    return [candidate[query_id] - value for query_id, value in baseline.items()]


def _leader(evaluation: Evaluation) -> SystemResult:
    return max(evaluation.systems.values(), key=lambda result: result.means[evaluation.primary])


# --- words ------------------------------------------------------------------------------------------------------------


def _meta(evaluation: Evaluation) -> str:
    parts = [f"{evaluation.queries} queries"]
    if evaluation.left_out:
        parts.append(f"{len(evaluation.left_out)} that do not count left out")
    parts.append(f"convention {evaluation.conventions.name}")
    if evaluation.provenance.generation:
        parts.append(f"bundle {evaluation.provenance.generation}")
    return " · ".join([*parts, _moment(evaluation.generated_at)])


def _moment(timestamp: str) -> str:
    return f"{datetime.fromisoformat(timestamp):%Y-%m-%d %H:%M} UTC"


def _lead(evaluation: Evaluation, leader: SystemResult) -> str:
    opening = f"{leader.name} leads with {evaluation.primary} {leader.means[evaluation.primary]:.3f}"
    ahead = evaluation.comparisons.get(leader.name)
    if ahead is not None:
        return f"{opening}, {_over(ahead.baseline, ahead)}, worse on {ahead.losses}."
    behind = evaluation.comparisons.get(evaluation.candidate)
    if behind is None:
        return f"{opening}."
    turned = replace(behind, difference=-behind.difference, wins=behind.losses, losses=behind.wins)
    return f"{opening}, {_over(behind.candidate, turned)}, worse on {turned.losses}."


def _over(other: str, comparison: Comparison) -> str:
    queries = "query" if comparison.wins == 1 else "queries"
    counts = f"better on {comparison.wins} {queries}, equal on {comparison.ties}"
    chance = ", so chance may explain it" if comparison.p_holm >= _SIGNIFICANT else ""
    return f"{comparison.difference:.3f} over {other} ({p_text(comparison.p_holm)}{chance}): {counts}"


def _tiles(evaluation: Evaluation, leader: SystemResult) -> list[tuple[str, str]]:
    names = measure_names(evaluation.options)
    tiles = [(name, f"{leader.means[name]:.3f}") for name in (names.ndcg, names.recall, names.judged)]
    latencies = latency_ms(leader)
    last = (names.condensed_ndcg, f"{leader.means[names.condensed_ndcg]:.3f}")
    return [*tiles, last if latencies is None else ("p95 latency", f"{latencies['p95']:.1f} ms")]


def _origins(evaluation: Evaluation) -> list[tuple[str, str]]:
    provenance = evaluation.provenance
    told = {
        "catalogue": provenance.source,
        "judgments": provenance.judgments,
        "bundle": provenance.bundle,
        "generation": provenance.generation,
        "query tower": provenance.fingerprint,
        **provenance.settings,
        "resampling": f"{evaluation.options.trials:,} trials, seed {evaluation.options.seed}",
    }
    return [(name, value) for name, value in told.items() if value]


# --- the table and the grades -----------------------------------------------------------------------------------------


def _rows(evaluation: Evaluation, leader: SystemResult) -> list[_Row]:
    return [_row(evaluation, result, leads=result is leader) for result in evaluation.systems.values()]


def _row(evaluation: Evaluation, result: SystemResult, *, leads: bool) -> _Row:
    comparison = evaluation.comparisons.get(result.name)
    latencies = latency_ms(result) or {}
    times = [(f"{name} ms", _Cell(f"{latencies[name]:.1f}" if latencies else "–")) for name in ("p50", "p95")]
    return _Row(
        name=result.name,
        leads=leads,
        unanswered=result.unanswered,
        cells=(*((measure, _measured(evaluation, result, measure)) for measure in evaluation.measures), *times),
        comparison=comparison,
        direction="" if comparison is None else ("up" if comparison.difference > 0 else "down"),
        interval=""
        if comparison is None
        else f"{signed(comparison.interval.low)} to {signed(comparison.interval.high)}",
        p="" if comparison is None else p_text(comparison.p_holm),
    )


def _measured(evaluation: Evaluation, result: SystemResult, measure: str) -> _Cell:
    highest = max(other.means[measure] for other in evaluation.systems.values())
    # Being judged is no merit, and one system alone is no best.
    marked = len(evaluation.systems) > 1 and measure != measure_names(evaluation.options).judged
    return _Cell(f"{result.means[measure]:.4f}", best=marked and result.means[measure] == highest)


def _positive_grades(evaluation: Evaluation) -> Sequence[int]:
    return sorted({grade for grades in evaluation.qrels.values() for grade in grades.values() if grade > 0})


def _leveller(evaluation: Evaluation) -> Callable[[int | None], str]:
    """Return what gives a grade its shade: the best grade the darkest, whatever the scale."""
    positive = _positive_grades(evaluation)

    def level(grade: int | None) -> str:
        if grade is None:
            return "lx"
        # Rounded up, so that no good grade shares the shade of 0.
        return f"l{-(-_LEVELS * (positive.index(grade) + 1) // len(positive))}" if grade > 0 else "l0"

    return level


def _legend(evaluation: Evaluation) -> list[tuple[str, int | None]]:
    positive = _positive_grades(evaluation)
    return [("best grade", positive[-1]), ("not relevant", 0), ("nobody judged it", None)]
