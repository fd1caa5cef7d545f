"""What the scores tell: a reliability diagram for probabilities, the grades by score for all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shortlist.evaluation.page.axes import linear_axis
from shortlist.evaluation.page.bars import shares_row
from shortlist.evaluation.page.grades import Shades
from shortlist.evaluation.page.overview import leader
from shortlist.evaluation.page.points import Point, Series, point_plot
from shortlist.evaluation.page.tables import NumberTable
from shortlist.evaluation.records import Evaluation
from shortlist.evaluation.scores import ScoreBin, ScoreProfile


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One bin: its scores, its products, their grades drawn and in words, and the share of good ones."""

    scores: str
    products: int
    bar: str
    spoken: str
    good: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemScores:
    """One system's scores.

    Attributes:
        name: The system.
        summary: What they tell, in a sentence.
        rows: Bins of scores that only order; empty otherwise.
        diagram: Of scores that claim to be probabilities; empty otherwise.
        numbers: Everything behind rows or diagram; ``None`` where there is neither.
    """

    name: str
    summary: str
    rows: tuple[ScoreRow, ...]
    diagram: str
    numbers: NumberTable | None


def scoring(evaluation: Evaluation) -> tuple[SystemScores, ...]:
    """Return the systems, the leader first."""
    shades, first = Shades.of(evaluation.qrels), leader(evaluation).name
    names = sorted(evaluation.scores, key=lambda name: name != first)
    return tuple(_system(name, evaluation.scores[name], shades) for name in names)


def _system(name: str, profile: ScoreProfile, shades: Shades) -> SystemScores:
    if profile.absent:
        return SystemScores(name=name, summary=f"Not shown: {profile.absent}.", rows=(), diagram="", numbers=None)
    if profile.is_probability:
        return SystemScores(
            name=name,
            summary=_calibration(profile),
            rows=(),
            diagram=_diagram(profile),
            numbers=_numbers(name, profile),
        )
    decimals = _decimals(profile.bins)
    return SystemScores(
        name=name,
        summary=_spread(profile),
        rows=tuple(_row(of, shades, decimals) for of in profile.bins),
        diagram="",
        numbers=_numbers(name, profile),
    )


def _counted(profile: ScoreProfile) -> str:
    without = f"; {profile.unjudged:,} that nobody judged are left out" if profile.unjudged else ""
    return f"{profile.judged:,} judged products{without}"


# --- scores that only order -------------------------------------------------------------------------------------------


def _spread(profile: ScoreProfile) -> str:
    top, bottom = profile.bins[0].good.mean, profile.bins[-1].good.mean
    return (
        f"Of the products with the highest scores {top:.0%} have grade {profile.good} or more, of those with the "
        f"lowest {bottom:.0%} ({_counted(profile)})."
    )


def _row(of: ScoreBin, shades: Shades, decimals: int) -> ScoreRow:
    grades = sorted(of.grades.items(), reverse=True)
    return ScoreRow(
        scores=_range(of, decimals),
        products=of.products,
        bar=shares_row([(str(grade), shades.level(grade), count / of.products) for grade, count in grades]),
        spoken=_spoken(of.grades, of.products),
        good=f"{of.good.mean:.0%}",
    )


def _spoken(grades: Mapping[int, int], products: int) -> str:
    return ", ".join(f"grade {grade}: {count / products:.0%}" for grade, count in sorted(grades.items(), reverse=True))


def _range(of: ScoreBin, decimals: int) -> str:
    low, high = (f"{score:.{decimals}f}".replace("-", "−") for score in (of.low, of.high))
    return low if low == high else f"{low} to {high}"


def _decimals(bins: Sequence[ScoreBin]) -> int:
    """Return how many decimals tell the bins' lower ends apart: 2 to 6."""
    ends = [of.low for of in bins]
    return next((n for n in range(2, 6) if len({round(end, n) for end in ends}) == len(ends)), 6)


# --- scores that claim to be probabilities ----------------------------------------------------------------------------


def _calibration(profile: ScoreProfile) -> str:
    return (
        f"The scores claim to be the probability of grade {profile.good} or more. On average they are off by "
        f"{profile.calibration_error:.3f} (expected calibration error), Brier score {profile.brier:.3f} "
        f"({_counted(profile)})." + _skill(profile)
    )


def _skill(profile: ScoreProfile) -> str:
    if profile.skill is None:
        return ""
    return (
        f" That is a skill of {profile.skill.mean:.3f} [{profile.skill.interval.low:.3f}, "
        f"{profile.skill.interval.high:.3f}] over always claiming the share of good products; without what chance puts "
        f"there, the calibration error is {profile.debiased_error:.3f}."
    )


def _diagram(profile: ScoreProfile) -> str:
    points = tuple(
        Point(
            x=of.mean,
            y=of.good.mean,
            low=of.good.interval.low,
            high=of.good.interval.high,
            title=f"predicted {of.mean:.3f}, true {of.good.mean:.3f} of {of.products} products",
        )
        for of in reversed(profile.bins)
    )
    axes = (linear_axis(title, [0.0, 1.0]) for title in ("mean score", f"share with grade {profile.good} or more"))
    return point_plot(
        [Series(0, points, joined=True)],
        x=next(axes),
        y=next(axes),
        title="Reliability diagram: mean score against the share of good products; the numbers follow",
        diagonal=True,
    )


def _numbers(name: str, profile: ScoreProfile) -> NumberTable:
    decimals = _decimals(profile.bins)
    grades = sorted({grade for of in profile.bins for grade in of.grades}, reverse=True)
    heads = ("score", "mean", "products", f"grade {profile.good} or more", "95 % interval",
             *(f"grade {grade}" for grade in grades))  # fmt: skip
    rows = [
        (
            _range(of, decimals),
            f"{of.mean:.{decimals}f}".replace("-", "−"),
            f"{of.products:,}",
            f"{of.good.mean:.3f}",
            f"{of.good.interval.low:.3f} to {of.good.interval.high:.3f}",
            *(f"{of.grades.get(grade, 0):,}" for grade in grades),
        )
        for of in profile.bins
    ]
    return NumberTable(f"Numbers of {name} by score", heads, rows)
