"""Timing contestants in turns, with the control task of `shortlist.evaluation.cost` between their calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from shortlist.evaluation.cost.machine import Usage
from shortlist.evaluation.cost.noise import Judge, control_task
from shortlist.evaluation.cost.turns import Call, Clocks, Task, Timed, take_turns
from tools.bench.speed.records import Options, Side

TOLERANCE = 0.25
"""As `shortlist.cost.CostConfig.noise_tolerance`: how much slower the control task may be beside a quiet contest."""


@dataclass(frozen=True, slots=True)
class SelfTimed:
    """A call that says itself how long it took: a contestant in a process of its own, whose pipe is not its work.

    Attributes:
        run: Returns the milliseconds.
    """

    run: Callable[[], float]


Contestant: TypeAlias = Call | SelfTimed | Sequence[Call | SelfTimed]


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured of one contestant.

    Attributes:
        rounds: Milliseconds of every call, one tuple per round.
    """

    rounds: tuple[tuple[float, ...], ...]

    def side(self, name: str) -> Side:
        """Return it as a side of a row: the sum of each round's calls, ms."""
        return Side(name=name, values=tuple(sum(calls) for calls in self.rounds))

    def percentile(self, name: str, percent: float) -> Side:
        """Return it as a side of a row: a percentile of each round's calls, ms, with every call as raw values."""
        values = tuple(float(np.percentile(calls, percent)) for calls in self.rounds)
        return Side(name=name, values=values, raw=tuple(taken for calls in self.rounds for taken in calls))


@dataclass(slots=True)
class Stopwatch:
    """Times contests, and remembers how disturbed the machine was over all of them.

    Attributes:
        rounds: Rounds of a contest.
        seed: Of the order within a round.
        clocks: ``None`` takes the system's.
        control: The control task; ``None`` takes that of `shortlist.evaluation.cost.noise`.
    """

    rounds: int
    seed: int
    clocks: Clocks | None = None
    control: Call | None = None
    _contests: list[dict[str, Timed]] = field(default_factory=list)
    _begun: Usage = field(default_factory=Usage.now)

    @classmethod
    def of(cls, options: Options) -> "Stopwatch":
        """Make one with the options' rounds and seed."""
        return cls(rounds=options.rounds, seed=options.seed)

    def contest(self, contestants: Mapping[str, Contestant]) -> dict[str, Times]:
        """Let contestants do the same work in turns, in an order drawn anew every round.

        Every contestant first does everything once, untimed. With more than eight calls each, turns are eight calls
        long (`shortlist.evaluation.cost.turns`), and a round is over when all calls of all were made once.

        Args:
            contestants: Name -> a call, or one call per query; at least one each.

        Returns:
            Name -> milliseconds by round.
        """
        own: dict[str, list[float]] = {name: [] for name in contestants}
        tasks = [Task(name, _calls(each, own[name])) for name, each in contestants.items()]
        for task in tasks:
            for call in task.calls:
                call()
        for said in own.values():
            said.clear()
        timed = take_turns(
            tasks, control=self.control or control_task(), repeats=self.rounds, seed=self.seed, clocks=self.clocks
        )
        self._contests.append(timed)
        return {task.name: self._times(task, timed[task.name], own[task.name]) for task in tasks}

    def noise(self) -> dict[str, float | None]:
        """Sum up the machine's noise over all contests so far; empty before the first.

        Returns:
            ``quiet_ms`` (control task undisturbed), ``spread`` (its p95 over its p50, less 1), ``slowdown`` (mean over
            quiet, less 1), ``margin`` (how far the mean beside a contestant was off the middle, at most), ``noisy`` and
            ``points`` (contestants marked noisy, of how many), ``others`` (cores that other processes kept busy).
        """
        if not self._contests:
            return {}
        everything = {
            f"{number} {name}": timed
            for number, contest in enumerate(self._contests)
            for name, timed in contest.items()
        }
        others = Usage.now().others_since(self._begun)
        noise = Judge.of(everything.values(), tolerance=TOLERANCE).noise(everything, others=others)
        kept: dict[str, Any] = {"quiet_ms": noise.quiet, "spread": noise.spread, "slowdown": noise.slowdown}
        kept |= {"margin": noise.margin, "noisy": noise.noisy, "points": noise.points, "others": noise.others}
        return kept

    def _times(self, task: Task, timed: Timed, own: Sequence[float]) -> Times:
        """Put the calls back into rounds."""
        taken = _without_warm_up(timed, own) if own else timed.taken_ms
        size = len(task.calls)
        if len(taken) != size * self.rounds:
            raise ValueError(f"{task.name}: {len(taken)} times of {size} calls in {self.rounds} rounds; mixed clocks?")
        return Times(tuple(tuple(taken[first : first + size]) for first in range(0, len(taken), size)))


def _calls(contestant: Contestant, own: list[float]) -> list[Call]:
    """Return plain calls; those that time themselves write into ``own``."""
    each = contestant if isinstance(contestant, Sequence) else [contestant]
    if not each:
        raise ValueError("a contestant needs at least one call, got none")
    return [_noting(call, own) if isinstance(call, SelfTimed) else call for call in each]


def _noting(call: SelfTimed, own: list[float]) -> Call:
    return lambda: own.append(call.run())


def _without_warm_up(timed: Timed, own: Sequence[float]) -> list[float]:
    """Leave out what calls said of the untimed one that every turn of more than one call begins with."""
    kept: list[float] = []
    place = 0
    for turn in timed.turns:
        first = place + (turn.calls > 1)
        kept += own[first : first + turn.calls]
        place = first + turn.calls
    return kept
