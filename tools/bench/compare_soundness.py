"""Show that comparisons are sound: how often equal systems raise an alarm, and how often a hidden loss is found.

Values of nDCG are drawn for made-up queries that belong to the slices of a report. Three kinds of pair:

- *A/A*: one system, answered twice with noise; many queries are exactly equal. Any alarm is false.
- *skewed*: equal means, but many small losses against few large gains: what a sign-flip test assumes does not hold.
- *planted*: a gain everywhere but in one slice, which loses .02; the mean over all queries rises.

With ``--report DIR`` A/A pairs come from two real systems of that report: queries are drawn with replacement, and on
each of them a coin decides which system is called A, so that neither is better.

Exits with 1 when the alarms are beyond what chance explains, or the planted loss is missed too often.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shortlist.evaluation.cells import Cells, ComparisonOptions, Pair, compare_pairs
from shortlist.evaluation.records import Slices
from shortlist.evaluation.stored import read_report
from shortlist.evaluation.verdict import Decision, verdict

MEASURE = "nDCG@10"
OPTIONS = ComparisonOptions(trials=2_000)
# Shares of real shoppers' queries, rounded (Home Depot, dev): the slices overlap as they please.
SHARES: Mapping[str, Mapping[str, float]] = {
    "length": {"1": 0.06, "2": 0.25, "3": 0.33, "4+": 0.36},
    "overlap": {"low": 0.25, "part": 0.45, "all": 0.3},
    "head_tail": {"tail": 0.33, "middle": 0.34, "head": 0.33},
    "brand": {"named": 0.3, "none": 0.7},
    "numbers": {"yes": 0.25, "no": 0.75},
    "typos": {"yes": 0.05, "no": 0.95},
    "department": {"garden": 0.3, "tools": 0.3, "bath": 0.2, "paint": 0.2},
}
EQUAL = 0.4  # queries on which two close systems answer alike
SPREAD = 0.1  # standard deviation of the differences on the others, as between two versions of one system
LOSS, GAIN = 0.02, 0.03
PLANTED = "numbers/yes"

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A pair of systems over made-up queries."""

    pair: Pair
    slices: Slices


def draw(
    generator: np.random.Generator, queries: int, change: Callable[[np.random.Generator, Slices], Vector]
) -> Drawn:
    """Draw a baseline, slices, and a candidate that differs by ``change``."""
    ids = [f"q{number}" for number in range(queries)]
    slices = {
        name: dict(
            zip(ids, generator.choice(list(shares), size=queries, p=list(shares.values())).tolist(), strict=True)
        )
        for name, shares in SHARES.items()
    }
    before = generator.beta(2.0, 1.2, queries)
    after = before + change(generator, slices)
    return Drawn(_pair(ids, before, after), slices)


def _pair(ids: list[str], before: Vector, after: Vector) -> Pair:
    values = [{MEASURE: dict(zip(ids, side.tolist(), strict=True))} for side in (before, after)]
    return Pair("A", "B", values[0], values[1])


def no_change(generator: np.random.Generator, slices: Slices) -> Vector:
    """Return differences of equal systems: as often up as down."""
    count = len(slices["length"])
    noise = generator.laplace(0.0, SPREAD / np.sqrt(2), count)
    return np.where(generator.random(count) < EQUAL, 0.0, noise)


def skewed(generator: np.random.Generator, slices: Slices) -> Vector:
    """Return differences of mean 0 that are not symmetric."""
    count = len(slices["length"])
    noise = generator.exponential(SPREAD, count) - SPREAD
    return np.where(generator.random(count) < EQUAL, 0.0, noise)


def planted(generator: np.random.Generator, slices: Slices) -> Vector:
    """Return differences with a loss in one slice and a gain everywhere else."""
    name, value = PLANTED.split("/")
    inside = np.array([found == value for found in slices[name].values()])
    return no_change(generator, slices) + np.where(inside, -LOSS, GAIN)


def from_report(folder: Path) -> Callable[[np.random.Generator], Drawn]:
    """Return a draw of A/A pairs from the baseline and the last other system of a report."""
    report = read_report(folder)
    other = [name for name in report.systems if name != report.baseline][-1]
    sides = [report.systems[name][report.primary] for name in (report.baseline, other)]
    asked = list(sides[0])

    def drawn(generator: np.random.Generator) -> Drawn:
        picked = generator.choice(len(asked), size=len(asked))
        ids = [f"q{number}" for number in range(len(asked))]
        values = np.array([[side[asked[number]] for number in picked] for side in sides])
        swapped = generator.random(len(asked)) < 0.5
        before, after = np.where(swapped, values[::-1], values)
        slices = {
            name: {q: of[asked[number]] for q, number in zip(ids, picked, strict=True) if asked[number] in of}
            for name, of in report.slices.items()
        }
        return Drawn(_pair(ids, before, after), slices)

    return drawn


@dataclass(slots=True)
class Outcomes:
    """What many comparisons came to."""

    runs: int
    cells: int
    alarms_overall: int
    alarms_anywhere: int
    decisions: Counter[Decision]
    found: int
    hidden: int

    def share(self, count: int) -> str:
        """Write a count as a share of the runs."""
        return f"{count:>5} of {self.runs} ({count / self.runs:.1%})"


def compare_many(drawn: Callable[[np.random.Generator], Drawn], *, runs: int, seed: int) -> Outcomes:
    """Compare many drawn pairs; the n-th depends on seed and n alone."""
    outcomes = Outcomes(runs, 0, 0, 0, Counter(), 0, 0)
    for number in range(runs):
        case = drawn(np.random.default_rng([seed, number]))
        options = ComparisonOptions(trials=OPTIONS.trials, seed=number)
        cells = compare_pairs([case.pair], measure=MEASURE, slices=case.slices, options=options)
        decision = verdict("B", cells, options).decision
        overall = cells.comparisons[0]
        outcomes.cells = max(outcomes.cells, len(cells.comparisons))
        outcomes.alarms_overall += overall.p <= options.alpha
        outcomes.alarms_anywhere += any(cell.p_holm <= options.alpha for cell in cells.comparisons)
        outcomes.decisions[decision] += 1
        outcomes.found += _finds(cells, options.alpha)
        outcomes.hidden += overall.difference > 0
    return outcomes


def _finds(cells: Cells, alpha: float) -> bool:
    return any(cell.cell == PLANTED and cell.p_holm <= alpha and cell.difference < 0 for cell in cells.comparisons)


def report_alarms(name: str, outcomes: Outcomes) -> None:
    """Print what equal systems came to."""
    decisions = ", ".join(f"{decision.value} {outcomes.decisions[decision]}" for decision in Decision)
    print(f"{name}: {outcomes.runs} comparisons, up to {outcomes.cells} cells each")
    print(f"  p <= .05 over all queries, one test  {outcomes.share(outcomes.alarms_overall)}")
    print(f"  any cell, after correction           {outcomes.share(outcomes.alarms_anywhere)}")
    print(f"  verdicts                             {decisions}")


def too_many(alarms: int, runs: int) -> bool:
    """Tell whether so many alarms at a level of 5 % are beyond four standard deviations."""
    return alarms > 0.05 * runs + 4 * (0.05 * 0.95 * runs) ** 0.5


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--planted-queries", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--report", type=Path, default=None)
    arguments = parser.parse_args()
    start = time.perf_counter()
    bad = False
    kinds: dict[str, Callable[[np.random.Generator], Drawn]] = {
        f"A/A, {arguments.queries} queries": lambda g: draw(g, arguments.queries, no_change),
        f"skewed, {arguments.queries} queries": lambda g: draw(g, arguments.queries, skewed),
    }
    if arguments.report is not None:
        kinds[f"A/A from {arguments.report}"] = from_report(arguments.report)
    for name, drawn in kinds.items():
        outcomes = compare_many(drawn, runs=arguments.runs, seed=arguments.seed)
        report_alarms(name, outcomes)
        bad |= too_many(outcomes.alarms_overall, outcomes.runs) or too_many(outcomes.alarms_anywhere, outcomes.runs)
    runs = max(1, arguments.runs // 10)
    outcomes = compare_many(lambda g: draw(g, arguments.planted_queries, planted), runs=runs, seed=arguments.seed)
    print(
        f"planted: -{LOSS} in {PLANTED} (a quarter of {arguments.planted_queries} queries), +{GAIN} elsewhere\n"
        f"  gain over all queries                {outcomes.share(outcomes.hidden)}\n"
        f"  loss found in its slice              {outcomes.share(outcomes.found)}\n"
        f"  verdict no ship                      {outcomes.share(outcomes.decisions[Decision.no_ship])}"
    )
    bad |= outcomes.found < 0.8 * runs or outcomes.hidden < 0.99 * runs
    print(f"(seed {arguments.seed}, {time.perf_counter() - start:.0f} s)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
