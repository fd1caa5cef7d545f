"""Timing many things fairly on a machine that is not quiet: they take turns, and a control task runs before each call.

Measured one thing after the other, whatever else the machine does meanwhile falls on some of them. Taking turns spreads
it over all, and the control task, which is the same work every time, says how much there was.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Call: TypeAlias = Callable[[], object]
Clock: TypeAlias = Callable[[], float]

IN_A_ROW = 8
"""Calls of one task before the next one's turn: what it needs is in the caches then, as when it serves alone, and a
disturbance of a second or more still falls on many tasks."""

SPIN_S = 0.05
"""Until idle OpenMP threads sleep: GNU's turn 300,000 times before (GOMP_SPINCOUNT), which took 4 to 10 ms here."""


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
class Timed:
    """What the calls of one task took by the clock, in milliseconds.

    Attributes:
        taken_ms: Of every call.
        control_ms: Of the control task just before it.
    """

    taken_ms: list[float] = field(default_factory=list)
    control_ms: list[float] = field(default_factory=list)


def take_turns(
    tasks: Sequence[Task],
    *,
    control: Call,
    repeats: int,
    seed: int,
    clock: Clock = time.perf_counter,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Timed]:
    """Call everything ``repeats`` times, `IN_A_ROW` calls of one task at a time.

    The order of the tasks is drawn anew for every turn, so that none always follows the same other. A turn begins with
    a call that is not timed: it finds the caches as another task left them.

    Args:
        tasks: Their names are unique.
        control: The control task.
        repeats: At least 1.
        seed: Of the order.
        clock: Seconds.
        advance: Told the number of timed calls after each turn.

    Returns:
        Name -> what was measured; ``repeats`` times as many entries as the task has calls.

    Raises:
        ValueError: If two tasks have one name.
    """
    timed = {task.name: Timed() for task in tasks}
    if len(timed) != len(tasks):
        raise ValueError(f"tasks need names of their own, got {[task.name for task in tasks]}")
    generator = np.random.default_rng(seed)
    longest = max((len(task.calls) for task in tasks), default=0)
    for _ in range(repeats):
        for first in range(0, longest, IN_A_ROW):
            for place in generator.permutation(len(tasks)):
                turn = tasks[place].calls[first : first + IN_A_ROW]
                _take(turn, timed[tasks[place].name], control, clock)
                if advance is not None:
                    advance(len(turn))
    return timed


def _take(turn: Sequence[Call], timed: Timed, control: Call, clock: Clock) -> None:
    if len(turn) > 1:
        turn[0]()
    for call in turn:
        before = clock()
        control()
        start = clock()
        call()
        end = clock()
        timed.control_ms.append((start - before) * 1000)
        timed.taken_ms.append((end - start) * 1000)


def processor_s(task: Task, *, clock: Clock = time.process_time, rest: Callable[[float], None] = time.sleep) -> float:
    """Return the mean processor seconds of a call, over all threads of the process.

    Measured apart from the turns, without a control task: threads that have just shared work go on spinning for more,
    and that time would be charged to the search. What a search makes spin itself is its own.

    Args:
        task: Each of its calls is made once.
        clock: Processor seconds of the process.
        rest: Waits so many seconds.
    """
    rest(SPIN_S)
    start = clock()
    for call in task.calls:
        call()
    return (clock() - start) / len(task.calls)


def number_of_calls(tasks: Sequence[Task], repeats: int) -> int:
    """Return how many calls `take_turns` times."""
    return repeats * sum(len(task.calls) for task in tasks)
