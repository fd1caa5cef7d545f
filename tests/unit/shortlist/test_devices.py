"""Which device the dense index is searched on, and what is said when it cannot be had."""

import logging

import numpy as np
import pytest
import torch

from indexing import ArrayVectors, build_index, faiss_gpu
from indexing.config import FlatConfig, HnswConfig
from indexing.errors import EnvironmentProblem
from retrieval import tiled_proposals
from retrieval.config import RuntimeConfig
from shortlist.devices import on_index_device, require_index_device, training_device

MATRIX = np.eye(16, dtype=np.float32)


@pytest.fixture
def index():
    return build_index(FlatConfig(), ArrayVectors(MATRIX))


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 0)


@pytest.fixture
def torch_device(monkeypatch):
    """A torch that sees a device, on which the CPU does the work; a FAISS that sees none."""
    on_torch_device = tiled_proposals.on_torch_device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 0)
    monkeypatch.setattr(tiled_proposals, "on_torch_device", lambda index, device: on_torch_device(index, "cpu"))


def test_by_default_the_index_stays_where_it_is(index):
    assert RuntimeConfig().index_device == "cpu"
    assert on_index_device(index, RuntimeConfig(device="auto")) is index


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match=r"runtime\.index_device must be auto, cpu or cuda, got 'gpu'"):
        RuntimeConfig(index_device="gpu")


@pytest.mark.usefixtures("nothing")
def test_a_device_that_was_asked_for_and_is_absent_is_an_error(index):
    runtime = RuntimeConfig(index_device="cuda")
    for ask in (require_index_device, lambda runtime: on_index_device(index, runtime)):
        with pytest.raises(
            EnvironmentProblem,
            match=r"index_device=cuda, but neither FAISS nor torch sees a CUDA device; set runtime\.index_device=cpu",
        ):
            ask(runtime)


@pytest.mark.usefixtures("nothing")
def test_auto_stays_on_the_cpu_where_there_is_no_device_and_says_so(index, caplog):
    with caplog.at_level(logging.INFO, logger="shortlist.devices"):
        assert on_index_device(index, RuntimeConfig(index_device="auto")) is index
    assert "index_device=cpu (runtime.index_device=cuda, but neither FAISS nor torch sees a CUDA device" in caplog.text
    require_index_device(RuntimeConfig(index_device="auto"))


@pytest.mark.usefixtures("torch_device")
@pytest.mark.parametrize("asked", ["cuda", "auto"])
def test_without_a_faiss_for_cuda_the_index_is_searched_through_torch(index, asked, caplog):
    with caplog.at_level(logging.INFO, logger="shortlist.devices"):
        placed = on_index_device(index, RuntimeConfig(index_device=asked))
    assert placed.proposer.tiled.count == 16
    assert placed.search(MATRIX[3:4], 1).rows.tolist() == [[3]]
    assert "index_device=cuda (flat index, searched through torch, exactly)" in caplog.text


@pytest.mark.usefixtures("torch_device")
def test_vectors_that_do_not_fit_are_an_error_when_asked_for_and_a_reason_when_not(index, monkeypatch, caplog):
    def full(index, device):
        raise EnvironmentProblem("16 vectors of dimension 16 need 9.0 GiB")

    monkeypatch.setattr(tiled_proposals, "on_torch_device", full)
    with pytest.raises(EnvironmentProblem, match=r"16 vectors of dimension 16 need 9\.0 GiB"):
        on_index_device(index, RuntimeConfig(index_device="cuda"))
    with caplog.at_level(logging.INFO, logger="shortlist.devices"):
        assert on_index_device(index, RuntimeConfig(index_device="auto")) is index
    assert "index_device=cpu (16 vectors of dimension 16 need 9.0 GiB)" in caplog.text


@pytest.mark.usefixtures("torch_device")
def test_a_kind_that_faiss_cannot_search_on_a_device_goes_through_torch(monkeypatch):
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 1)
    graph = build_index(HnswConfig(), ArrayVectors(MATRIX))
    assert on_index_device(graph, RuntimeConfig(index_device="cuda")).proposer.tiled.count == 16


def test_a_build_trains_on_a_device_only_where_it_may_and_faiss_can(monkeypatch):
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 1)
    asked = [RuntimeConfig(index_device=name) for name in ("cpu", "auto", "cuda")]
    assert [training_device(runtime) for runtime in asked] == ["cpu", "cuda", "cuda"]
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 0)
    assert training_device(RuntimeConfig(index_device="cuda")) == "cpu"
