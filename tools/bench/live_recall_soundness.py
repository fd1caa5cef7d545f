"""Show that live recall is sound: how often it raises a false alarm, and how soon it finds a decay.

Recalls of checked queries are drawn and given to the very classes that watch an engine, many runs side by side.

- *Without decay*: the expected recall never falls below the target, and in the hardest cases lies exactly on it. An
  alarm at any of the checks is false. The confidence sequence is wrong when it ever, at any check, leaves out the mean
  of what was expected so far.
- *With decay*: recall is above the target at first and below it from some check on.

Exits with 1 when more than 5 % of the runs without decay end in an alarm, when a sequence is wrong in more than 5 % of
the runs, or when a decay of .05 or more is missed in more than 1 % of them. Of so many runs 5 % plus three standard
deviations of a binomial are let pass: 7.1 % of 1,000.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.monitoring.sequences import DecayTest, MeanSequence

TARGET = 0.95
ALPHA = 0.05
BEFORE = 0.98  # recall before a decay

Vector = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, float, int], Vector]
"""Recalls of so many runs at one check, given what they are expected to be."""

Expected = Callable[[int], float]
"""Recall expected at a check, counted from 1."""


def hits_of(k: int) -> Draw:
    """Draw recall at ``k`` when every neighbour is found or missed by itself."""
    return lambda generator, expected, runs: generator.binomial(k, expected, runs) / k


def beta_of(strength: float) -> Draw:
    """Draw from a beta distribution; a small strength leaves hardly more than 0 and 1."""
    return lambda generator, expected, runs: generator.beta(strength * expected, strength * (1 - expected), runs)


def some_lost(generator: np.random.Generator, expected: float, runs: int) -> Vector:
    """Draw 1 for most queries and a half for the rest."""
    return np.where(generator.random(runs) < 2 * (1 - expected), 0.5, 1.0)


def constant(_: np.random.Generator, expected: float, runs: int) -> Vector:
    """Return what is expected."""
    return np.full(runs, expected)


def always(recall: float) -> Expected:
    """Expect the same at every check."""
    return lambda _: recall


def falling(start: int, after: float) -> Expected:
    """Expect `BEFORE`, and from check ``start`` on ``after``."""
    return lambda check: BEFORE if check < start else after


def tides(check: int) -> float:
    """Expect between the target and .99, up and down every 500 checks."""
    return TARGET + 0.02 * (1 + float(np.sin(2 * np.pi * check / 500)))


NULLS: Mapping[str, tuple[Draw, Expected]] = {
    "at the target: recall@10, steps of .1": (hits_of(10), always(TARGET)),
    "at the target: recall@100": (hits_of(100), always(TARGET)),
    "at the target: all or nothing": (hits_of(1), always(TARGET)),
    "at the target: beta": (beta_of(10), always(TARGET)),
    "at the target: beta, nearly 0 or 1": (beta_of(0.5), always(TARGET)),
    "at the target: 1, or a half for one in ten": (some_lost, always(TARGET)),
    "at the target: constant": (constant, always(TARGET)),
    "above: recall@10 expected at .98": (hits_of(10), always(0.98)),
    "above: recall@100 expected at .995": (hits_of(100), always(0.995)),
    "moving between the target and .99": (hits_of(10), tides),
}
DECAYS = (0.01, 0.02, 0.05, 0.1)
KINDS: Mapping[str, Draw] = {"recall@10": hits_of(10), "recall@100": hits_of(100)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What many runs side by side came to.

    Attributes:
        alarm_at: Check of the first alarm of each run, int64 [runs]; 0 where there was none.
        wrong: Whether the confidence sequence ever left out what it must hold, bool [runs].
        width: Mean width of the sequence after the last check; 0 when it was not asked for.
    """

    alarm_at: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]
    width: float


def watch(draw: Draw, expected: Expected, *, runs: int, checks: int, seed: int, with_sequence: bool = True) -> Outcome:
    """Draw and watch ``runs`` runs of ``checks`` checks each, the confidence sequence only when asked to."""
    generator = np.random.default_rng(seed)
    test, means = DecayTest(TARGET, streams=(runs,)), MeanSequence(alpha=ALPHA, streams=(runs,))
    alarm_at, wrong = np.zeros(runs, dtype=np.int64), np.zeros(runs, dtype=np.bool_)
    total = width = 0.0
    for check in range(1, checks + 1):
        total += expected(check)
        recalls = draw(generator, expected(check), runs)
        test.observe(recalls)
        alarm_at[(alarm_at == 0) & (test.evidence >= 1 / ALPHA)] = check
        if with_sequence:
            means.observe(recalls)
            lower, upper = means.interval()
            wrong |= (lower > total / check) | (total / check > upper)
            width = float(np.mean(upper - lower))
    return Outcome(alarm_at, wrong, width)


def too_many(count: int, runs: int) -> bool:
    """Tell whether so many of the runs are beyond three standard deviations above 5 %."""
    return bool(count > ALPHA * runs + 3 * (ALPHA * (1 - ALPHA) * runs) ** 0.5)


def without_decay(*, runs: int, checks: int, seed: int) -> bool:
    """Print what runs without decay came to; false when there is too much of it."""
    print(f"without decay, {runs} runs of {checks} checks each   false alarms   sequence wrong   its width at the end")
    sound = True
    for name, (draw, expected) in NULLS.items():
        outcome = watch(draw, expected, runs=runs, checks=checks, seed=seed)
        alarms, wrong = int(np.count_nonzero(outcome.alarm_at)), int(np.count_nonzero(outcome.wrong))
        print(f"  {name:<48} {alarms / runs:>12.1%} {wrong / runs:>16.1%} {outcome.width:>22.4f}")
        sound &= not too_many(alarms, runs) and not too_many(wrong, runs)
    return sound


def with_decay(*, runs: int, checks: int, seed: int) -> bool:
    """Print how soon decays are found; false when one of .05 or more is missed too often."""
    print(f"from {BEFORE:g} to below the target of {TARGET:g}, {runs} runs of {checks} checks")
    print("  recall       falls to   from check   found   median delay, checks   (90 % within)")
    sound = True
    for start in (1, 200, 3 * checks // 5):
        for size in DECAYS:
            for kind, draw in KINDS.items():
                expected = falling(start, TARGET - size)
                outcome = watch(draw, expected, runs=runs, checks=checks, seed=seed, with_sequence=False)
                delays = outcome.alarm_at[outcome.alarm_at >= start] - start + 1
                shown = "{:>22.0f} {:>15.0f}".format(*np.quantile(delays, (0.5, 0.9))) if delays.size else ""
                found = len(delays) / runs
                print(f"  {kind:<12} {TARGET - size:>8.2f} {start:>12} {found:>7.1%} {shown}")
                sound &= size < 0.05 or found >= 0.99
    return sound


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--checks", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=7)
    options = vars(parser.parse_args())
    start = time.perf_counter()
    sound = without_decay(**options)
    sound &= with_decay(**options)
    print(f"(seed {options['seed']}, {time.perf_counter() - start:.0f} s)")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
