"""What the check-up says of GPUs, with a driver and packages that are made up."""

from types import SimpleNamespace

import pytest

from indexing import faiss_gpu
from retrieval import runtime
from retrieval.lanes import openvino_package
from shortlist.jobs import doctor


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver's folder with two devices."""
    for number, model in enumerate(("NVIDIA H200", "NVIDIA L4")):
        folder = tmp_path / "gpus" / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t 11\n", encoding="utf-8")
    (tmp_path / "version").write_text("NVRM version", encoding="utf-8")
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)


@pytest.fixture
def installed(monkeypatch):
    """Let these versions be installed besides what is."""

    def install(**versions):
        real = doctor._version
        monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name.replace("-", "_"), real(name)))

    return install


def found(name):
    return [finding for finding in doctor.examine() if finding.name == name]


def test_without_a_driver_the_device_is_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    assert found("device") == [doctor.Finding("device", "cpu (no NVIDIA driver)")]


@pytest.mark.usefixtures("driver")
def test_devices_are_named_by_their_model(installed):
    installed(torch="2.13.0+cu130")
    assert found("device") == [doctor.Finding("device", "cuda (NVIDIA H200, NVIDIA L4)")]


@pytest.mark.usefixtures("driver")
def test_a_torch_for_the_cpu_beside_a_device_is_a_problem(installed):
    installed(torch="2.13.0+cpu")
    (device,) = found("device")
    assert device.value == "cpu"
    assert "a GPU is here (NVIDIA H200, NVIDIA L4) but torch is a CPU build" in device.problem


def test_a_driver_that_lists_no_device_is_told_as_such(tmp_path, monkeypatch, installed):
    (tmp_path / "version").write_text("NVRM version", encoding="utf-8")
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    installed(torch="2.13.0+cu130")
    assert found("device")[0].value == "cuda (NVIDIA driver present)"


def test_faiss_for_the_cpu_is_not_asked_about_devices(installed):
    installed(faiss_gpu=None, faiss_gpu_cu12=None, faiss_gpu_cuvs=None)
    assert found("faiss on CUDA") == []


@pytest.mark.parametrize(
    ("built", "value"),
    [({}, "2 devices, flat indexes and lists"), ({"GpuIndexCagra": object}, "2 devices, graphs too (cuVS)")],
)
def test_faiss_for_cuda_tells_its_devices_and_whether_it_has_graphs(built, value, monkeypatch, installed):
    installed(faiss_cpu=None, faiss_gpu="1.15.1")
    monkeypatch.setattr(faiss_gpu, "faiss", SimpleNamespace(get_num_gpus=lambda: 2, **built))
    assert found("faiss") == [doctor.Finding("faiss", "faiss-gpu 1.15.1")]
    assert found("faiss on CUDA") == [doctor.Finding("faiss on CUDA", value)]


def test_faiss_for_cuda_without_a_device_is_a_problem(monkeypatch, installed):
    installed(faiss_cpu=None, faiss_gpu="1.15.1")
    monkeypatch.setattr(faiss_gpu, "faiss", SimpleNamespace(get_num_gpus=lambda: 0))
    (finding,) = found("faiss on CUDA")
    assert finding.value == "no device"
    assert "check the driver, or install the extra cpu instead of gpu" in finding.problem


@pytest.mark.parametrize(
    ("flags", "processor", "lanes"),
    [
        ("avx2", "fp32, no bf16 instructions, no int8 instructions", "torch fp32, openvino 2026.4 fp32"),
        (
            "avx512_bf16 avx512_vnni avx_vnni",
            "fp32, bf16 (avx512_bf16), int8 (avx512_vnni, avx_vnni)",
            "torch fp32, torch bf16, openvino 2026.4 fp32, openvino bf16, openvino int8",
        ),
    ],
)
def test_what_the_processor_multiplies_and_what_runs_on_it_is_told(
    flags, processor, lanes, tmp_path, monkeypatch, installed
):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(runtime, "CPU_FLAGS", tmp_path / "cpuinfo")
    monkeypatch.setattr(openvino_package, "has_openvino", lambda: True)
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    installed(openvino="2026.4")
    assert found("processor") == [doctor.Finding("processor", processor)]
    assert found("lanes") == [doctor.Finding("lanes", lanes)]


@pytest.mark.usefixtures("driver")
def test_lanes_on_a_device_are_told_and_none_of_openvino_without_it(tmp_path, monkeypatch, installed):
    monkeypatch.setattr(runtime, "CPU_FLAGS", tmp_path / "absent")
    monkeypatch.setattr(openvino_package, "has_openvino", lambda: False)
    installed(torch="2.13.0+cu130")
    assert found("lanes") == [
        doctor.Finding(
            "lanes",
            "torch fp32, torch fp32 and bf16 on cuda, packed bf16 on cuda (tried when a model is opened)",
        )
    ]
