"""The kinds of query: every system held against the baseline in every slice, as bars with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.evaluation.cells import ALL, ComparisonOptions, comparison_weights
from shortlist.evaluation.figures import p_text, signed
from shortlist.evaluation.page.bars import axis_row, difference_row
from shortlist.evaluation.page.svg import nice_ticks
from shortlist.evaluation.page.systems import between
from shortlist.evaluation.page.tables import NumberTable
from shortlist.evaluation.records import Comparison, Evaluation
from shortlist.evaluation.slices import DEFINITIONS

_ALPHA = ComparisonOptions().alpha
_MARKS = {"gain": "▲", "loss": "▼", "": ""}
_NAMES = {"head_tail": "head and tail"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KindRow:
    """One value of a slice.

    Attributes:
        value: The value.
        queries: How many have it.
        bar: The difference with its interval, drawn.
        difference: The same in figures.
        interval: Its interval.
        mark: ``▲`` a significant gain, ``▼`` a significant loss, else empty.
        verdict: The mark in words.
    """

    value: str
    queries: int
    bar: str
    difference: str
    interval: str
    mark: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One slice: its name, what it means, its values."""

    name: str
    meaning: str
    rows: tuple[KindRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemKinds:
    """One system in all slices.

    Attributes:
        name: The system.
        significant: What was found, in words.
        kinds: The cell of all queries first, then the slices.
        axis: That all of them share.
        numbers: Everything behind the bars.
    """

    name: str
    significant: str
    kinds: tuple[Kind, ...]
    axis: str
    numbers: NumberTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Kinds:
    """The section.

    Attributes:
        systems: The one shown against the baseline first.
        comparisons: How many were corrected together.
        untested: Slices with too few queries, in words; empty when there are none.
        warning: Why nothing can be significant; empty when something can.
    """

    systems: tuple[SystemKinds, ...]
    comparisons: int
    untested: str
    warning: str


def kinds(evaluation: Evaluation) -> Kinds | None:
    """Return the section; ``None`` when there is nothing to compare, or no slice that is not all queries."""
    cells = evaluation.by_slice
    if not any(cell.cell != ALL for cell in cells):
        return None
    names = sorted(dict.fromkeys(cell.candidate for cell in cells), key=lambda name: name != evaluation.candidate)
    few = ", ".join(f"{_words(cell)} ({count})" for cell, count in evaluation.untested.items())
    return Kinds(
        systems=tuple(_system(name, [cell for cell in cells if cell.candidate == name]) for name in names),
        comparisons=len(cells),
        untested=few,
        warning=_warning(len(names), len(cells), evaluation.options.trials),
    )


def _system(name: str, cells: Sequence[Comparison]) -> SystemKinds:
    ticks = nice_ticks(
        min(0.0, *(cell.interval.low for cell in cells)), max(0.0, *(cell.interval.high for cell in cells))
    )
    grouped: dict[str, list[Comparison]] = {}
    for cell in cells:
        grouped.setdefault(cell.cell.partition("/")[0], []).append(cell)
    return SystemKinds(
        name=name,
        significant=_significant(cells),
        kinds=tuple(
            Kind(_NAMES.get(slice_, slice_) if slice_ != ALL else "all queries", DEFINITIONS.get(slice_, ""), rows)
            for slice_, of in grouped.items()
            for rows in [tuple(_row(cell, ticks) for cell in of)]
        ),
        axis=axis_row(ticks, signs=True),
        numbers=_numbers(name, cells),
    )


def _row(cell: Comparison, ticks: Sequence[float]) -> KindRow:
    found = _found(cell)
    return KindRow(
        value=cell.cell.partition("/")[2] or "all",
        queries=cell.queries,
        bar=difference_row(cell.difference, cell.interval.low, cell.interval.high, ticks, solid=bool(found)),
        difference=signed(cell.difference),
        interval=between(cell),
        mark=_MARKS[found],
        verdict=f"significant {found}" if found else "",
    )


def _found(cell: Comparison) -> str:
    """Return ``gain`` or ``loss`` when the corrected p says so."""
    return "" if cell.p_holm > _ALPHA else "gain" if cell.difference > 0 else "loss"


def _significant(cells: Sequence[Comparison]) -> str:
    gains, losses = ([_words(cell.cell) for cell in cells if _found(cell) == kind] for kind in ("gain", "loss"))
    parts = [
        f"{_MARKS[kind]} significant {kind} in {', '.join(of)}"
        for kind, of in (("gain", gains), ("loss", losses))
        if of
    ]
    return "; ".join(parts) or "no significant difference in any of them"


def _words(cell: str) -> str:
    name, _, value = cell.partition("/")
    return f"{_NAMES.get(name, name)}: {value}" if value else "all queries"


def _warning(candidates: int, tests: int, trials: int) -> str:
    """Say it when the smallest p that the trials allow is too large once it is corrected."""
    needed = int(1 / min(comparison_weights(candidates, tests // candidates)) / _ALPHA)
    if trials >= needed:
        return ""
    return (
        f"{trials:,} resamplings are too few to tell a difference from chance among {tests} comparisons; that takes "
        f"{needed:,}."
    )


def _numbers(name: str, cells: Sequence[Comparison]) -> NumberTable:
    heads = ("kind of query", "queries", cells[0].baseline, name, "difference", "95 % interval", "p", "corrected",
             "better / equal / worse", "detectable")  # fmt: skip
    rows = [
        (
            _words(cell.cell),
            f"{cell.queries:,}",
            f"{cell.baseline_mean:.4f}",
            f"{cell.candidate_mean:.4f}",
            signed(cell.difference),
            between(cell),
            p_text(cell.p).removeprefix("p = ").removeprefix("p "),
            p_text(cell.p_holm).removeprefix("p = ").removeprefix("p "),
            f"{cell.wins} / {cell.ties} / {cell.losses}",
            f"{cell.detectable:.3f}",
        )
        for cell in cells
    ]
    return NumberTable(f"All numbers of {name} by kind of query", heads, rows)
