"""The whole chain with the index on a device, and without one. The device is the CPU: the code is the same."""

import pytest
import torch

from indexing import faiss_gpu
from indexing.errors import EnvironmentProblem
from retrieval import tiled_proposals
from shortlist import SearchEngine
from shortlist.building.job import build

QUERIES = ["red mouse", "usb charger", "shoes", "laptop sleeve", "black keyboard"]


@pytest.fixture
def device(monkeypatch):
    """A torch that sees a device, on which the CPU does the work."""
    on_torch_device = tiled_proposals.on_torch_device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 0)
    monkeypatch.setattr(tiled_proposals, "on_torch_device", lambda index, device: on_torch_device(index, "cpu"))


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(faiss_gpu, "device_count", lambda: 0)


@pytest.mark.usefixtures("device")
def test_an_engine_answers_from_a_device_as_from_the_cpu(bundle):
    on_cpu = SearchEngine.open(bundle, device="cpu")
    on_device = SearchEngine.open(bundle, device="cpu", index_device="cuda")
    for query in QUERIES:
        for filters in (None, [("price", "<", 50.0)]):
            expected, found = (engine.search(query, k=20, filters=filters) for engine in (on_cpu, on_device))
            assert [(hit.product_id, hit.score, hit.stages) for hit in found.hits] == [
                (hit.product_id, hit.score, hit.stages) for hit in expected.hits
            ]


@pytest.mark.usefixtures("device")
def test_upserts_and_deletes_are_seen_on_a_device(bundle):
    engine = SearchEngine.open(bundle, device="cpu", index_device="cuda")
    first = engine.search("red mouse", k=1).hits[0].product_id
    engine.delete([first])
    assert engine.search("red mouse", k=1).hits[0].product_id != first


@pytest.mark.usefixtures("no_device")
def test_an_engine_asked_for_a_device_that_is_absent_does_not_open(bundle):
    with pytest.raises(EnvironmentProblem, match="index_device=cuda, but neither FAISS nor torch sees a CUDA device"):
        SearchEngine.open(bundle, device="cpu", index_device="cuda")
    assert SearchEngine.open(bundle, device="cpu", index_device="auto").search("red mouse", k=1).hits


@pytest.mark.usefixtures("no_device")
def test_a_build_asked_for_a_device_that_is_absent_ends_before_it_reads(build_config, tmp_path):
    with pytest.raises(EnvironmentProblem, match="index_device=cuda, but neither FAISS nor torch sees a CUDA device"):
        build(build_config("runtime.index_device=cuda"), source=tmp_path / "nothing", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_device_for_the_index_is_refused(bundle):
    with pytest.raises(ValueError, match=r"runtime\.index_device must be auto, cpu or cuda, got 'gpu'"):
        SearchEngine.open(bundle, index_device="gpu")
