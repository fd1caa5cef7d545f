"""Where the dense index is searched: on the CPU, or on a CUDA device through FAISS or torch."""

import logging

from indexing import faiss_gpu
from indexing.errors import EnvironmentProblem
from indexing.faiss_index import FaissIndex
from retrieval.config import RuntimeConfig

logger = logging.getLogger(__name__)


def require_index_device(runtime: RuntimeConfig) -> None:
    """Refuse a device for the index that is not there, before anything else is done.

    Raises:
        EnvironmentProblem: ``runtime.index_device=cuda``, and neither FAISS nor torch sees a CUDA device.
    """
    if runtime.index_device == "cuda" and not (faiss_gpu.device_count() or _torch_has_cuda()):
        raise EnvironmentProblem(
            "runtime.index_device=cuda, but neither FAISS nor torch sees a CUDA device; set runtime.index_device=cpu"
        )


def training_device(runtime: RuntimeConfig) -> str:
    """Return where a build trains and fills inverted lists: ``cuda`` where it is allowed to and FAISS can."""
    return "cuda" if runtime.index_device != "cpu" and faiss_gpu.device_count() else "cpu"


def on_index_device(dense: FaissIndex, runtime: RuntimeConfig) -> FaissIndex:
    """Return the index as it is to be searched.

    FAISS is preferred where it can search the kind on a device: it keeps the kind's own speed and memory. Everything
    else is searched exactly through torch, from the vectors.

    Args:
        dense: The index, on the CPU.
        runtime: ``index_device``: ``cpu``; ``cuda``, which is an error where it cannot be had; or ``auto``, which takes
            a device with room for the vectors and logs what it took and why.

    Raises:
        EnvironmentProblem: ``cuda`` was asked for, and there is none, or it has not the memory.
    """
    from retrieval.tiled_proposals import on_torch_device

    if runtime.index_device == "cpu":
        return dense
    kind = dense.record.plan.kind
    try:
        require_index_device(RuntimeConfig(index_device="cuda"))
        if faiss_gpu.takes(kind):
            from indexing.device_proposals import on_faiss_device

            placed, how = on_faiss_device(dense), "FAISS"
        else:
            placed, how = on_torch_device(dense, "cuda"), "torch, exactly"
    except EnvironmentProblem as error:
        if runtime.index_device == "cuda":
            raise
        logger.info("index_device=cpu (%s)", error)
        return dense
    logger.info("index_device=cuda (%s index, searched through %s)", kind, how)
    return placed


def _torch_has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
