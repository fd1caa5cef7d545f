"""What a filtered search is expected to cost, and which way is chosen for it."""

import pytest

from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfPqConfig, IvfRabitqConfig, IvfSq8Config
from indexing.faiss_kinds import plan
from indexing.filter_plan import Way, every_way, plan_filter, selected_fetch, unfiltered_us

COUNT, DIM, K = 1_000_000, 384, 10
CONFIGS = (
    FlatConfig(),
    HnswConfig(ef_search=150),
    HnswSq8Config(ef_search=150),
    IvfSq8Config(probes=40),
    IvfPqConfig(probes=40),
    IvfRabitqConfig(probes=40),
)
PLANS = {planned.kind: planned for planned in (plan(config, count=COUNT, dim=DIM) for config in CONFIGS)}


@pytest.fixture(params=PLANS)
def planned(request):
    return PLANS[request.param]


def test_the_cheapest_way_is_chosen(planned):
    for eligible in (1, 50, 5_000, 200_000, COUNT):
        ways = every_way(planned, count=COUNT, eligible=eligible, dim=DIM, k=K)
        assert plan_filter(planned, count=COUNT, eligible=eligible, dim=DIM, k=K) in ways
        chosen = plan_filter(planned, count=COUNT, eligible=eligible, dim=DIM, k=K)
        assert all(way.cost_us >= chosen.cost_us for way in ways)


def test_a_handful_of_rows_is_scanned_and_no_way_is_worse_than_a_scan(planned):
    assert plan_filter(planned, count=COUNT, eligible=20, dim=DIM, k=K).way is Way.scan
    for eligible in (1, 500, 50_000, COUNT):
        (scan,) = (
            way for way in every_way(planned, count=COUNT, eligible=eligible, dim=DIM, k=K) if way.way is Way.scan
        )
        assert plan_filter(planned, count=COUNT, eligible=eligible, dim=DIM, k=K).cost_us <= scan.cost_us


def test_more_eligible_rows_never_make_a_scan_or_a_selection_cheaper_nor_a_wider_search_dearer(planned):
    shares = [every_way(planned, count=COUNT, eligible=rows, dim=DIM, k=K) for rows in (10, 1_000, 100_000, COUNT)]
    for way in Way:
        costs = [each.cost_us for ways in shares for each in ways if each.way is way]
        assert costs == sorted(costs, reverse=way is Way.overfetch)


def test_an_index_without_a_beam_or_lists_is_not_searched_wider():
    assert {way.way for way in every_way(PLANS["flat"], count=COUNT, eligible=9, dim=DIM, k=K)} == {
        Way.scan,
        Way.select,
    }


def test_a_wider_search_looks_as_far_as_chance_would_have_it_and_a_quarter_farther():
    (way,) = (
        way
        for way in every_way(PLANS["hnsw"], count=COUNT, eligible=COUNT // 10, dim=DIM, k=K)
        if way.way is Way.overfetch
    )
    assert way.widen == pytest.approx(12.5)
    assert way.fetch == 175  # (10 + 4) * 12.5


def test_queries_that_share_a_filter_share_the_reading_of_a_scan(planned):
    one, many = (
        next(way for way in every_way(planned, count=COUNT, eligible=5_000, dim=DIM, k=K, queries=queries))
        for queries in (1, 64)
    )
    assert one.way is many.way is Way.scan
    assert many.cost_us < one.cost_us / 2


def test_what_codes_select_is_refined_at_least_twice_over_and_exact_vectors_are_not():
    assert selected_fetch(PLANS["hnsw"], 100) == 104
    assert selected_fetch(PLANS["hnsw_sq8"], 100) == 204
    assert selected_fetch(PLANS["ivf_pq"], 100) == 1_004


def test_an_unfiltered_search_costs_more_the_wider_it_is(planned):
    if planned.effort:
        wide = type(planned)(
            planned.kind, {**planned.parameters, planned.effort: 2 * planned.parameters[planned.effort]}
        )
        assert unfiltered_us(wide, count=COUNT, dim=DIM, k=K) > unfiltered_us(planned, count=COUNT, dim=DIM, k=K)
