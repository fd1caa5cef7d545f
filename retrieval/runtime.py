"""Where and how a model runs: device, threads and arithmetic. torch is imported inside the functions, FAISS too."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from indexing.errors import EnvironmentProblem
from retrieval.config import Precision, RuntimeConfig

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CPU_FLAGS = Path("/proc/cpuinfo")

# Linux's names for bfloat16 matrix instructions: Intel AMX, AVX-512 and AVX10 (through avx512_bf16), and Arm.
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
INT8_FLAGS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni", "i8mm"})


def choose_device(runtime: RuntimeConfig) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes CUDA when there is one and logs which it took and why.

    Raises:
        EnvironmentProblem: When ``cuda`` is asked for and torch sees none; a device asked for is never replaced.
    """
    import torch

    if runtime.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        logger.info("device=cuda (%s)", torch.cuda.get_device_name())
        return "cuda"
    reason = (
        f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
        if torch.version.cuda
        else (f"torch {torch.__version__} is built without CUDA")
    )
    if runtime.device == "cuda":
        raise EnvironmentProblem(f"runtime.device=cuda, but there is no CUDA device ({reason}); set runtime.device=cpu")
    logger.info("device=cpu (no CUDA device; %s)", reason)
    return "cpu"


def set_threads(runtime: RuntimeConfig) -> int:
    """Give torch, FAISS and the tokenizers one budget of threads in this process, and return it.

    This is the one place where it is set; no query changes it. The number is how many threads one call may use. 0 means
    every core this process may run on. torch is told when it is loaded already (opening a model loads it first); the
    tokenizers take what ``RAYON_NUM_THREADS`` says when they first need threads, so a value that is there stays.
    """
    from indexing.threads import set_budget

    threads = budget(runtime)
    set_budget(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if runtime.threads:
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    return threads


def budget(runtime: RuntimeConfig) -> int:
    """Return how many threads one call may use, at least 1; OpenVINO is told when a model is compiled for it."""
    return runtime.threads or available_cores()


def available_cores() -> int:
    """Return the number of cores this process may run on, which a container can make less than the machine's."""
    return len(os.sched_getaffinity(0))


def has_bf16(device: str) -> bool:
    """Return whether ``device`` multiplies bfloat16 matrices in hardware; elsewhere bf16 is right but slow."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not BF16_FLAGS.isdisjoint(cpu_flags())


def has_int8() -> bool:
    """Return whether the processor multiplies and adds up int8 numbers in one instruction."""
    return not INT8_FLAGS.isdisjoint(cpu_flags())


def cpu_flags() -> list[str]:
    """Return the words of the kernel's description of the processor, its features among them; none without one."""
    with contextlib.suppress(OSError):
        return CPU_FLAGS.read_text(encoding="utf-8").split()
    return []


_loading = threading.Lock()


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Hold while transformers loads a model: one at a time in a process, and without a bar.

    transformers 5.23 (``initialization.no_init_weights``) replaces functions of ``torch.nn.init`` for the time of a
    load and then puts back what it found. Two loads at once find each other's replacements and leave them there.
    """
    with _loading, without_bars():
        yield


def own_weights(model: "torch.nn.Module") -> None:
    """Copy the weights of a loaded model into memory of its own.

    safetensors maps them: they would lie in the version's file for as long as the model serves, which may be longer
    than the version exists (generations share models), and change with the file.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing bars for reading and writing weights, which take no time worth watching."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def autocast(device: str, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Return the context that a forward pass runs in: bfloat16 matrix products for ``bf16``, nothing for ``fp32``.

    Weights stay float32, so one model serves both. With all-MiniLM-L6-v2 the smallest cosine between the two was
    0.99997, and two cores with AMX encoded 407 product texts a second instead of 165.
    """
    import torch

    if precision is Precision.fp32:
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16)
