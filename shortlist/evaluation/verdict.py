"""What to do about a comparison, in one word and one reason: ship, no ship, cannot tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from shortlist.evaluation.cells import Cells, ComparisonOptions
from shortlist.evaluation.figures import counted, p_text
from shortlist.evaluation.records import Comparison

# Unjudged products count as irrelevant, so a difference may come from the judging alone. The table warns from the same
# gap on (caveats.py).
JUDGED_GAP = 0.02
_NAMED = 3  # slices named in a reason


class Decision(Enum):
    """What the evidence allows."""

    ship = "ship"
    no_ship = "no ship"
    cannot_tell = "cannot tell"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one candidate.

    Attributes:
        candidate: Its name.
        decision: What to do.
        reason: Why, in a sentence with the numbers.
    """

    candidate: str
    decision: Decision
    reason: str


def verdict(candidate: str, cells: Cells, options: ComparisonOptions) -> Verdict:
    """Decide about one candidate.

    - *no ship*: a significant loss beyond the margin, over all queries or in a slice, however large the gain elsewhere.
    - *ship*: a significant gain over all queries (or, with a margin, an interval that ends above minus the margin), and
      no such loss.
    - *cannot tell*: anything else; also where the better side is the more judged one by .02 or more and the condensed
      measure does not confirm that it is better.

    Significant is a p after Holm's correction of at most ``alpha``.

    Args:
        candidate: A candidate of ``cells``.
        cells: All comparisons that were corrected together.
        options: Level and margin.
    """
    found = cells.of(candidate)
    overall, slices = found[0], found[1:]
    losses = [cell for cell in found if cell.p_holm <= options.alpha and cell.difference < -options.margin]
    proven = [cell for cell in losses if _is_proven(cell, options)]
    if proven:
        return Verdict(candidate, Decision.no_ship, _loss_reason(overall, proven, len(cells.comparisons)))
    doubtful = [*losses, *([overall] if _gains(overall, options) and not _is_proven(overall, options) else [])]
    if doubtful:
        return Verdict(candidate, Decision.cannot_tell, _doubt_reason(doubtful[0]))
    tail = _slices_reason(slices, cells)
    if _gains(overall, options):
        return Verdict(candidate, Decision.ship, f"it gains {_figures(overall)}{tail}")
    if options.margin > 0 and overall.interval.low >= -options.margin:
        within = f"it loses no more than the margin of {options.margin:g}: {_figures(overall)}"
        return Verdict(candidate, Decision.ship, within + tail)
    return Verdict(candidate, Decision.cannot_tell, _silence_reason(overall))


def _gains(overall: Comparison, options: ComparisonOptions) -> bool:
    return overall.p_holm <= options.alpha and overall.difference > 0


def _is_proven(cell: Comparison, options: ComparisonOptions) -> bool:
    """Tell whether a significant difference holds up against what nobody judged."""
    favoured = abs(cell.judged_difference) >= JUDGED_GAP and cell.judged_difference * cell.difference > 0
    confirmed = cell.condensed_difference * cell.difference > 0 and cell.condensed_p <= options.alpha
    return confirmed or not favoured


# --- words ------------------------------------------------------------------------------------------------------------


def _figures(cell: Comparison) -> str:
    low, high = cell.interval.low, cell.interval.high
    return (
        f"{cell.difference:+.4f} {cell.measure} ({cell.interval.level:.0%} interval {low:+.4f} to {high:+.4f}, "
        f"{p_text(cell.p_holm)} after correction) on {counted(cell.queries, 'query', 'queries')}"
    )


def _loss_reason(overall: Comparison, losses: Sequence[Comparison], tests: int) -> str:
    worst = sorted(losses, key=lambda cell: cell.difference)
    if overall in losses:
        return f"it loses {_figures(overall)}"
    named = "; ".join(f"{_figures(cell)} in {cell.cell}" for cell in worst[:_NAMED])
    more = f"; and in {len(worst) - _NAMED} more slices" if len(worst) > _NAMED else ""
    hidden = (
        f", which {overall.difference:+.4f} over all {overall.queries} queries hides" if overall.difference > 0 else ""
    )
    return f"it loses in a slice: {named}{more}{hidden} ({tests} comparisons)"


def _doubt_reason(cell: Comparison) -> str:
    return (
        f"{_figures(cell)} in {cell.cell} comes with {cell.judged_difference:+.3f} in the share of judged products, "
        "and unjudged ones count as irrelevant; leaving them out the difference is "
        f"{cell.condensed_difference:+.4f} ({p_text(cell.condensed_p)}): judge what is missing, then compare again"
    )


def _slices_reason(slices: Sequence[Comparison], cells: Cells) -> str:
    few = counted(len(cells.untested), "slice has", "slices have")
    small = f"; {few} too few queries to be tested" if cells.untested else ""
    if not slices:
        return f"; no slice was tested{small}"
    blind = max(cell.detectable for cell in slices)
    tested = counted(len(slices), "slice", "slices")
    return f", and no significant loss in {tested} (one of {blind:.4f} would show in each){small}"


def _silence_reason(overall: Comparison) -> str:
    if overall.ties == overall.queries:
        return f"both are equal on all {overall.queries} queries"
    return (
        f"the difference is {_figures(overall)}, which chance explains; a true difference of "
        f"{overall.detectable:.4f} would show on such queries in four cases out of five"
    )
