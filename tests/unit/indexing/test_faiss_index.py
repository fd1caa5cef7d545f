"""Building an index: what is resolved, what is refused, what is promised about threads and seeds."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from indexing import build_index, open_index
from indexing.config import AutoConfig, FlatConfig, HnswConfig, IndexConfig, IvfPqConfig, IvfSq8Config
from indexing.errors import ArtifactCorrupt, ConfigError, VectorError
from indexing.exact import ExactIndex
from indexing.recall import recall_at
from indexing.vectors import ArrayVectors


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def build(config, count=300, dim=16, **options):
    return build_index(config, ArrayVectors(unit_rows(count, dim)), **options)


def test_the_record_says_what_was_built_and_from_what():
    import faiss

    record = build(IvfSq8Config(), threads=1).record
    assert (record.plan.kind, record.count, record.distinct, record.dim) == ("ivf_sq8", 300, 300, 16)
    assert record.plan.parameters == {"lists": 69, "probes": 35, "refine_factor": 2.0, "seed": 7}
    assert (record.faiss, record.threads) == (faiss.__version__, 1)
    assert len(record.vectors_sha256) == 64


@pytest.mark.parametrize(
    ("config", "count", "lists", "probes"),
    [
        (IvfSq8Config(), 1, 1, 1),
        (IvfSq8Config(), 10, 10, 8),
        (IvfSq8Config(), 100, 40, 20),
        (IvfSq8Config(lists=8, probes=3), 100, 8, 3),
        (IvfSq8Config(lists=8), 100, 8, 8),
    ],
)
def test_lists_and_probes_follow_the_number_of_vectors(config, count, lists, probes):
    parameters = build(config, count).record.plan.parameters
    assert (parameters["lists"], parameters["probes"]) == (lists, probes)


def test_more_lists_than_vectors_are_shrunk_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING, "indexing"):
        parameters = build(IvfSq8Config(lists=50, probes=40), count=20).record.plan.parameters
    assert (parameters["lists"], parameters["probes"]) == (20, 20)
    assert "index.lists=50 is more than the 20 distinct vectors: 20 lists are made" in caplog.text


@pytest.mark.parametrize(("dim", "code_bytes"), [(16, 2), (24, 3), (20, 2), (7, 1), (64, 8), (384, 48)])
def test_code_bytes_default_to_an_eighth_of_the_dimension_or_the_divisor_below(dim, code_bytes):
    from indexing.faiss_kinds import plan

    assert plan(IvfPqConfig(), count=256, dim=dim).parameters["code_bytes"] == code_bytes


def test_code_bytes_that_do_not_divide_the_dimension_are_refused_with_those_near():
    message = r"index\.code_bytes=100 does not divide the dimension 384; near it are \[96, 128\]"
    with pytest.raises(ConfigError, match=message.replace(r"\[96, 128\]", r"\[64, 96, 128\]")):
        build(IvfPqConfig(code_bytes=100), dim=384)


def test_product_quantisation_of_too_few_vectors_is_refused_with_the_way_out():
    message = r"index=ivf_pq needs at least 256 distinct vectors to train its codes, got 255; use index=flat"
    with pytest.raises(ConfigError, match=message):
        build(IvfPqConfig(), count=255)
    assert build(IvfPqConfig(), count=256).count == 256


def test_no_vectors_and_bad_vectors_are_refused():
    with pytest.raises(VectorError, match="expected at least one vector to index, got none; is the catalogue empty"):
        build(FlatConfig(), count=0)
    vectors = unit_rows(3, 4)
    vectors[1] = np.nan
    with pytest.raises(VectorError, match="1 of 3 vectors cannot be indexed: row 1 is not finite"):
        build_index(FlatConfig(), ArrayVectors(vectors))


def test_a_configuration_of_no_kind_is_refused():
    with pytest.raises(ConfigError, match=r"configuration of one of flat, hnsw, .*, got IndexConfig"):
        build(IndexConfig())


def test_auto_is_resolved_and_its_reason_is_logged(caplog):
    with caplog.at_level(logging.INFO, "indexing"):
        record = build(AutoConfig(memory_gb=1)).record
    assert record.plan.kind == "flat"
    assert "index=auto: flat for 300 vectors of dimension 16: up to 100,000 vectors" in caplog.text


@pytest.mark.parametrize("config", [FlatConfig(), HnswConfig(), IvfSq8Config(), IvfPqConfig()])
def test_with_one_thread_the_same_input_gives_the_same_file(config, tmp_path):
    first = build(config, threads=1).write(tmp_path / "first")
    second = build(config, threads=1).write(tmp_path / "second")
    assert first["faiss.index"] == second["faiss.index"]


@pytest.mark.parametrize("kind", [HnswConfig, IvfSq8Config, IvfPqConfig])
def test_another_seed_gives_another_index(kind, tmp_path):
    first = build(kind(seed=1), threads=1).write(tmp_path / "first")
    second = build(kind(seed=2), threads=1).write(tmp_path / "second")
    assert first["faiss.index"] != second["faiss.index"]


def test_threads_are_given_to_faiss_and_zero_leaves_them():
    import faiss

    build(FlatConfig(), count=2, threads=2)
    assert faiss.omp_get_max_threads() == 2
    build(FlatConfig(), count=2, threads=0)
    assert faiss.omp_get_max_threads() == 2
    build(FlatConfig(), count=2, threads=1)
    assert faiss.omp_get_max_threads() == 1


def test_a_query_that_faiss_would_answer_with_nothing_is_refused():
    index = build(FlatConfig())
    with pytest.raises(VectorError, match="1 of 1 query vectors are not finite"):
        index.search(np.full((1, 16), np.nan, np.float32), 3)
    with pytest.raises(VectorError, match="expected vectors of dimension 16, got 8"):
        index.search(np.ones((1, 8), np.float32), 3)
    with pytest.raises(ValueError, match="k must be at least 1, got -1"):
        index.search(np.ones((1, 16), np.float32), -1)


def test_a_tie_rank_of_another_length_is_refused_before_the_build():
    with pytest.raises(ValueError, match=r"expected tie_rank as int64 \[300\], got int64 \[2\]"):
        build(FlatConfig(), tie_rank=np.arange(2))


@pytest.mark.parametrize(("kind", "values"), [("ivf_sq8", {"lists": 1}), ("hnsw", {}), ("flat", {"links": 3})])
def test_parameters_of_another_kind_are_refused(kind, values):
    from indexing.faiss_kinds import checked_plan

    with pytest.raises(ValueError, match=f"no kind of index is '{kind}' with parameters"):
        checked_plan(kind, values)


def test_parameters_that_are_not_numbers_are_refused():
    from indexing.faiss_kinds import checked_plan

    values = {"lists": 4, "probes": "all", "refine_factor": 2.0, "seed": 7}
    with pytest.raises(ValueError, match=r"probes of ivf_sq8 must be a number from 0 to 2147483647, got 'all'"):
        checked_plan("ivf_sq8", values)


class NoisyIndex:
    """Proposes by scores that are off by up to 4e-6, and notes how many queries it was given at a time."""

    def __init__(self, matrix):
        self.matrix, self.noise, self.batches = matrix, np.random.default_rng(0).uniform(-4e-6, 4e-6, len(matrix)), []

    def search_c(self, count, queries, fetch, scores, numbers, parameters):
        import faiss

        dim = self.matrix.shape[1]
        self.batches.append(count)
        everything = faiss.rev_swig_ptr(queries, count * dim).reshape(count, dim) @ self.matrix.T + self.noise
        best = np.argsort(-everything, axis=1)[:, :fetch]
        faiss.rev_swig_ptr(scores, count * fetch)[:] = np.take_along_axis(everything, best, axis=1).ravel()
        faiss.rev_swig_ptr(numbers, count * fetch)[:] = best.ravel()


def test_scores_that_differ_by_less_than_the_error_of_faiss_do_not_mislead_the_cut():
    steps = np.float32(0.6) + np.arange(200, dtype=np.float32) * np.float32(6e-8)  # a float32 step at 0.6
    matrix = np.stack([steps, np.sqrt(1 - steps**2)], axis=1).astype(np.float32)
    matrix = matrix[np.random.default_rng(1).permutation(200)]
    index = build_index(FlatConfig(), ArrayVectors(matrix))
    index._proposer = replace(index._proposer, index=NoisyIndex(matrix))
    query = np.array([[1, 0]], np.float32)
    assert np.array_equal(index.search(query, 10).rows[0], np.argsort(-matrix[:, 0], kind="stable")[:10])


@pytest.mark.parametrize("config", [HnswConfig(), IvfSq8Config(), IvfPqConfig()])
def test_faiss_never_sees_a_batch_in_which_scores_depend_on_the_neighbours(config):
    import faiss

    vectors = unit_rows(300, 256)
    index = build_index(config, ArrayVectors(vectors))
    spy = NoisyIndex(vectors)
    index._proposer = replace(index._proposer, index=spy)
    index.search(unit_rows(700, 256, seed=1), 3)
    assert sum(spy.batches) >= 700
    assert max(spy.batches) * 256 < faiss.cvar.distance_compute_blas_threshold


def test_a_dimension_beyond_the_batch_limit_is_searched_one_query_at_a_time():
    vectors = np.zeros((3, 70_000), np.float32)
    vectors[:, :3] = np.eye(3)
    index = build_index(IvfSq8Config(), ArrayVectors(vectors))
    assert index.search(vectors, 1).rows.tolist() == [[0], [1], [2]]


def test_what_is_fetched_beyond_the_beam_of_a_graph_is_still_found():
    index = build(HnswConfig(ef_search=1), count=1000, dim=4)
    assert (index.search(unit_rows(5, 4, seed=1), 200).rows >= 0).all()


@pytest.mark.parametrize("config", [FlatConfig(), HnswConfig(), IvfSq8Config(), IvfPqConfig()])
def test_many_threads_get_the_answers_that_one_gets(config):
    from concurrent.futures import ThreadPoolExecutor

    index, queries = build(config, count=1000), unit_rows(200, 16, seed=1)
    alone = [index.search(query[np.newaxis], 10 + place % 90).rows for place, query in enumerate(queries)]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(
            lambda place: index.search(queries[place : place + 1], 10 + place % 90).rows, range(len(queries))
        )
        assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


# --- the same index searched otherwise --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "narrow", "wide"),
    [
        (HnswConfig(links=16, ef_construction=40), {"ef_search": 1}, {"ef_search": 2_000}),
        (IvfSq8Config(), {"probes": 1}, {"probes": 179}),
    ],
)
def test_a_tuned_index_searches_by_other_parameters_and_leaves_the_first_as_it_was(config, narrow, wide):
    index = build(config, count=2_000, dim=32)
    queries = unit_rows(20, 32, seed=1)
    exact = ExactIndex(ArrayVectors(unit_rows(2_000, 32))).search(queries, 10)
    before = index.search(queries, 10)
    little = recall_at(10, index.tuned(**narrow).search(queries, 10), exact)
    assert little < 0.9
    assert recall_at(10, index.tuned(**wide).search(queries, 10), exact) == 1.0
    assert (index.search(queries, 10).rows == before.rows).all()
    assert index.record.plan.parameters == build(config, count=2_000, dim=32).record.plan.parameters


def test_only_what_a_kind_is_searched_by_can_be_tuned():
    with pytest.raises(ValueError, match=r"flat is searched by none, got ef_search"):
        build(FlatConfig()).tuned(ef_search=10)
    with pytest.raises(ValueError, match=r"ivf_sq8 is searched by probes, refine_factor, got lists"):
        build(IvfSq8Config()).tuned(lists=3)
    with pytest.raises(ValueError, match=r"search parameters must be at least 1, got \{'ef_search': 0\}"):
        build(HnswConfig()).tuned(ef_search=0)


@pytest.mark.parametrize("config", [FlatConfig(), HnswConfig(), IvfSq8Config()])
def test_the_size_of_an_index_is_that_of_its_file_and_of_the_numbering_of_its_rows(config, tmp_path):
    vectors = np.concatenate([unit_rows(300, 16), unit_rows(50, 16)])  # the last 50 stand there twice
    index = build_index(config, ArrayVectors(vectors))
    written = index.write(tmp_path / "index")
    assert index.size_bytes == written["faiss.index"].size_bytes + 8 * (350 + 350 + 301) + 300


def test_rows_that_all_differ_are_numbered_without_further_arrays():
    index = build(FlatConfig(), count=200, dim=16)
    assert index.size_bytes == build(FlatConfig(), count=100, dim=16).size_bytes + 100 * (16 * 4 + 8)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_that_holds_its_vectors_is_not_opened_over_the_same_in_another_order(tmp_path, kind):
    matrix = np.random.default_rng(7).standard_normal((300, 16)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    config = FlatConfig() if kind == "flat" else HnswConfig()
    build_index(config, ArrayVectors(matrix)).write(tmp_path / "index")
    with pytest.raises(ArtifactCorrupt, match="holds another vector for row 0 than the one given"):
        open_index(tmp_path / "index", ArrayVectors(np.roll(matrix, 1, axis=0)), verify=False)
