"""Filtered search against brute force: nothing forbidden, always k, and the recall of the unfiltered index.

Every kind of index, every way to answer, filters that are drawn at random, that follow the clusters of the vectors, and
that leave only what lies farthest from the query.
"""

from dataclasses import replace

import numpy as np
import pytest

from indexing import ArrayVectors, ExactIndex, build_index, filtered, recall_at
from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfPqConfig, IvfRabitqConfig, IvfSq8Config
from indexing.filter_plan import Way, every_way
from indexing.proposals import Proposer
from indexing.scores import score_rows

COUNT, DIM, K = 6_000, 32, 10
KINDS = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(links=16, ef_construction=80, ef_search=80),
    "hnsw_sq8": HnswSq8Config(ef_construction=80, ef_search=80),
    "ivf_sq8": IvfSq8Config(lists=64, probes=12),
    "ivf_pq": IvfPqConfig(lists=64, probes=12, code_bytes=16),
    "ivf_rabitq": IvfRabitqConfig(lists=64, probes=12),
}
SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)


def unit(rows):
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


class World:
    """Vectors in clusters with some of them equal, queries near others, and filters of every sort."""

    def __init__(self):
        rng = np.random.default_rng(3)
        centres = unit(rng.standard_normal((24, DIM)))
        self.cluster = rng.integers(0, 24, COUNT)
        self.matrix = unit(centres[self.cluster] + 0.15 * rng.standard_normal((COUNT, DIM)))
        self.matrix[rng.choice(COUNT, 300, replace=False)] = self.matrix[rng.choice(COUNT, 300)]
        self.queries = unit(self.matrix[rng.choice(COUNT, 12)] + 0.1 * rng.standard_normal((12, DIM)))
        self.tie_rank = rng.permutation(COUNT)
        self.rng = rng
        self.vectors = ArrayVectors(self.matrix)
        self.exact = ExactIndex(self.vectors, tie_rank=self.tie_rank)

    def random(self, share):
        eligible = np.zeros(COUNT, np.bool_)
        eligible[self.rng.choice(COUNT, max(1, round(share * COUNT)), replace=False)] = True
        return eligible

    def far(self, share):
        """What is left lies as far as can be from the first query, and so from all near it."""
        order = np.argsort(self.matrix @ self.queries[0])
        eligible = np.zeros(COUNT, np.bool_)
        eligible[order[: max(1, round(share * COUNT))]] = True
        return eligible

    def near(self, share):
        order = np.argsort(-(self.matrix @ self.queries[0]))
        eligible = np.zeros(COUNT, np.bool_)
        eligible[order[: max(1, round(share * COUNT))]] = True
        return eligible


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module", params=KINDS)
def index(request, world):
    return build_index(KINDS[request.param], world.vectors, tie_rank=world.tie_rank, threads=1)


def force(monkeypatch, way):
    """Answer every filter in one way, where the kind has it."""

    def plan(*arguments, **options):
        ways = {each.way: each for each in every_way(*arguments, **options)}
        return ways.get(way, ways[Way.select])

    monkeypatch.setattr(filtered, "plan_filter", plan)


def recall_of(world, index, eligible, *, k=K):
    """Hold one answer against brute force, row by row; return its recall."""
    found = index.search(world.queries, k, eligible=eligible)
    expected = world.exact.search(world.queries, k, eligible=eligible)
    there = min(k, np.count_nonzero(eligible))
    assert (found.rows[:, :there] >= 0).all()
    assert (found.rows[:, there:] == -1).all()
    assert eligible[found.rows[:, :there]].all()
    for query, rows, scores in zip(world.queries, found.rows[:, :there], found.scores, strict=True):
        assert len(set(rows.tolist())) == there
        assert np.array_equal(scores[:there], score_rows(query, world.matrix[rows]))
    return recall_at(k, found, expected)


@pytest.mark.parametrize("way", [None, *Way])
@pytest.mark.parametrize("filters", ["random", "far", "near"])
def test_a_filter_of_any_selectivity_is_kept_and_loses_no_recall(world, index, filters, way, monkeypatch):
    if way is not None:
        force(monkeypatch, way)
    for share in SHARES:
        assert recall_of(world, index, getattr(world, filters)(share)) >= 0.98


@pytest.mark.parametrize("way", list(Way))
def test_an_exact_index_is_exact_under_every_filter_in_every_way(world, way, monkeypatch):
    flat = build_index(FlatConfig(), world.vectors, tie_rank=world.tie_rank)
    force(monkeypatch, way)
    for share in SHARES:
        eligible = world.random(share)
        for k in (1, 10, 300):
            found, expected = (each.search(world.queries, k, eligible=eligible) for each in (flat, world.exact))
            assert np.array_equal(found.rows, expected.rows)
            assert np.array_equal(found.scores, expected.scores)


def test_equal_vectors_of_which_one_row_is_eligible_give_that_row_alone(world, index):
    numbers = np.unique(world.matrix, axis=0, return_inverse=True)[1].ravel()
    repeated = np.flatnonzero(np.bincount(numbers) > 1)[:20]
    eligible = world.random(0.5)
    for number in repeated:
        rows = np.flatnonzero(numbers == number)
        eligible[rows] = False
        eligible[rows[-1]] = True
    for way in Way:
        with pytest.MonkeyPatch.context() as patch:
            force(patch, way)
            found = index.search(
                world.matrix[[np.flatnonzero(numbers == n)[0] for n in repeated]], 1, eligible=eligible
            )
            assert found.rows[:, 0].tolist() == [np.flatnonzero(numbers == number)[-1] for number in repeated]


def test_the_answer_does_not_depend_on_the_batch(world, index):
    eligible = world.random(0.3)
    together = index.search(world.queries, K, eligible=eligible)
    with pytest.MonkeyPatch.context() as patch:
        for way in Way:  # a batch may be answered in another way, and an exact index must not show it
            force(patch, way)
            found = index.search(world.queries, K, eligible=eligible)
            alone = [index.search(query[np.newaxis], K, eligible=eligible).rows[0] for query in world.queries]
            assert np.array_equal(found.rows, alone)
    if index.record.plan.kind == "flat":
        assert np.array_equal(together.rows, alone)


class Deaf(Proposer):
    """An index that takes a selector and ignores it, as FAISS's GPU indexes without cuVS do."""

    def ask_among(self, selected, queries, fetch):
        return self.ask(queries, fetch)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_an_index_that_ignores_the_filter_is_found_out_by_every_row_it_returns(world, share, monkeypatch):
    index = build_index(HnswConfig(ef_search=40), world.vectors, tie_rank=world.tie_rank)
    proposer = index._proposer
    index._filtered._proposer = Deaf(proposer.index, proposer.plan, proposer.parameters)
    force(monkeypatch, Way.select)
    assert recall_of(world, index, world.far(share)) >= 0.98


def test_eligible_rows_that_lie_far_away_are_not_answered_by_a_wider_search_alone(world, monkeypatch):
    """The over-fetch finds too few of them, says so, and FAISS compares every one."""
    index = build_index(KINDS["hnsw"], world.vectors, tie_rank=world.tie_rank)
    asked = []
    select = filtered.FilteredSearch._select
    monkeypatch.setattr(
        filtered.FilteredSearch, "_select", lambda *given: asked.append(len(given[2])) or select(*given)
    )
    force(monkeypatch, Way.overfetch)
    assert recall_of(world, index, world.far(0.5)) >= 0.98
    assert asked
    asked.clear()
    assert recall_of(world, index, world.near(0.5)) >= 0.98
    index.search(world.queries[:1], K, eligible=world.near(0.9))
    assert not asked or asked[-1] < len(world.queries)


def test_a_wider_search_of_codes_that_finds_k_rows_but_too_few_to_refine_is_not_enough(world, monkeypatch):
    index = build_index(IvfSq8Config(lists=64, probes=12, refine_factor=4), world.vectors, tie_rank=world.tie_rank)
    asked = []
    select = filtered.FilteredSearch._select
    monkeypatch.setattr(filtered.FilteredSearch, "_select", lambda *given: asked.append(1) or select(*given))
    force(monkeypatch, Way.overfetch)
    assert recall_of(world, index, world.near(15 / COUNT)) >= 1.0  # all 15 are found, 40 would be refined
    assert asked


def test_a_filter_that_leaves_nothing_is_answered_with_empty_places(world, index):
    found = index.search(world.queries, 3, eligible=np.zeros(COUNT, np.bool_))
    assert (found.rows == -1).all()
    assert np.isneginf(found.scores).all()


def test_a_filter_that_cannot_change_is_worked_out_once_and_one_that_can_every_time(world, monkeypatch):
    index = build_index(HnswSq8Config(ef_search=40), world.vectors, tie_rank=world.tie_rank)
    force(monkeypatch, Way.select)
    held = []
    holding = type(index._refiner.distinct).holding
    monkeypatch.setattr(
        type(index._refiner.distinct), "holding", lambda self, mask: held.append(1) or holding(self, mask)
    )
    eligible = world.random(0.2)
    first = index.search(world.queries, K, eligible=eligible)
    eligible[first.rows[first.rows >= 0]] = False
    second = index.search(world.queries, K, eligible=eligible)
    assert eligible[second.rows].all()
    assert len(held) == 2
    eligible.flags.writeable = False
    for _ in range(3):
        assert np.array_equal(index.search(world.queries, K, eligible=eligible).rows, second.rows)
    assert len(held) == 3


def test_the_plan_says_what_is_cheapest(world):
    plan = build_index(HnswSq8Config(ef_search=120), world.vectors).record.plan
    ways = [
        min(every_way(plan, count=1_000_000, eligible=rows, dim=384, k=10), key=lambda way: way.cost_us).way
        for rows in (100, 20_000, 900_000)
    ]
    assert ways == [Way.scan, Way.select, Way.overfetch]
    dear = replace(plan, parameters={**plan.parameters, "ef_search": 100_000})
    chosen = min(every_way(dear, count=1_000_000, eligible=900_000, dim=384, k=10), key=lambda way: way.cost_us)
    assert chosen.way is Way.select
