"""A device that was asked for is never replaced, and what was chosen is said."""

import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from indexing.errors import EnvironmentProblem
from indexing.threads import set_budget
from retrieval import runtime
from retrieval.config import Precision, RuntimeConfig
from retrieval.runtime import autocast, available_cores, choose_device, has_bf16, set_threads


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def threads_kept():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    set_budget(before)


def test_auto_without_cuda_takes_the_cpu_and_says_why(no_cuda, caplog):
    with caplog.at_level(logging.INFO, logger="retrieval.runtime"):
        assert choose_device(RuntimeConfig(device="auto")) == "cpu"
    assert f"device=cpu (no CUDA device; torch {torch.__version__} is built" in caplog.text


def test_auto_with_cuda_takes_it_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    with caplog.at_level(logging.INFO, logger="retrieval.runtime"):
        assert choose_device(RuntimeConfig(device="auto")) == "cuda"
    assert "device=cuda (a card)" in caplog.text


def test_cuda_that_is_not_there_is_an_error(no_cuda):
    with pytest.raises(EnvironmentProblem, match=r"runtime\.device=cuda, but there is no CUDA device .*device=cpu"):
        choose_device(RuntimeConfig(device="cuda"))


def test_cpu_is_taken_without_looking_for_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("looked"))
    assert choose_device(RuntimeConfig(device="cpu")) == "cpu"


def test_threads_are_what_was_asked_or_every_core(threads_kept):
    assert set_threads(RuntimeConfig(threads=1)) == torch.get_num_threads() == 1
    assert set_threads(RuntimeConfig(threads=0)) == torch.get_num_threads() == available_cores()
    assert available_cores() == len(os.sched_getaffinity(0))


def test_the_tokenizers_are_told_a_number_that_was_asked_for_unless_somebody_told_them_before(
    threads_kept, monkeypatch
):
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    set_threads(RuntimeConfig(threads=0))
    assert "RAYON_NUM_THREADS" not in os.environ
    set_threads(RuntimeConfig(threads=2))
    set_threads(RuntimeConfig(threads=3))
    assert os.environ["RAYON_NUM_THREADS"] == "2"
    monkeypatch.delenv("RAYON_NUM_THREADS")


def test_one_model_is_loaded_at_a_time():
    inside, most = [], []

    def load(number):
        with runtime.loading():
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, range(8)))
    assert most == [1] * 8


def test_weights_are_copied_and_tied_ones_stay_one():
    tied = torch.nn.Linear(2, 2, bias=False)
    model = torch.nn.ModuleList([tied, tied, torch.nn.BatchNorm1d(2)])
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    runtime.own_weights(model)
    for name, tensor in model.state_dict().items():
        pointer, values = before[name]
        assert tensor.data_ptr() != pointer
        assert torch.equal(tensor, values)
    assert model[0].weight is model[1].weight


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f amx_bf16 amx_tile", True), ("asimd bf16 sve", True), ("fpu avx2 bf16x", False)],
)
def test_bf16_is_read_from_the_processor(flags, expected, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(runtime, "CPU_FLAGS", tmp_path / "cpuinfo")
    assert has_bf16("cpu") is expected


def test_a_machine_that_says_nothing_of_its_processor_has_no_bf16(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "CPU_FLAGS", tmp_path / "absent")
    assert has_bf16("cpu") is False


def test_bf16_multiplies_in_bf16_and_fp32_does_not():
    matrix = torch.ones(4, 4)
    with autocast("cpu", Precision.bf16):
        assert (matrix @ matrix).dtype is torch.bfloat16
    with autocast("cpu", Precision.fp32):
        assert (matrix @ matrix).dtype is torch.float32
    assert isinstance(autocast("cpu", Precision.fp32), contextlib.nullcontext)


def test_bars_are_as_they_were_after_a_quiet_block():
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    with runtime.without_bars():
        assert not transformers_logging.is_progress_bar_enabled()
    assert transformers_logging.is_progress_bar_enabled() is shown
