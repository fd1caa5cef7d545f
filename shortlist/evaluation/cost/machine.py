"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

from retrieval.runtime import available_cores
from shortlist.evaluation.cost.records import Machine

CPU_FACTS = Path("/proc/cpuinfo")


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


def _processor() -> str:
    """Return the processor's name; where nothing tells it, its architecture."""
    lines = CPU_FACTS.read_text(encoding="utf-8").splitlines() if CPU_FACTS.is_file() else []
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
