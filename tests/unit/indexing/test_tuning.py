"""The operating point: the cheapest parameters that reach the target, and a curve that says what the others do."""

import numpy as np
import pytest

from indexing import ArrayVectors, ExactIndex, build_index, recall_at
from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfRabitqConfig, IvfSq8Config
from indexing.filter_plan import scan_us, unfiltered_us
from indexing.tuning import Point, cheapest, grid, tune


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


VECTORS, QUERIES = ArrayVectors(unit_rows(2_000, 24)), unit_rows(20, 24, seed=1)
EXACT = ExactIndex(VECTORS).search(QUERIES, 50)
CONFIGS = {
    "hnsw": HnswConfig(links=8, ef_construction=40),
    "hnsw_sq8": HnswSq8Config(links=8, ef_construction=40),
    "ivf_sq8": IvfSq8Config(lists=40),
    "ivf_rabitq": IvfRabitqConfig(lists=40, bits=2),
}


@pytest.fixture(scope="module", params=CONFIGS)
def index(request):
    return build_index(CONFIGS[request.param], VECTORS, threads=1)


@pytest.mark.parametrize("target", [0.8, 0.95])
def test_the_choice_is_the_cheapest_point_that_reaches_the_target(index, target):
    tuning = tune(index, QUERIES, EXACT, k=10, target=target)
    assert tuning.chosen in tuning.points
    assert tuning.chosen.recall >= target
    for point in tuning.points:
        assert point.recall < target or point.cost_us >= tuning.chosen.cost_us


def test_what_a_point_says_is_what_the_index_does_there(index):
    tuning = tune(index, QUERIES, EXACT, k=10, target=0.9)
    for point in tuning.points[::5]:
        there = index.tuned(**point.parameters)
        assert point.recall == recall_at(10, there.search(QUERIES, 10), EXACT)
        searched = there.proposer.holding(10, count=2_000).plan
        assert point.cost_us == pytest.approx(unfiltered_us(searched, count=2_000, dim=24, k=10), abs=0.1)
        assert point.latency_us > 0


def test_more_effort_costs_more_and_the_sweep_ends_above_the_target(index):
    plan = index.record.plan
    for row in grid(plan, k=10, count=2_000):
        efforts = [point[plan.effort] for point in row]
        assert efforts == sorted(set(efforts))
        costs = [unfiltered_us(index.tuned(**point).record.plan, count=2_000, dim=24, k=10) for point in row]
        assert costs == sorted(costs)
    tuning = tune(index, QUERIES, EXACT, k=10, target=0.9)
    assert max(point.recall for point in tuning.points) >= 0.95
    assert len(tuning.points) < sum(len(row) for row in grid(plan, k=10, count=2_000))


def test_the_same_index_and_queries_give_the_same_choice_whatever_the_clock_says(index):
    first, second = (tune(index, QUERIES, EXACT, k=10, target=0.9).values(timed=False) for _ in range(2))
    assert first == second
    assert "latency_us" not in first["chosen"]


def test_the_parameters_that_an_index_has_are_among_the_points(index):
    plan = index.record.plan
    own = {name: plan.parameters[name] for name in grid(plan, k=10, count=2_000)[0][0]}
    assert own in [point for row in grid(plan, k=10, count=2_000) for point in row]


def test_a_target_that_no_point_reaches_leaves_the_choice_open():
    lossy = build_index(IvfRabitqConfig(lists=4, bits=1), VECTORS, threads=1)
    point = Point({"probes": 4}, recall=0.9, scans=0, cost_us=1.0, latency_us=1.0)
    assert cheapest([point], 0.95) is None
    tuning = tune(lossy, QUERIES, EXACT, k=10, target=1.0)
    assert (tuning.chosen is None) == (max(point.recall for point in tuning.points) < 1.0)


def test_of_equally_cheap_points_the_first_is_taken():
    points = [
        Point({"ef_search": ef}, recall=0.99, scans=0, cost_us=cost, latency_us=1.0)
        for ef, cost in ((9, 5), (3, 2), (4, 2))
    ]
    assert cheapest(points, 0.95) is points[1]


def test_an_exact_index_has_one_point_and_nothing_to_choose():
    tuning = tune(build_index(FlatConfig(), VECTORS), QUERIES, EXACT, k=10, target=0.95)
    assert [(point.parameters, point.recall) for point in tuning.points] == [({}, 1.0)]


def test_a_search_so_narrow_that_scans_complete_it_is_not_taken_for_cheap(monkeypatch):
    """One list of 400 holds five rows: every answer is exact, by a scan, and looks like perfect recall for nothing."""
    monkeypatch.setattr("indexing.faiss_kinds.holding", lambda plan, k, *, count: plan)  # visits no further lists
    index = build_index(IvfSq8Config(lists=400), VECTORS, threads=1)
    tuning = tune(index, QUERIES, EXACT, k=10, target=0.9)
    narrow = tuning.points[0]
    assert (narrow.parameters["probes"], narrow.recall, narrow.scans) == (1, 1.0, len(QUERIES))
    assert narrow.cost_us > scan_us(rows=2_000, dim=24)
    monkeypatch.setattr("indexing.tuning.scan_us", lambda *, rows, dim: 10_000.0)  # as of a catalogue that is not a toy
    tuning = tune(index, QUERIES, EXACT, k=10, target=0.9)
    assert tuning.chosen.parameters["probes"] > 1
    assert index.tuned(**tuning.chosen.parameters).search_counting_scans(QUERIES, 10)[1] == 0
