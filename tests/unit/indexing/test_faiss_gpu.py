"""FAISS on a device, with a FAISS that behaves like one built for CUDA as far as its sources say."""

import threading
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from indexing import faiss_gpu
from indexing.errors import EnvironmentProblem


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Copy:
    """A copy on a device: no more than 2,048 rows, a selector ignored, one caller at a time."""

    def __init__(self, index):
        self.index, self.inside, self.most_inside = index, 0, 0
        self.cp = SimpleNamespace(seed=1234)
        self.trained_with = None

    def search(self, queries, k, params=None):
        if k > 2048:
            raise RuntimeError("k must be <= 2048")
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        threading.Event().wait(0.001)
        self.inside -= 1
        return self.index.search(queries, k)

    def train(self, vectors):
        self.trained_with = self.cp.seed
        self.index.train(vectors)

    def add(self, vectors):
        self.index.add(vectors)


@pytest.fixture
def device(monkeypatch):
    """A FAISS with one device, without cuVS."""
    built = SimpleNamespace(
        __version__="1.15.1",
        get_num_gpus=lambda: 1,
        StandardGpuResources=lambda: "resources",
        index_cpu_to_gpu=lambda resources, number, index: Copy(index),
        index_gpu_to_cpu=lambda copy: copy.index,
        METRIC_INNER_PRODUCT=faiss.METRIC_INNER_PRODUCT,
    )
    monkeypatch.setattr(faiss_gpu, "faiss", built)
    return built


class Cagra:
    """Records how it was made; a graph has no ``add``."""

    def __init__(self, resources, dim, metric, config):
        self.made = (resources, dim, metric, config.graph_degree, config.intermediate_graph_degree)

    def train(self, vectors):
        self.vectors = vectors


@pytest.fixture
def cuvs(device):
    """The same with cuVS."""
    device.GpuIndexCagra = Cagra
    device.GpuIndexCagraConfig = SimpleNamespace
    device.SearchParametersCagra = SimpleNamespace
    return device


def test_the_faiss_for_the_cpu_has_no_device_and_takes_no_kind():
    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS is built for CUDA")
    assert faiss_gpu.device_count() == 0
    assert not faiss_gpu.takes("flat")


def test_a_device_asked_of_the_faiss_for_the_cpu_is_an_error_that_says_what_to_install():
    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS is built for CUDA")
    with pytest.raises(
        EnvironmentProblem,
        match=rf"FAISS {faiss.__version__} is built for the CPU; install the extra gpu .* runtime\.index_device=cpu",
    ):
        faiss_gpu.copied(faiss.IndexFlatIP(4), "flat")


def test_a_faiss_for_cuda_without_a_device_is_another_error(device):
    device.get_num_gpus = lambda: 0
    with pytest.raises(EnvironmentProblem, match=r"FAISS 1\.15\.1 sees no CUDA device; install"):
        faiss_gpu.require_device()


@pytest.mark.parametrize(
    ("kind", "taken"), [("flat", True), ("ivf_sq8", True), ("ivf_pq", True), ("hnsw", False), ("hnsw_sq8", False)]
)
def test_without_cuvs_flat_indexes_and_lists_go_to_the_device(device, kind, taken):
    assert faiss_gpu.takes(kind) is taken


def test_with_cuvs_graphs_do_too(cuvs):
    assert faiss_gpu.takes("hnsw")
    assert not faiss_gpu.takes("hnsw_sq8")


def test_a_copy_finds_what_the_index_finds(device):
    vectors = unit_rows(300, 8)
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    scores, numbers = faiss_gpu.copied(index, "flat").search(vectors[:5], 10, params=None)
    expected = index.search(vectors[:5], 10)
    assert np.array_equal(numbers, expected[1])
    assert np.array_equal(scores, expected[0])


def test_a_kind_that_cannot_be_copied_is_refused_by_name(device):
    with pytest.raises(ValueError, match="FAISS copies flat, ivf_sq8, ivf_pq to a device, got hnsw"):
        faiss_gpu.copied(faiss.IndexHNSWFlat(8, 4), "hnsw")


@pytest.mark.parametrize(
    ("fetch", "probes", "can"), [(2048, 0, True), (2049, 0, False), (10, 2048, True), (10, 2049, False)]
)
def test_a_search_of_more_than_2048_rows_or_lists_is_not_one_for_the_device(device, fetch, probes, can):
    assert faiss_gpu.copied(faiss.IndexFlatIP(4), "flat").can(fetch, probes=probes) is can


def test_threads_take_turns_on_a_device(device):
    vectors = unit_rows(50, 8)
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    copy = faiss_gpu.copied(index, "flat")
    threads = [threading.Thread(target=copy.search, args=(vectors[:2], 3), kwargs={"params": None}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert copy.index.most_inside == 1


def test_lists_are_trained_on_the_device_with_the_indexs_own_seed_and_come_back(device):
    index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(8), 8, 4, faiss.ScalarQuantizer.QT_8bit)
    index.cp.seed = 77
    worker = faiss_gpu.trainer(index, "ivf_sq8")
    worker.train(unit_rows(400, 8))
    worker.add(unit_rows(400, 8))
    assert worker.trained_with == 77
    back = faiss_gpu.trained(worker)
    assert back is index
    assert back.ntotal == 400


@pytest.mark.parametrize("kind", ["flat", "hnsw", "hnsw_sq8", "ivf_rabitq"])
def test_other_kinds_are_filled_where_they_are(device, kind):
    index = faiss.IndexFlatIP(8)
    assert faiss_gpu.trainer(index, kind) is index
    assert faiss_gpu.trained(index) is index


def test_a_graph_on_a_device_needs_cuvs(device):
    with pytest.raises(EnvironmentProblem, match=r"FAISS 1\.15\.1 is built without cuVS; install faiss-gpu-cuvs"):
        faiss_gpu.graph([unit_rows(10, 8)], 8, links=16)


def test_a_graph_is_built_over_all_vectors_by_inner_product(cuvs):
    vectors = unit_rows(90, 8)
    made = faiss_gpu.graph([vectors[:50], vectors[50:]], 8, links=16)
    assert made.index.made == ("resources", 8, faiss.METRIC_INNER_PRODUCT, 32, 64)
    assert np.array_equal(made.index.vectors, vectors)
    assert made.can(512)
    assert not made.can(513)


@pytest.mark.parametrize(("beam", "width"), [(1, 32), (64, 64), (65, 96), (400, 416), (4000, 512)])
def test_the_beam_of_a_graph_on_a_device_is_a_multiple_of_32_within_its_limit(cuvs, beam, width):
    assert faiss_gpu.graph_parameters(beam).itopk_size == width
