"""What the numbers were measured on."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from retrieval.runtime import available_cores
from shortlist.evaluation.cost.records import Machine

CPU_FACTS, CPU_TIMES = Path("/proc/cpuinfo"), Path("/proc/stat")


def describe_machine(*, device: str, threads: int) -> Machine:
    """Say what this machine is and how busy it has been in the last minute."""
    return Machine(
        processor=_processor(),
        cores=available_cores(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=platform.platform(),
        device=device,
        threads=threads,
        load=os.getloadavg()[0],
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used up to a moment, in seconds.

    Attributes:
        wall_s: Time by the clock.
        process_s: Processor time of this process.
        busy_s: Processor time of all cores of the machine that was not idle; ``None`` when the system does not say.
    """

    wall_s: float
    process_s: float
    busy_s: float | None

    @classmethod
    def now(cls) -> Self:
        """Look at the clocks."""
        return cls(time.perf_counter(), time.process_time(), _busy_s())

    def others_since(self, before: "Usage") -> float | None:
        """Return how many cores other processes kept busy between two moments, on average; 0 or more."""
        if self.busy_s is None or before.busy_s is None:
            return None
        used = (self.busy_s - before.busy_s) - (self.process_s - before.process_s)
        return max(0.0, used / (self.wall_s - before.wall_s))


def _busy_s() -> float | None:
    """Read Linux's account of all cores since the start.

    Source: Linux, Documentation/filesystems/proc.rst, 1.7: user, nice, system, idle, iowait, irq, softirq, steal, and
    guest times that are in the first two; in units of USER_HZ. Time stolen by the host counts: it was not ours.
    """
    if not CPU_TIMES.is_file():
        return None
    user, nice, system, _, _, *others = map(int, CPU_TIMES.read_text(encoding="ascii").split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(others[:3])) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    """Return the processor's name; where nothing tells it, its architecture."""
    lines = CPU_FACTS.read_text(encoding="utf-8").splitlines() if CPU_FACTS.is_file() else []
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
