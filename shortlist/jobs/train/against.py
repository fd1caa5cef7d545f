"""What a recipe is worth beside the best that needs no training, measure by measure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shortlist.jobs.train.measure import K, Measured
from shortlist.jobs.train.running import UNTRAINED, Row, answering


@dataclass(frozen=True, slots=True)
class Against:
    """A recipe after one of its steps, beside the best untrained system of the same run.

    Attributes:
        step: The last step of the recipe so far.
        system: Which answers.
        measure: By which the two are compared.
        mean: Its mean over the scored queries.
        untrained: The untrained system with the highest mean of this measure; that it was chosen on the scored queries
            speaks for it, not for the recipe.
        untrained_mean: Its mean.
        difference: Of the two means.
        interval: 95 % of the difference, bootstrap over queries.
        p: Two-sided, paired randomisation test; not corrected for the number of rows.
    """

    step: str
    system: str
    measure: str
    mean: float
    untrained: str
    untrained_mean: float
    difference: float
    interval: tuple[float, float]
    p: float


def against_untrained(rows: Sequence[Row]) -> list[Against]:
    """Compare the recipe after every step that was measured with the best untrained system; none without such steps.

    Judged@10 is beside the others, and no measure by which anything is best: it is compared with the untrained system
    that is best by the first measure.
    """
    first = next((row for row in rows if row.step == UNTRAINED), None)
    return [] if first is None else [*_against(first.scored, [row for row in rows if row.scored and row is not first])]


def _against(untrained: Mapping[str, Measured], rows: Sequence[Row]) -> Iterator[Against]:
    labels = [*next(iter(untrained.values())).values] if untrained else []
    best = {label: max(untrained, key=lambda name: untrained[name].means[label]) for label in labels}
    for row in rows:
        system = answering(row.stands)
        for label in labels:
            name = best[labels[0] if label == f"Judged@{K}" else label]
            found, other = row.stands[system], untrained[name]
            difference, p, interval = found.against(other, label)
            yield Against(
                row.step, system, label, found.means[label], name, other.means[label], difference, interval, p
            )


def against_lines(rows: Sequence[Row]) -> list[str]:
    """Return the comparison as lines of Markdown."""
    found = against_untrained(rows)
    if not found:
        return []
    lines = [
        "## Against the best untrained system",
        "",
        "The recipe as it is after each step, what was not kept left out, beside the untrained system that is best by",
        "the measure on the scored queries themselves. Intervals and p are of the difference, by query, uncorrected.",
        "",
        "| step | system | measure | mean | untrained | its mean | difference | 95 % interval | p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        low, high = one.interval
        lines.append(
            f"| {one.step} | {one.system} | {one.measure} | {one.mean:.4f} | {one.untrained} | "
            f"{one.untrained_mean:.4f} | {one.difference:+.4f} | {low:+.4f} to {high:+.4f} | {one.p:.4f} |"
        )
    return lines
