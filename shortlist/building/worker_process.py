"""What the system is told and asked of a worker's process: its environment, its socket's limits, its state."""

import ctypes
import os
import signal
import socket
import struct
from pathlib import Path

from shortlist.probe import own_packages

STATES = {"T": "which is stopped", "t": "which a debugger holds", "D": "which waits for a device"}
"""States of a process that are worth a word (proc(5), ``/proc/[pid]/stat``)."""

_PR_SET_PDEATHSIG = 1


def process_state(pid: int) -> str:
    """Say what state a process is in, where that explains its silence; empty elsewhere."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    return STATES.get(state, "")


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (prctl(2), ``PR_SET_PDEATHSIG``).

    A closed socket ends a worker that reads it; this ends one that is stopped or hangs. Elsewhere than on Linux nothing
    is asked.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def limit_transfers(descriptor: int, limit_s: float) -> None:
    """Let a transfer over a socket fail with `BlockingIOError` when nothing of it moves for so long; 0 is no limit."""
    limit = struct.pack("ll", int(limit_s), int(limit_s % 1 * 1e6))
    with socket.socket(fileno=os.dup(descriptor)) as own:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            own.setsockopt(socket.SOL_SOCKET, option, limit)


def environment(own: "os._Environ[str] | dict[str, str]", threads: int, device: str) -> dict[str, str]:
    """Return the environment variables of a worker: its threads, and of all CUDA devices its own alone.

    Args:
        own: Those of this process.
        threads: What it may use.
        device: ``cuda:N`` of the devices that this process sees; empty leaves them as they are.
    """
    single = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    if device:  # CUDA numbers devices among those that the variable lists (CUDA C Programming Guide)
        listed = own.get("CUDA_VISIBLE_DEVICES")
        single["CUDA_VISIBLE_DEVICES"] = listed.split(",")[device_number(device)].strip() if listed else device[5:]
    return {**own, **single, "PYTHONPATH": own_packages(), "PYTHONIOENCODING": "utf-8"}


def device_number(device: str) -> int:
    """Return N of ``cuda:N``."""
    return int(device.removeprefix("cuda:"))
