"""Which library runs a model: what is asked for or an error, and what ``auto`` takes is said."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from indexing.errors import ConfigError, EnvironmentProblem
from rerank.config import CrossEncoderTrainerConfig
from retrieval.config import Backend, Precision, RuntimeConfig
from retrieval.lanes import choice
from retrieval.lanes.choice import choose_backend, open_lane, settle_precision
from retrieval.lanes.lane import LaneInput, dense_batch
from retrieval.training_config import ContrastiveConfig

ZEN4 = "flags : fpu avx512_bf16 avx512_vnni\n"


@pytest.fixture(autouse=True)
def _zen4(monkeypatch, tmp_path):
    processor(monkeypatch, tmp_path, ZEN4)


def processor(monkeypatch, tmp_path, flags):
    from retrieval import runtime

    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(runtime, "CPU_FLAGS", tmp_path / "cpuinfo")


def without_openvino(monkeypatch):
    monkeypatch.setattr(choice, "has_openvino", lambda: False)


def runtime_of(precision=Precision.fp32, backend=Backend.auto, device="cpu"):
    return RuntimeConfig(precision=precision, backend=backend, device=device)


@pytest.mark.parametrize(
    ("precision", "backend", "device", "taken"),
    [
        (Precision.fp32, Backend.auto, "cpu", Backend.torch),
        (Precision.bf16, Backend.auto, "cpu", Backend.openvino),
        (Precision.int8, Backend.auto, "cpu", Backend.openvino),
        (Precision.bf16, Backend.torch, "cpu", Backend.torch),
        (Precision.fp32, Backend.openvino, "cpu", Backend.openvino),
    ],
)
def test_auto_takes_the_reference_for_fp32_and_openvino_for_less(precision, backend, device, taken):
    assert choose_backend(runtime_of(precision, backend), device) is taken


def test_auto_precision_is_bf16_where_there_is_bf16_and_says_so(monkeypatch, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="retrieval.lanes.choice"):
        assert settle_precision(Precision.auto, "cpu") is Precision.bf16
        assert choose_backend(runtime_of(Precision.auto), "cpu") is Backend.openvino
        processor(monkeypatch, tmp_path, "flags : fpu avx2\n")
        assert settle_precision(Precision.auto, "cpu") is Precision.fp32
        assert choose_backend(runtime_of(Precision.auto), "cpu") is Backend.torch
    assert "precision=bf16 (this cpu has bfloat16 arithmetic)" in caplog.text
    assert "precision=fp32 (this cpu has no bfloat16 arithmetic)" in caplog.text
    assert settle_precision(Precision.int8, "cpu") is Precision.int8


@pytest.mark.parametrize("precision", [Precision.int8, Precision.auto])
def test_training_in_an_arithmetic_without_gradients_is_refused(precision):
    for config in (ContrastiveConfig, CrossEncoderTrainerConfig):
        with pytest.raises(ValueError, match=rf"trainer\.precision must be fp32 or bf16, got {precision.name}"):
            config(precision=precision)


def test_auto_without_openvino_takes_torch_for_bf16_and_says_so(monkeypatch, caplog):
    without_openvino(monkeypatch)
    with caplog.at_level(logging.INFO, logger="retrieval.lanes.choice"):
        assert choose_backend(runtime_of(Precision.bf16), "cpu") is Backend.torch
    assert 'pip install "shortlist[fast]"' in caplog.text


def test_what_is_asked_for_and_not_installed_is_an_error_that_names_the_command(monkeypatch):
    without_openvino(monkeypatch)
    with pytest.raises(EnvironmentProblem, match=r'backend=openvino needs OpenVINO.*pip install "shortlist\[fast\]"'):
        choose_backend(runtime_of(backend=Backend.openvino), "cpu")
    with pytest.raises(EnvironmentProblem, match=r'precision=int8 needs OpenVINO.*pip install "shortlist\[fast\]"'):
        choose_backend(runtime_of(Precision.int8), "cpu")


def test_a_precision_that_the_processor_lacks_is_an_error(monkeypatch, tmp_path):
    processor(monkeypatch, tmp_path, "flags : fpu avx512_bf16\n")
    with pytest.raises(EnvironmentProblem, match=r"int8 needs a processor with int8 .* set .*precision=bf16 or fp32"):
        choose_backend(runtime_of(Precision.int8), "cpu")
    processor(monkeypatch, tmp_path, "flags : fpu avx512_vnni\n")
    for precision in (Precision.bf16, Precision.int8):
        with pytest.raises(
            EnvironmentProblem, match=f"{precision.name} needs bfloat16 arithmetic, which this cpu lacks"
        ):
            choose_backend(runtime_of(precision), "cpu")
    assert choose_backend(runtime_of(Precision.fp32), "cpu") is Backend.torch


def test_a_device_that_openvino_does_not_run_on_is_an_error(monkeypatch):
    monkeypatch.setattr(choice, "has_bf16", lambda device: True)
    with pytest.raises(EnvironmentProblem, match=r"device=auto took CUDA; set runtime.device=cpu"):
        choose_backend(runtime_of(backend=Backend.openvino, device="auto"), "cuda")
    with pytest.raises(EnvironmentProblem, match="int8 runs on processors, not on cuda"):
        choose_backend(runtime_of(Precision.int8, device="auto"), "cuda")


def test_auto_takes_packed_texts_for_bf16_on_cuda_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(choice, "has_bf16", lambda device: True)
    with caplog.at_level(logging.INFO, logger="retrieval.lanes.choice"):
        assert choose_backend(runtime_of(Precision.bf16, device="auto"), "cuda") is Backend.packed
    assert "backend=packed (bf16 on CUDA)" in caplog.text
    assert choose_backend(runtime_of(Precision.fp32, device="auto"), "cuda") is Backend.torch
    assert choose_backend(runtime_of(Precision.bf16, Backend.torch, device="auto"), "cuda") is Backend.torch
    assert choose_backend(runtime_of(Precision.fp32, Backend.packed), "cpu") is Backend.packed
    with pytest.raises(EnvironmentProblem, match=r"packed computes in bf16 on CUDA, got runtime.precision=fp32; set"):
        choose_backend(runtime_of(Precision.fp32, Backend.packed, device="auto"), "cuda")


def openers(refusal):
    """Lanes that are only named; all but torch's refuse."""

    def refused():
        raise refusal

    return {Backend.torch: lambda: "torch", Backend.openvino: refused, Backend.packed: refused}


@pytest.mark.parametrize("refusal", [ConfigError("it pools by max"), EnvironmentProblem("torch has no attention")])
@pytest.mark.parametrize(("device", "taken"), [("cpu", "openvino"), ("cuda", "packed")])
def test_what_auto_cannot_have_runs_in_torch_and_the_reason_is_said(monkeypatch, caplog, refusal, device, taken):
    monkeypatch.setattr(choice, "has_bf16", lambda device: True)
    assert open_lane(runtime_of(Precision.bf16, device="auto"), device, openers(refusal)) == "torch"
    assert [record.message for record in caplog.records] == [f"backend=torch instead of {taken} ({refusal})"]
    with pytest.raises(type(refusal), match=str(refusal)):  # asked for: an error
        open_lane(runtime_of(Precision.bf16, Backend[taken], device="auto"), device, openers(refusal))
    if device == "cpu":
        with pytest.raises(type(refusal), match=str(refusal)):  # torch has no int8
            open_lane(runtime_of(Precision.int8), device, openers(refusal))


def test_settings_that_exclude_each_other_are_refused_at_once():
    with pytest.raises(ValueError, match=r"int8 runs on processors with openvino, got runtime.backend=torch"):
        runtime_of(Precision.int8, Backend.torch)
    with pytest.raises(ValueError, match=r"int8 runs on processors with openvino, got runtime.backend=packed"):
        runtime_of(Precision.int8, Backend.packed)
    with pytest.raises(ValueError, match=r"int8 runs on processors .* runtime.device=cuda"):
        runtime_of(Precision.int8, device="cuda")
    with pytest.raises(ValueError, match=r"backend=openvino runs on processors, got runtime.device=cuda"):
        runtime_of(backend=Backend.openvino, device="cuda")


def test_openvino_is_imported_without_its_telemetry_and_writes_nothing_at_home(tmp_path):
    program = """
import sys
from retrieval.lanes.openvino_package import load_openvino
load_openvino().Core()
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry") and sys.modules[name]))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert list(home.iterdir()) == []


def test_rows_become_a_rectangle_with_padding_at_the_end():
    rows = [np.array([5, 6, 7], np.int32), np.array([8], np.int32), np.array([], np.int32)]
    tokens, mask = dense_batch(LaneInput(rows), pad_token=9)
    assert tokens.tolist() == [[5, 6, 7], [8, 9, 9], [9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert (tokens.dtype, mask.dtype) == (np.int32, np.float32)
