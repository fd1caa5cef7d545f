"""A promise, how often it was tried, and how often it was broken; and the command line that all programs share."""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

SHOWN = 10
"""Failures printed of each figure; all of them are in the JSON file."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one sweep came to.

    Attributes:
        promise: What was tried, in words; the name of its row in docs/reliability.md.
        counts: Unit -> how many, such as ``{"points": 132, "losses": 0}``, in the order to be printed.
        failures: What broke the promise, a line each; empty when it held.
        at_least: Unit -> the number below which the sweep did not look hard enough to say anything.
    """

    promise: str
    counts: Mapping[str, int]
    failures: tuple[str, ...] = ()
    at_least: Mapping[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What is wrong: failures, and counts that are too small to mean anything."""
        few = [
            f"{unit}={self.counts.get(unit, 0)}, at least {floor} expected"
            for unit, floor in self.at_least.items()
            if self.counts.get(unit, 0) < floor
        ]
        return [*self.failures, *few]

    def text(self) -> str:
        """Return a line with the counts, and the first problems below it."""
        line = f"{self.promise}: " + " ".join(f"{unit}={count}" for unit, count in self.counts.items())
        problems = self.problems
        more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        return "\n".join([line, *(f"  FAILED {problem}" for problem in problems[:SHOWN]), *more])


class Sweep(Protocol):
    """The body of a program."""

    def __call__(self, *, quick: bool) -> Iterable[Figure]:
        """Yield a figure per promise; ``quick`` takes a sample of seconds instead of the whole count."""


def command(description: str | None, sweep: Sweep, arguments: list[str] | None = None) -> int:
    """Run a program's sweep: print every figure, write them where ``--json`` says; 1 when a promise was broken.

    Args:
        description: The program's docstring; its first line is what ``--help`` says.
        sweep: Yields the figures.
        arguments: Words of the command line; ``None`` takes the process's.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample that takes seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args(arguments)
    return conclude(sweep, quick=options.quick, out=options.json)


def conclude(sweep: Sweep, *, quick: bool, out: Path | None = None, say: Callable[[str], None] = print) -> int:
    """Take a sweep to its end, say what it came to, and return its exit code."""
    figures: list[dict[str, object]] = []
    start, failed = time.perf_counter(), False
    for figure in sweep(quick=quick):
        elapsed, start = time.perf_counter() - start, time.perf_counter()
        say(f"{figure.text()}  ({elapsed:.1f} s)" if not figure.problems else figure.text())
        failed |= bool(figure.problems)
        figures.append(asdict(figure) | {"problems": figure.problems, "seconds": round(elapsed, 1)})
    if not figures:
        say("FAILED nothing was tried")
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 1 if failed or not figures else 0
