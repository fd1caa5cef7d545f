"""The head of the page: what was measured, what came out, in one sentence and four numbers."""

from dataclasses import dataclass, replace
from datetime import datetime

from shortlist.evaluation.caveats import caveats
from shortlist.evaluation.figures import counted, latency_ms, p_text
from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.records import Comparison, Evaluation, SystemResult

_SIGNIFICANT = 0.05  # the customary level; the page shows p itself


@dataclass(frozen=True, slots=True)
class Overview:
    """The head of the page.

    Attributes:
        about: Queries, convention, bundle and time.
        lead: Which system leads, by how much, and what chance has to do with it.
        warnings: What a reader must know first.
        tiles: Name and value of the leader's main figures.
    """

    about: str
    lead: str
    warnings: tuple[str, ...]
    tiles: tuple[tuple[str, str], ...]


def overview(evaluation: Evaluation) -> Overview:
    """Return the head of the page."""
    first = leader(evaluation)
    return Overview(
        _about(evaluation), _lead(evaluation, first), tuple(caveats(evaluation)), tuple(_tiles(evaluation, first))
    )


def leader(evaluation: Evaluation) -> SystemResult:
    """Return the system with the highest primary measure; the earlier one of equals."""
    return max(evaluation.systems.values(), key=lambda result: result.means[evaluation.primary])


def moment(timestamp: str) -> str:
    """Write an ISO 8601 time in UTC for people."""
    return f"{datetime.fromisoformat(timestamp):%Y-%m-%d %H:%M} UTC"


def _about(evaluation: Evaluation) -> str:
    parts = [counted(evaluation.queries, "query", "queries")]
    if evaluation.left_out:
        parts.append(f"{len(evaluation.left_out)} that do not count left out")
    parts.append(f"convention {evaluation.conventions.name}")
    if evaluation.provenance.generation:
        parts.append(f"bundle {evaluation.provenance.generation}")
    return " · ".join([*parts, moment(evaluation.generated_at)])


def _lead(evaluation: Evaluation, first: SystemResult) -> str:
    reached = f"{evaluation.primary} {first.means[evaluation.primary]:.3f}"
    if len(evaluation.systems) == 1:
        return f"{first.name} reaches {reached}."
    opening = f"{first.name} leads with {reached}"
    ahead = evaluation.comparisons.get(first.name)
    if ahead is not None:
        return f"{opening}, {_over(ahead.baseline, ahead)}, worse on {ahead.losses}."
    behind = evaluation.comparisons.get(evaluation.candidate)
    if behind is None:
        return f"{opening}."
    turned = replace(behind, difference=-behind.difference, wins=behind.losses, losses=behind.wins)
    return f"{opening}, {_over(behind.candidate, turned)}, worse on {turned.losses}."


def _over(other: str, comparison: Comparison) -> str:
    counts = f"better on {counted(comparison.wins, 'query', 'queries')}, equal on {comparison.ties}"
    chance = ", so chance may explain it" if comparison.p_holm >= _SIGNIFICANT else ""
    return f"{comparison.difference:.3f} over {other} ({p_text(comparison.p_holm)}{chance}): {counts}"


def _tiles(evaluation: Evaluation, first: SystemResult) -> list[tuple[str, str]]:
    names = measure_names(evaluation.options)
    tiles = [(name, f"{first.means[name]:.3f}") for name in (names.ndcg, names.recall, names.judged)]
    latencies = latency_ms(first)
    last = (names.condensed_ndcg, f"{first.means[names.condensed_ndcg]:.3f}")
    return [*tiles, last if latencies is None else ("p95 latency", f"{latencies['p95']:.1f} ms")]
