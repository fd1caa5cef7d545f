"""Timing many things fairly on a machine that is not quiet: they take turns, with a control task between their calls.

Measured one thing after the other, whatever else the machine does meanwhile falls on some of them. Taking turns spreads
it over all. The control task is the same work every time; between the calls of each task it gets a tenth of their time,
and so its share of every disturbance.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Call: TypeAlias = Callable[[], object]

IN_A_ROW = 8
"""Calls of one task before the next one's turn: what it needs is in the caches then, as when it serves alone, and a
disturbance of a second or more still falls on many tasks."""

CONTROL_SHARE = 0.1
"""Time for the control task, as a share of the calls': whoever takes the processor away takes it from the longer one
more often, and from a control task that is much too short never."""

REST_S = 0.01
"""Before a turn. Threads that have just shared work spin for more before they sleep (GNU's OpenMP, GOMP_SPINCOUNT: 3.7
ms measured): on cores, and on a clock, that are the next task's."""

_CALIBRATION = 20
"""Control tasks before the first turn; the shortest is what it takes undisturbed, near enough to count by."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to be timed.

    Attributes:
        name: Unique among those that take turns.
        calls: What is called, usually one per query; at least one.
    """

    name: str
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a task.

    Attributes:
        first: Place of its first call among those of the task.
        calls: Number of calls.
        wall_s: Seconds by the clock for all of them.
        core_s: Processor seconds for all of them, of all threads of the process.
    """

    first: int
    calls: int
    wall_s: float
    core_s: float


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured of one task.

    Attributes:
        taken_ms: Milliseconds of every call.
        control_ms: Milliseconds of every control task of its turns.
        turns: Its turns.
    """

    taken_ms: list[float] = field(default_factory=list)
    control_ms: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def core_s_per_call(self) -> float:
        """Return the mean processor seconds of a call; see `_least`."""
        return self._least([turn.core_s for turn in self.turns])

    def wall_s_per_call(self) -> float:
        """Return the mean seconds of a call by the clock; see `_least`."""
        return self._least([turn.wall_s for turn in self.turns])

    def _least(self, seconds: Sequence[float]) -> float:
        """Return the mean over all calls, where of several turns with the same calls the least counts.

        Whatever else the machine does can only add to what a turn takes: time waited, or spent in spinning for a thread
        that waits.
        """
        least: dict[int, tuple[float, int]] = {}
        for turn, taken in zip(self.turns, seconds, strict=True):
            least[turn.first] = min(least.get(turn.first, (taken, turn.calls)), (taken, turn.calls))
        return sum(taken for taken, _ in least.values()) / sum(calls for _, calls in least.values())


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where the time comes from, in seconds.

    Attributes:
        wall: Runs always.
        core: Runs while a thread of this process does, for each of them.
        rest: Does nothing for so long.
    """

    wall: Callable[[], float] = time.perf_counter
    core: Callable[[], float] = time.process_time
    rest: Callable[[float], None] = time.sleep


def take_turns(
    tasks: Sequence[Task],
    *,
    control: Call,
    repeats: int,
    seed: int,
    clocks: Clocks | None = None,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Timed]:
    """Call everything ``repeats`` times, `IN_A_ROW` calls of one task at a time.

    The order of the tasks is drawn anew each time round, so that none always follows the same other. A turn is a rest,
    one call that is not timed (it finds the caches as another task left them), then the calls, with the control task
    after each as often as `CONTROL_SHARE` asks, at least once.

    Args:
        tasks: Their names are unique.
        control: The control task.
        repeats: At least 1.
        seed: Of the order.
        clocks: ``None`` takes the system's.
        advance: Told the number of timed calls after each turn.

    Returns:
        Name -> what was measured, ``repeats`` times for each of its calls.

    Raises:
        ValueError: If two tasks have one name.
    """
    clocks = clocks or Clocks()
    timed = {task.name: Timed() for task in tasks}
    if len(timed) != len(tasks):
        raise ValueError(f"tasks need names of their own, got {[task.name for task in tasks]}")
    taker = _Taker(control, min(_lasted(control, clocks).wall_s for _ in range(_CALIBRATION)), clocks)
    generator = np.random.default_rng(seed)
    longest = max((len(task.calls) for task in tasks), default=0)
    for _ in range(repeats):
        for first in range(0, longest, IN_A_ROW):
            for place in generator.permutation(len(tasks)):
                calls = tasks[place].calls[first : first + IN_A_ROW]
                if calls:
                    taker.take(calls, first, timed[tasks[place].name])
                    if advance is not None:
                        advance(len(calls))
    return timed


@dataclass(frozen=True, slots=True)
class _Lasted:
    """What one call took."""

    wall_s: float
    core_s: float


@dataclass(frozen=True, slots=True)
class _Taker:
    """Takes turns: the control task, what it takes undisturbed in seconds, and the clocks."""

    control: Call
    control_s: float
    clocks: Clocks

    def take(self, calls: Sequence[Call], first: int, timed: Timed) -> None:
        """Rest, warm up, then call; after each call the control task, until it has had its share."""
        self.clocks.rest(REST_S)
        if len(calls) > 1:
            calls[0]()
        lasted: list[_Lasted] = []
        controls = 0
        for call in calls:
            lasted.append(_lasted(call, self.clocks))
            share = CONTROL_SHARE * sum(each.wall_s for each in lasted) / self.control_s
            while controls < max(len(lasted), share):
                timed.control_ms.append(_lasted(self.control, self.clocks).wall_s * 1000)
                controls += 1
        timed.taken_ms.extend(each.wall_s * 1000 for each in lasted)
        wall_s, core_s = sum(each.wall_s for each in lasted), sum(each.core_s for each in lasted)
        timed.turns.append(Turn(first, len(calls), wall_s, core_s))


def _lasted(call: Call, clocks: Clocks) -> _Lasted:
    start, start_core = clocks.wall(), clocks.core()
    call()
    return _Lasted(clocks.wall() - start, clocks.core() - start_core)


def number_of_calls(tasks: Sequence[Task], repeats: int) -> int:
    """Return how many calls `take_turns` times."""
    return repeats * sum(len(task.calls) for task in tasks)
