"""An index searched on a device against brute force, by value. The device is the CPU: the code is the same."""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from indexing import ArrayVectors, ExactIndex, build_index, faiss_gpu
from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfPqConfig, IvfRabitqConfig, IvfSq8Config
from indexing.device_proposals import on_faiss_device
from indexing.errors import EnvironmentProblem
from indexing.filter_plan import FilterPlan, Way
from indexing.filtered import FilteredSearch
from retrieval.tiled_proposals import on_torch_device

KINDS = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(),
    "hnsw_sq8": HnswSq8Config(),
    "ivf_sq8": IvfSq8Config(lists=8, probes=2),
    "ivf_rabitq": IvfRabitqConfig(lists=8, probes=2),
    "ivf_pq": IvfPqConfig(lists=8, probes=2, code_bytes=8),
}


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assert_same(found, expected):
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)


@pytest.fixture(scope="module", params=KINDS)
def searched(request):
    """Every kind with many equal vectors and a tie rank, searched through torch; and what brute force says."""
    rng = np.random.default_rng(0)
    matrix = unit_rows(1500, 32)
    matrix[rng.choice(1500, 300, replace=False)] = matrix[7]
    vectors, tie_rank = ArrayVectors(matrix), rng.permutation(1500)
    index = build_index(KINDS[request.param], vectors, tie_rank=tie_rank)
    return on_torch_device(index, "cpu"), ExactIndex(vectors, tie_rank=tie_rank), matrix


@pytest.mark.parametrize("k", [1, 20, 400, 1500, 2000])
def test_every_kind_becomes_exact_bit_for_bit(searched, k):
    index, exact, matrix = searched
    queries = np.concatenate([matrix[7:8], unit_rows(12, 32, seed=3) * 5, np.zeros((1, 32), np.float32)])
    assert_same(index.search(queries, k), exact.search(queries, k))


@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.9])
def test_every_kind_is_exact_among_eligible_rows(searched, share):
    index, exact, matrix = searched
    eligible = np.random.default_rng(5).random(1500) < share
    queries = np.concatenate([matrix[7:8], unit_rows(5, 32, seed=4)])
    for k in (1, 50, 1600):
        found, expected = index.search(queries, k, eligible=eligible), exact.search(queries, k, eligible=eligible)
        assert_same(found, expected)


def test_filters_are_answered_on_the_device(searched, monkeypatch):
    """Where more rows are eligible than a scan is worth, the selection is the device's."""
    index, exact, _ = searched
    asked = []
    search = type(index.proposer.tiled).search
    monkeypatch.setattr(
        type(index.proposer.tiled),
        "search",
        lambda self, *given, selected=None: (
            asked.append(selected is not None) or search(self, *given, selected=selected)
        ),
    )
    select = FilterPlan(Way.select, 1.0, 10)  # what is planned where more are eligible than a scan is worth
    monkeypatch.setattr(FilteredSearch, "plan", lambda self, eligible, *, k, queries=1: select)
    eligible = np.ones(1500, dtype=np.bool_)
    eligible[::50] = False
    assert_same(
        index.search(unit_rows(1, 32), 10, eligible=eligible), exact.search(unit_rows(1, 32), 10, eligible=eligible)
    )
    assert asked
    assert all(asked)


def test_an_index_on_a_device_says_and_writes_what_it_was_built_as(searched, tmp_path):
    index = searched[0]
    assert index.record.plan.kind in KINDS
    assert set(index.write(tmp_path / "index")) == {"faiss.index", "distinct.i64", "index.json"}
    assert index.size_bytes > 0
    assert index.widened(3.0).proposer.tiled is index.proposer.tiled


# --- FAISS on a device ------------------------------------------------------------------------------------------------


class Copy:
    """A copy on a device as FAISS's sources describe it: at most 2,048 rows, and a selector has no effect."""

    def __init__(self, index):
        self.index, self.asked = index, []

    def search(self, queries, k, params=None):
        if k > 2048 or getattr(params, "nprobe", 0) > 2048:
            raise RuntimeError("k and nprobe must be <= 2048")
        self.asked.append(k)
        if params is not None:
            params = faiss.SearchParametersIVF(nprobe=params.nprobe)
        return self.index.search(queries, k, params=params)


@pytest.fixture
def device(monkeypatch):
    """A FAISS with one device."""
    built = SimpleNamespace(
        __version__="1.15.1",
        get_num_gpus=lambda: 1,
        StandardGpuResources=lambda: None,
        index_cpu_to_gpu=lambda resources, number, index: Copy(index),
    )
    monkeypatch.setattr(faiss_gpu, "faiss", built)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("kind", ["flat", "ivf_sq8", "ivf_pq"])
def test_through_faiss_on_a_device_the_answers_are_those_of_the_cpu(kind):
    vectors, queries = ArrayVectors(unit_rows(3000, 32)), unit_rows(9, 32, seed=1)
    index = build_index(KINDS[kind], vectors)
    placed = on_faiss_device(index)
    for k in (1, 100, 2500, 3500):
        assert_same(placed.search(queries, k), index.search(queries, k))
    copy = placed.proposer.copy.index
    assert copy.asked
    assert max(copy.asked) <= 2048


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("kind", ["flat", "ivf_sq8"])
def test_a_filter_holds_though_the_device_ignores_selectors(kind):
    vectors, queries = ArrayVectors(unit_rows(3000, 32)), unit_rows(9, 32, seed=1)
    placed = on_faiss_device(build_index(KINDS[kind], vectors))
    for share in (0.9, 0.3, 0.01):
        eligible = np.random.default_rng(2).random(3000) < share
        found = placed.search(queries, 20, eligible=eligible)
        assert eligible[found.rows].all()
        if kind == "flat":
            assert_same(found, ExactIndex(vectors).search(queries, 20, eligible=eligible))


@pytest.mark.usefixtures("device")
def test_tuning_an_index_on_a_device_keeps_it_there():
    placed = on_faiss_device(build_index(KINDS["ivf_sq8"], ArrayVectors(unit_rows(500, 16))))
    wider = placed.tuned(probes=8)
    assert wider.proposer.copy is placed.proposer.copy
    assert wider.proposer.parameters.nprobe == 8
    assert wider.record.plan.parameters["probes"] == 8


@pytest.mark.usefixtures("device")
def test_lists_built_on_a_device_are_an_index_of_the_cpu(monkeypatch):
    trained = []
    monkeypatch.setattr(faiss_gpu, "trainer", lambda index, kind: trained.append(kind) or index)
    vectors = ArrayVectors(unit_rows(800, 16))
    index = build_index(KINDS["ivf_sq8"], vectors, device="cuda")
    assert trained == ["ivf_sq8"]
    assert index.search(unit_rows(2, 16), 5).rows.shape == (2, 5)
    build_index(KINDS["ivf_sq8"], vectors)
    assert trained == ["ivf_sq8"]


def test_lists_cannot_be_built_on_a_device_that_is_absent():
    with pytest.raises(EnvironmentProblem, match="a FAISS index on CUDA was asked for, but FAISS"):
        build_index(KINDS["ivf_sq8"], ArrayVectors(unit_rows(800, 16)), device="cuda")
