"""The systems: their table, their intervals on one axis, and the gains query by query."""

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.evaluation.figures import latency_ms, p_text, references, signed
from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.page.bars import axis_row, gain_bars, interval_row
from shortlist.evaluation.page.overview import leader
from shortlist.evaluation.page.svg import nice_ticks
from shortlist.evaluation.records import Comparison, Evaluation, SystemResult


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of the table, and whether it is the best of its column."""

    text: str
    is_best: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemRow:
    """One system: its values, and how it stands against the baseline (``comparison`` is ``None`` for itself)."""

    name: str
    leads: bool
    unanswered: int
    cells: tuple[tuple[str, Cell], ...]
    comparison: Comparison | None
    interval: str
    p: str
    mean: str
    bar: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Systems:
    """The section.

    Attributes:
        heads: Headings after the system's name.
        rows: In the order of the evaluation.
        axis: Of the intervals.
        notes: What the numbers are to be read beside.
        gains: Plot of the differences per query; empty with one system.
        shown: The comparison behind that plot; ``None`` with one system.
    """

    heads: tuple[str, ...]
    rows: tuple[SystemRow, ...]
    axis: str
    notes: tuple[str, ...]
    gains: str
    shown: Comparison | None


def systems(evaluation: Evaluation) -> Systems:
    """Return the section."""
    intervals = [result.intervals[evaluation.primary] for result in evaluation.systems.values()]
    ticks = nice_ticks(min(of.low for of in intervals), max(of.high for of in intervals))
    shown = evaluation.comparisons.get(evaluation.candidate)
    return Systems(
        heads=(*evaluation.measures, *_timed(evaluation), *([f"vs {evaluation.baseline}"] if shown else [])),
        rows=tuple(_row(evaluation, result, ticks) for result in evaluation.systems.values()),
        axis=axis_row(ticks),
        # The first line is the convention, which has a place of its own.
        notes=tuple(references(evaluation)[1:]),
        gains="" if shown is None else gain_bars(_gains(evaluation), title=_gains_title(shown)),
        shown=shown,
    )


def _timed(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the headings of latencies; none when nobody measured any."""
    return ("p50 ms", "p95 ms") if any(result.latencies_ms for result in evaluation.systems.values()) else ()


def softened(text: str) -> str:
    """Let a measure's name break where a reader would: before the cut-off and after the prefix (zero-width spaces)."""
    return text.replace("@", "\u200b@").replace("_", "_\u200b")


def _row(evaluation: Evaluation, result: SystemResult, ticks: Sequence[float]) -> SystemRow:
    comparison = evaluation.comparisons.get(result.name)
    latencies = latency_ms(result) or {}
    times = [
        (head, Cell(f"{latencies[head.removesuffix(' ms')]:.1f}" if latencies else "–")) for head in _timed(evaluation)
    ]
    interval, mean = result.intervals[evaluation.primary], result.means[evaluation.primary]
    leads = len(evaluation.systems) > 1 and result is leader(evaluation)
    return SystemRow(
        name=result.name,
        leads=leads,
        unanswered=result.unanswered,
        cells=(*((measure, _measured(evaluation, result, measure)) for measure in evaluation.measures), *times),
        comparison=comparison,
        interval="" if comparison is None else between(comparison),
        p="" if comparison is None else p_text(comparison.p_holm),
        mean=f"{mean:.3f}",
        bar=interval_row(mean, interval.low, interval.high, ticks, emphasised=leads),
    )


def between(comparison: Comparison) -> str:
    """Write the interval of a difference."""
    return f"{signed(comparison.interval.low)} to {signed(comparison.interval.high)}"


def _measured(evaluation: Evaluation, result: SystemResult, measure: str) -> Cell:
    highest = max(other.means[measure] for other in evaluation.systems.values())
    # Being judged is no merit, and one system alone is no best.
    marked = len(evaluation.systems) > 1 and measure != measure_names(evaluation.options).judged
    return Cell(f"{result.means[measure]:.4f}", is_best=marked and result.means[measure] == highest)


def _gains(evaluation: Evaluation) -> list[float]:
    baseline = evaluation.systems[evaluation.baseline].per_query[evaluation.primary]
    candidate = evaluation.systems[evaluation.candidate].per_query[evaluation.primary]
    return [candidate[query_id] - value for query_id, value in baseline.items()]


def _gains_title(shown: Comparison) -> str:
    return (
        f"Difference per query, from the largest gain to the largest loss: {shown.wins} better, {shown.ties} equal, "
        f"{shown.losses} worse"
    )
