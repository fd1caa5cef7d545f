"""Recall of every index and under every filter equals what a plain count of the exact answer gives."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import build_index
from indexing.config import FlatConfig, HnswConfig, IvfPqConfig, IvfSq8Config
from indexing.types import Neighbors
from indexing.vectors import ArrayVectors
from shortlist.cost import CostSweepConfig, IndexKind
from shortlist.evaluation.cost.indexes import MeasuredIndex, curve_points, curves, every_index
from shortlist.evaluation.cost.noise import Judge
from shortlist.evaluation.cost.selectivity import (
    Filter,
    exact_among,
    filter_tasks,
    filtered_points,
    random_filters,
    shared_column,
    shared_filters,
)
from shortlist.evaluation.cost.turns import Timed

COUNT, DIM, K = 1_000, 16, 10
TIES = np.arange(COUNT, dtype=np.int64)
JUDGE = Judge(quiet_ms=1.0, tolerance=0.25)


def unit_rows(count, seed):
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ROWS, QUERIES = unit_rows(COUNT, 0), unit_rows(12, 1)
VECTORS = ArrayVectors(ROWS)


def best_rows(query, eligible=None):
    """Return the K best eligible rows by a plain sort, as a set."""
    scores = ROWS.astype(np.float64) @ query.astype(np.float64)
    if eligible is not None:
        scores[~eligible] = -np.inf
    possible = K if eligible is None else min(K, int(eligible.sum()))
    return set(np.argsort(-scores)[:possible].tolist())


def plain_recall(index, eligible=None):
    shares = []
    for query in QUERIES:
        wanted = best_rows(query, eligible)
        found = index.search(query[np.newaxis], K, eligible=eligible).rows[0]
        shares.append(len(wanted & set(found.tolist())) / len(wanted))
    return float(np.mean(shares))


def own(config):
    return MeasuredIndex(build_index(config, VECTORS, threads=1), own=True, build_s=0.5)


def sweep(**values):
    return CostSweepConfig(**({"index_k": K, "filter_k": K} | values))


# --- curves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (FlatConfig(), [0]),
        (HnswConfig(links=4, ef_construction=10, ef_search=12), [10, 12, 50]),  # 3 counts as the k that is asked for
        (IvfSq8Config(lists=20, probes=7), [1, 2, 7, 20]),
        (IvfPqConfig(lists=20, probes=7, code_bytes=2, refine_factor=1.0), [1, 2, 7, 20]),
    ],
)
def test_a_curve_has_the_recall_of_a_plain_count_at_every_value_and_marks_the_indexs_own(config, values):
    measured = own(config)
    points = curve_points(sweep(ef_search=[3, 50], probe_shares=[0.01, 0.1, 1.0]), [measured], VECTORS, QUERIES, TIES)
    assert [point.value for point in points] == values
    assert [point.value for point in points if point.chosen] == [v for v in values if v in (0, 12, 7)]
    name = "ef_search" if isinstance(config, HnswConfig) else "probes"
    for point in points:
        index = measured.index.tuned(**{name: point.value}) if point.value else measured.index
        assert point.recall == pytest.approx(plain_recall(index))
    assert [point.recall for point in points] == sorted(point.recall for point in points)
    if len(points) > 1:
        assert points[0].recall < 0.95
        assert points[0].recall < points[-1].recall


def test_a_curve_says_what_was_measured_of_what():
    measured = own(IvfSq8Config(lists=20, probes=7))
    points = curve_points(sweep(probe_shares=[1.0]), [measured], VECTORS, QUERIES, TIES)
    timed = {point.single.name: Timed([2.0, 4.0, 3.0], [1.0] * 3) for point in points}
    timed |= {point.batch.name: Timed([6.0, 24.0, 12.0], [1.0] * 3) for point in points}
    (curve,) = curves(points, timed, JUDGE, k=K)
    assert (curve.kind, curve.own, curve.parameter, curve.build_s) == ("ivf_sq8", True, "probes", 0.5)
    assert curve.fixed == {"lists": 20.0, "refine_factor": 2.0, "seed": 7.0}
    assert (curve.k, curve.queries, curve.count) == (K, 12, COUNT)
    assert curve.size_bytes == measured.index.size_bytes
    assert curve.bytes_per_vector == measured.index.size_bytes / COUNT
    assert curve.mapped_bytes_per_vector == 64
    assert [point.latency.p50 for point in curve.points] == [3.0, 3.0]
    assert curve.points[0].queries_per_s == pytest.approx(1000.0)  # 12 queries in the median of 12 ms


def test_the_calls_of_a_point_ask_one_query_each_and_the_batch_asks_all():
    measured = own(FlatConfig())
    (point,) = curve_points(sweep(), [measured], VECTORS, QUERIES, TIES)
    alone = [call().rows[0].tolist() for call in point.single.calls]
    (together,) = [call() for call in point.batch.calls]
    assert alone == together.rows.tolist()
    assert [set(rows) for rows in alone] == [best_rows(query) for query in QUERIES]


def test_every_kind_is_built_once_and_one_that_cannot_be_is_named_with_the_reason():
    few = ArrayVectors(ROWS[:100])
    measured = MeasuredIndex(build_index(FlatConfig(), few), own=True, build_s=0.0)
    told = []
    found, skipped = every_index(
        sweep(kinds=list(IndexKind)), measured, few, tie_rank=TIES[:100], threads=1, advance=told.append
    )
    kinds = ["flat", "hnsw", "hnsw_sq8", "ivf_sq8", "ivf_rabitq"]
    assert [(index.kind, index.own) for index in found] == [(kind, kind == "flat") for kind in kinds]
    assert all(index.build_s > 0 for index in found[1:])
    assert [skip.what for skip in skipped] == ["index ivf_pq"]
    assert "at least 256 distinct vectors to train its codes, got 100" in skipped[0].why
    assert sum(told) == 6


# --- filters ----------------------------------------------------------------------------------------------------------


def test_random_filters_leave_the_shares_and_the_numbers_asked_for_each_once():
    config = sweep(filter_shares=[1.0, 0.1, 0.005, 0.0001], filter_rows=[5, 3, 9_999])
    filters = random_filters(config, COUNT)
    assert [kept.rows for kept in filters] == [1000, 100, 5, 3, 1]
    assert all(kept.kind == "random" for kept in filters)
    assert filters[1].label == "0.1 of all"
    again, other = random_filters(config, COUNT), random_filters(sweep(filter_shares=[0.1], seed=8), COUNT)
    assert (again[1].eligible == filters[1].eligible).all()
    assert (other[0].eligible != filters[1].eligible).any()


def test_the_category_nearest_to_a_share_stands_for_it_and_none_stands_twice():
    categories = ["a"] * 500 + ["b"] * 120 + ["c"] * 90 + ["d"] * 2 + [None] * 288
    filters, skipped = shared_filters(sweep(filter_shares=[1.0, 0.1, 0.09, 0.001]), "category", categories)
    # By ratio, .1 is nearer to 90 (/1.11) than to 120 (x1.2); then .09 has to take 120.
    assert [(kept.label, kept.rows) for kept in filters] == [
        ("category = c", 90), ("category = b", 120), ("category = d", 2),
    ]  # fmt: skip
    assert filters[2].eligible[710:712].all()
    assert skipped == []


def test_shares_beyond_the_categories_there_are_get_skipped_aloud():
    filters, skipped = shared_filters(sweep(filter_shares=[0.5, 0.1]), "brand", ["a", "a", None, ""])
    assert [kept.label for kept in filters] == ["brand = a"]
    assert [(skip.what, skip.why) for skip in skipped] == [
        ("filter by brand leaving 0.1", "the products have no further brand")
    ]


def test_the_column_that_alike_products_share_is_the_first_that_has_texts(tmp_path):
    path = tmp_path / "products.parquet"
    columns = {"category": pa.array([None, None], pa.string()), "price": [1.0, 2.0], "brand": ["Acme", None]}
    pq.write_table(pa.table(columns), path)
    assert shared_column(path, ["category", "price", "colour", "brand"]) == ("brand", ["Acme", None])
    assert shared_column(path, ["category", "price", "colour"]) is None


@pytest.mark.parametrize("rows", [COUNT, 100, 10, 1])
def test_the_exact_answer_among_the_eligible_is_that_of_a_plain_sort(rows):
    (kept,) = random_filters(sweep(filter_shares=[rows / COUNT], filter_rows=[]), COUNT)
    exact = exact_among(VECTORS, QUERIES, K, kept.eligible, tie_rank=TIES)
    for query, found in zip(QUERIES, exact.rows, strict=True):
        assert set(found[found >= 0].tolist()) == best_rows(query, kept.eligible)
    assert (exact.rows[:, min(K, rows) :] == -1).all()
    assert np.isinf(exact.scores[:, min(K, rows) :]).all()


@dataclass(frozen=True)
class AfterTheFact:
    """What a filter must not be: the best of all, those that are not eligible struck out or left in."""

    index: object
    strikes: bool
    record: object

    def search(self, queries, k, *, eligible=None):
        found = self.index.search(queries, k)
        if not self.strikes:
            return found
        keep = eligible[found.rows]
        return Neighbors(np.where(keep, found.scores, -np.inf).astype(np.float32), np.where(keep, found.rows, -1))


@pytest.mark.parametrize("config", [FlatConfig(), HnswConfig(), IvfSq8Config(), IvfPqConfig()])
def test_recall_under_a_filter_is_that_of_a_plain_count_and_nothing_forbidden_is_returned(config):
    measured = own(config)
    filters = random_filters(sweep(filter_shares=[1.0, 0.1, 0.01], filter_rows=[3]), COUNT)
    found = filter_tasks(sweep(), [measured], filters, VECTORS, QUERIES, TIES)
    assert [task.recall for task in found] == pytest.approx([plain_recall(measured.index, f.eligible) for f in filters])
    assert [(task.violations, task.short) for task in found] == [(0, 0)] * 4


def test_filtering_after_the_fact_shows_as_short_answers_and_no_filtering_as_violations():
    index = own(FlatConfig()).index
    eligible = np.zeros(COUNT, dtype=np.bool_)
    eligible[:200] = True
    kept = Filter("random", "the first 200", eligible)
    counts = [len(best_rows(query) & set(range(200))) for query in QUERIES]
    assert 0 < sum(counts) < 12 * K

    def measured(strikes):
        broken = AfterTheFact(index, strikes, index.record)
        return filter_tasks(sweep(), [MeasuredIndex(broken, own=False, build_s=0.0)], [kept], VECTORS, QUERIES, TIES)[0]

    struck, left_in = measured(True), measured(False)
    assert struck.violations == 0
    assert struck.short == sum(count < K for count in counts) > 0
    assert left_in.violations == 12 * K - sum(counts)
    assert left_in.short == 0
    assert struck.recall == pytest.approx(sum(counts) / (12 * K))
    assert left_in.recall == pytest.approx(struck.recall)


def test_an_answer_under_a_filter_is_timed_with_the_filter():
    measured = own(FlatConfig())
    (kept,) = random_filters(sweep(filter_shares=[0.01], filter_rows=[]), COUNT)
    (found,) = filter_tasks(sweep(), [measured], [kept], VECTORS, QUERIES, TIES)
    for call, query in zip(found.task.calls, QUERIES, strict=True):
        assert set(call().rows[0].tolist()) == best_rows(query, kept.eligible)
    (point,) = filtered_points([found], {found.task.name: Timed([2.0] * 3, [1.0] * 3)}, JUDGE, k=K)
    assert (point.kind, point.own, point.filter, point.label) == ("flat", True, "random", "0.01 of all")
    assert (point.eligible, point.share, point.k, point.queries) == (10, 0.01, K, 12)
    assert (point.recall, point.violations, point.short, point.latency.p50) == (1.0, 0, 0, 2.0)
