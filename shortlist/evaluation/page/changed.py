"""What changed since an earlier report: systems, queries, settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.evaluation.changes import Changes, SystemChange
from shortlist.evaluation.figures import p_text, signed
from shortlist.evaluation.page.bars import axis_row, difference_row
from shortlist.evaluation.page.cost_plot import ms
from shortlist.evaluation.page.overview import moment
from shortlist.evaluation.page.svg import nice_ticks
from shortlist.evaluation.page.systems import between
from shortlist.evaluation.records import Comparison

_SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedSystem:
    """One system: means then and now, the difference drawn and in figures, and the queries that moved most."""

    name: str
    before: str
    now: str
    bar: str
    difference: str
    detail: str
    latency: str
    moved: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """The section.

    Attributes:
        since: Which report, and when it was made.
        summary: The outcome in a sentence.
        systems: Those that both have, that can be compared and that moved.
        axis: Of their bars.
        notes: Systems that came or went, settings that were not recorded.
        settings: Group, name, value then, value now.
        is_recorded: The earlier report says what it rests on.
    """

    since: str
    summary: str
    systems: tuple[ChangedSystem, ...]
    axis: str
    notes: tuple[str, ...]
    settings: tuple[tuple[str, str, str, str], ...]
    is_recorded: bool


def changed(changes: Changes | None) -> Changed | None:
    """Return the section; ``None`` without an earlier report."""
    if changes is None:
        return None
    made = f", made {moment(changes.generated_at)}" if changes.generated_at else ""
    moved = [change for change in changes.systems if _has_moved(change)]
    ticks = _ticks(moved)
    return Changed(
        since=f"{changes.folder}{made}",
        summary=_summary(changes),
        systems=tuple(_system(change, ticks) for change in moved),
        axis=axis_row(ticks, signs=True),
        notes=tuple(_notes(changes)),
        settings=tuple((of.group, of.name, of.before or "–", of.now or "–") for of in changes.settings),
        is_recorded=bool(changes.generated_at) and not changes.unrecorded,
    )


def _ticks(systems: Sequence[SystemChange]) -> list[float]:
    lows, highs = ([getattr(of.comparison.interval, end) for of in systems] for end in ("low", "high"))
    return nice_ticks(min([0.0, *lows, -0.01]), max([0.0, *highs, 0.01]))


def _summary(changes: Changes) -> str:
    if changes.obstacle:
        return f"The values cannot be compared query by query: {changes.obstacle}."
    moved = [change for change in changes.systems if _has_moved(change)]
    if not changes.systems:
        return "No system is in both reports."
    if not moved:
        return "Every system that both reports have answers every query as well as it did."
    measure = moved[0].comparison.measure
    return f"{measure} " + "; ".join(_moved_words(of) for of in moved) + "."


def _has_moved(change: SystemChange) -> bool:
    return change.comparison.ties < change.comparison.queries


def _moved_words(change: SystemChange) -> str:
    found = change.comparison
    chance = "" if found.p_holm < _SIGNIFICANT else ", which chance may explain"
    return f"of {change.name} changed by {signed(found.difference)} ({p_text(found.p_holm)}{chance})"


def _system(change: SystemChange, ticks: Sequence[float]) -> ChangedSystem:
    found, low, high = change.comparison, change.comparison.interval.low, change.comparison.interval.high
    return ChangedSystem(
        name=change.name,
        before=f"{found.baseline_mean:.4f}",
        now=f"{found.candidate_mean:.4f}",
        bar=difference_row(found.difference, low, high, ticks, solid=found.p_holm < _SIGNIFICANT),
        difference=signed(found.difference),
        detail=f"{between(found)}, {p_text(found.p_holm)}; {_counts(found)}",
        latency=_latency(change),
        moved=tuple(
            (query.text, f"{query.before:.3f}", f"{query.now:.3f}", signed(query.now - query.before))
            for query in change.moved
        ),
    )


def _counts(found: Comparison) -> str:
    return f"{found.wins} better, {found.ties} equal, {found.losses} worse"


def _latency(change: SystemChange) -> str:
    before, now = ("not measured" if p50 is None else ms(p50) for p50 in (change.p50_before_ms, change.p50_now_ms))
    return "" if before == now == "not measured" else f"p50 {before}, now {now}"


def _notes(changes: Changes) -> list[str]:
    notes = []
    same = [change.name for change in changes.systems if not _has_moved(change)]
    if 0 < len(same) < len(changes.systems):
        notes.append(f"Equal on every query: {', '.join(same)}.")
    if changes.new:
        notes.append(f"New: {', '.join(changes.new)}.")
    if changes.gone:
        notes.append(f"No longer here: {', '.join(changes.gone)}.")
    if changes.unrecorded:
        notes.append(f"The earlier report does not say: {', '.join(changes.unrecorded)}.")
    return notes
