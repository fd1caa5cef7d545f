"""Which library runs a model: decided from the configuration, the processor and what is installed, and said aloud."""

import logging
from collections.abc import Callable, Mapping

from indexing.errors import ConfigError, EnvironmentProblem
from retrieval.config import Backend, Precision, RuntimeConfig
from retrieval.lanes.lane import Lane
from retrieval.lanes.openvino_package import INSTALL, has_openvino
from retrieval.runtime import has_bf16, has_int8

logger = logging.getLogger(__name__)


def settle_precision(precision: Precision, device: str) -> Precision:
    """Return an arithmetic in place of ``auto``: bf16 where the hardware has it, fp32 elsewhere; which one is logged.

    bf16 needs no measurement to be taken: over the texts of a shop its smallest cosine to fp32 was .99997
    (all-MiniLM-L6-v2). int8 does, so it has to be asked for.
    """
    if precision is not Precision.auto:
        return precision
    if has_bf16(device):
        logger.info("precision=bf16 (this %s has bfloat16 arithmetic)", device)
        return Precision.bf16
    logger.info("precision=fp32 (this %s has no bfloat16 arithmetic)", device)
    return Precision.fp32


def open_lane(runtime: RuntimeConfig, device: str, openers: Mapping[Backend, Callable[[], Lane]]) -> Lane:
    """Open the lane that `choose_backend` leads to.

    With ``auto``, a network that this lane does not know, or an attention that torch lacks, leads to torch's own lane,
    which is slower; that and the reason are logged as a warning, and the lane's description says what runs.

    Args:
        runtime: What is asked for, its precision settled.
        device: ``cpu`` or ``cuda``.
        openers: How each lane is opened, but for ``auto``.

    Raises:
        ConfigError: When the network is not known to the lane that is asked for, or to the one that has int8.
        EnvironmentProblem: As `choose_backend`, and when what a lane needs is not there after all.
    """
    backend = choose_backend(runtime, device)
    try:
        return openers[backend]()
    except (ConfigError, EnvironmentProblem) as reason:
        if runtime.backend is not Backend.auto or runtime.precision is Precision.int8 or backend is Backend.torch:
            raise
        logger.warning("backend=torch instead of %s (%s)", backend.name, reason)
        return openers[Backend.torch]()


def choose_backend(runtime: RuntimeConfig, device: str) -> Backend:
    """Return the library that a configuration and a device lead to.

    ``auto`` takes torch for fp32, which is the reference; for bf16 and int8 OpenVINO on a processor, or torch for bf16
    where OpenVINO is not installed; for bf16 on CUDA the packed lane. Which one it took, and why, is logged.

    Raises:
        EnvironmentProblem: When the library is not installed or the processor lacks the arithmetic; nothing slower is
            taken in its place.
    """
    precision = settle_precision(runtime.precision, device)
    require_arithmetic(precision, device)
    if runtime.backend is Backend.torch:
        return Backend.torch
    if runtime.backend is Backend.packed:
        if device == "cuda" and precision is not Precision.bf16:
            raise EnvironmentProblem(
                f"runtime.backend=packed computes in bf16 on CUDA, got runtime.precision={precision.name}; "
                "set runtime.precision=bf16, or runtime.backend=torch"
            )
        return Backend.packed
    if runtime.backend is Backend.openvino:
        if device == "cuda":
            raise EnvironmentProblem(
                "runtime.backend=openvino runs on processors, and runtime.device=auto took CUDA; set runtime.device=cpu"
            )
        if not has_openvino():
            raise EnvironmentProblem(f"runtime.backend=openvino needs OpenVINO, which is not installed; {INSTALL}")
        return Backend.openvino
    if precision is Precision.fp32:
        return Backend.torch
    if device == "cuda":
        logger.info("backend=packed (bf16 on CUDA)")
        return Backend.packed
    if has_openvino():
        logger.info("backend=openvino (%s on a processor)", precision.name)
        return Backend.openvino
    if precision is Precision.int8:
        raise EnvironmentProblem(f"runtime.precision=int8 needs OpenVINO, which is not installed; {INSTALL}")
    logger.info("backend=torch (OpenVINO, which is faster in bf16, is not installed; %s)", INSTALL)
    return Backend.torch


def require_arithmetic(precision: Precision, device: str) -> None:
    """Refuse an arithmetic that the processor has no instructions for, where it would be right and slow.

    Raises:
        EnvironmentProblem: With the precisions that there are.
    """
    if precision is Precision.fp32:
        return
    if precision is Precision.int8:
        if device == "cuda":
            raise EnvironmentProblem("runtime.precision=int8 runs on processors, not on cuda; set runtime.device=cpu")
        if not has_int8():
            raise EnvironmentProblem(
                "runtime.precision=int8 needs a processor with int8 dot products (AVX-512 VNNI, AVX-VNNI, AMX or Arm's "
                f"i8mm), which this one lacks; set runtime.precision={'bf16 or fp32' if has_bf16(device) else 'fp32'}"
            )
    if not has_bf16(device):
        raise EnvironmentProblem(
            f"runtime.precision={precision.name} needs bfloat16 arithmetic, which this {device} lacks; "
            "set runtime.precision=fp32"
        )
