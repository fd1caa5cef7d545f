"""How many threads FAISS may use: one number for the process, handed to OpenMP once in every thread.

OpenMP keeps that number per thread (nthreads-var, OpenMP 5.2 section 2.3). After ``omp_set_num_threads(3)`` in the main
thread of a machine with 2 cores, FAISS 1.15 had 3 there and 2 in every other thread. So each thread is told when it
first comes by. torch does the same by itself.
"""

import threading
from typing import Any

import faiss as _faiss

faiss: Any = _faiss  # its own stubs know half of its names

_budget = 0  # threads; 0 leaves OpenMP what it has
_told = threading.local()


def set_budget(threads: int) -> None:
    """Let FAISS use so many threads in each call, whichever thread of this process makes it; 0 changes nothing."""
    global _budget
    if threads:
        _budget = threads
    keep_budget()


def keep_budget() -> None:
    """Make the calling thread keep to the budget; it costs next to nothing when it does already."""
    if getattr(_told, "threads", 0) != _budget:
        faiss.omp_set_num_threads(_budget)
        _told.threads = _budget
