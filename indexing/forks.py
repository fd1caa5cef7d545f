"""Native threads do not survive a fork: a child that needs them is refused instead of waiting for ever.

``fork`` copies memory and the calling thread alone. The pools of OpenMP (torch, FAISS) and of the tokenizers, and locks
that other threads held at that moment, look alive in the child and never answer. FAISS 1.15 hung in 5 of 5 children
with two OpenMP threads. So whatever is about to use native threads claims them for its process first.
"""

import os

from indexing.errors import ForkSafetyError

_owner = 0  # pid of the process that claimed them; 0 while none has


def claim_threads() -> None:
    """Claim native threads for this process; claiming again costs a system call.

    Raises:
        ForkSafetyError: If a process that this one was forked from has claimed them.
    """
    global _owner
    pid = os.getpid()
    if _owner == pid:
        return
    if _owner:
        raise ForkSafetyError(
            f"process {pid} was forked from process {_owner} after models or indexes were used there, whose threads do "
            f"not exist here: a call would never end. Open the engine after the fork (gunicorn: without --preload), or "
            f'start processes with multiprocessing.get_context("spawn")'
        )
    _owner = pid


def is_inherited() -> bool:
    """Whether native threads were claimed by a process that this one was forked from."""
    return _owner not in (0, os.getpid())
