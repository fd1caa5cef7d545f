"""A comparison written down: for a script, and as people read it on a terminal."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from shortlist.evaluation.cells import ALL
from shortlist.evaluation.comparison import ReportComparison
from shortlist.evaluation.figures import p_text
from shortlist.evaluation.records import Comparison


def comparison_document(compared: ReportComparison) -> dict[str, Any]:
    """Return the comparison for a script (docs/evaluation.md)."""
    return {
        "dataset": compared.dataset,
        "measure": compared.measure,
        "convention": compared.convention,
        "queries": compared.queries,
        "verdicts": {
            found.candidate: {"decision": found.decision.value, "reason": found.reason} for found in compared.verdicts
        },
        "comparisons": [_cell_document(cell) for cell in compared.cells.comparisons],
        "untested": dict(compared.cells.untested),
        "options": asdict(compared.options),
        "notes": list(compared.notes),
    }


def _cell_document(cell: Comparison) -> dict[str, Any]:
    found = asdict(cell)
    del found["interval"], found["measure"]
    return found | {"interval_95": [cell.interval.low, cell.interval.high]}


_HEADINGS = ("cell", "queries", "baseline", "candidate", "difference", "95 % interval", "p", "corrected",
             "win/tie/loss", "detectable", "")  # fmt: skip


def comparison_text(compared: ReportComparison) -> str:
    """Return the comparison as people read it on a terminal; no final newline.

    Of one candidate every cell is shown; of several, all queries and the significant slices.
    """
    lines = [
        f"{compared.dataset}: {compared.measure} on {compared.queries} queries, convention {compared.convention}; "
        f"{len(compared.cells.comparisons)} comparisons, corrected together (Holm)"
    ]
    several = len(compared.verdicts) > 1
    for found in compared.verdicts:
        cells = compared.cells.of(found.candidate)
        shown = [cell for cell in cells if not several or cell.cell == ALL or _is_significant(cell, compared)]
        lines += ["", f"{cells[0].baseline} -> {found.candidate}", *_table(shown, compared)]
        if len(shown) < len(cells):
            lines.append(
                f"({len(cells) - len(shown)} more slices without a significant difference; --json has them all)"
            )
        lines.append(f"verdict: {found.decision.value}: {found.reason}")
    if compared.cells.untested:
        few = ", ".join(f"{cell} {count}" for cell, count in compared.cells.untested.items())
        lines += ["", f"not tested, fewer than {compared.options.min_queries} queries: {few}"]
    return "\n".join([*lines, *(f"note: {note}" for note in compared.notes)])


def _is_significant(cell: Comparison, compared: ReportComparison) -> bool:
    return cell.p_holm <= compared.options.alpha


def _table(cells: Sequence[Comparison], compared: ReportComparison) -> list[str]:
    rows = [_HEADINGS, *(_row(cell, _is_significant(cell, compared)) for cell in cells)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def _row(cell: Comparison, significant: bool) -> tuple[str, ...]:
    mark = ("gain" if cell.difference > 0 else "LOSS") if significant else ""
    return (
        cell.cell,
        str(cell.queries),
        f"{cell.baseline_mean:.4f}",
        f"{cell.candidate_mean:.4f}",
        f"{cell.difference:+.4f}",
        f"{cell.interval.low:+.4f} to {cell.interval.high:+.4f}",
        p_text(cell.p).removeprefix("p = ").removeprefix("p "),
        p_text(cell.p_holm).removeprefix("p = ").removeprefix("p "),
        f"{cell.wins}/{cell.ties}/{cell.losses}",
        f"{cell.detectable:.4f}",
        mark,
    )
