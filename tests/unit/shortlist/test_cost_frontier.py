"""Who dominates whom: by hand, and what must hold for any points."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost.frontier import MeasuredWay, dominated_by, frontier
from shortlist.evaluation.cost.noise import Judge
from shortlist.evaluation.cost.price import price_of
from shortlist.evaluation.cost.turns import Timed
from shortlist.evaluation.cost.ways import Way

TRIALS = 500
QUERIES = 40


def column(mean: float, spread: float = 0.0, *, shift: int = 0) -> np.ndarray:
    """Return a quality per query of this mean, every other query above and below it."""
    signs = np.where((np.arange(QUERIES) + shift) % 2 == 0, 1.0, -1.0)
    return mean + spread * signs


def dominators(columns, p50, off=None):
    return dominated_by(np.stack(columns, axis=1), p50, off or [0.0] * len(p50), trials=TRIALS, seed=7)


def test_the_slower_and_worse_is_dominated_and_the_others_are_not():
    good, cheap, bad = column(0.8), column(0.5), column(0.6)
    assert dominators([good, cheap, bad], [10.0, 1.0, 20.0]) == [None, None, 0]


def test_of_several_that_dominate_the_best_is_named_and_of_equals_the_fastest():
    assert dominators([column(0.5), column(0.7), column(0.8), column(0.8)], [9.0, 2.0, 4.0, 3.0])[0] == 3


def test_a_point_that_is_as_good_dominates_only_when_it_is_faster_by_more_than_noise():
    same = column(0.7)
    assert dominators([same, same], [10.0, 9.0], [0.02, 0.02]) == [1, None]
    assert dominators([same, same], [10.0, 9.8], [0.02, 0.02]) == [None, None]
    assert dominators([same, same], [10.0, 9.0], [0.10, 0.02]) == [None, None]
    assert dominators([same, same], [10.0, 1.0], [2.0, 2.0]) == [1, None]  # no noise explains ten times


def test_a_point_that_is_as_fast_dominates_only_when_the_queries_show_that_it_is_better():
    # Better by .05 on every query; better by .05 on average, but by .5 more or less on each.
    assert dominators([column(0.6, 0.1), column(0.65, 0.1)], [5.0, 5.0]) == [1, None]
    assert dominators([column(0.6, 0.25), column(0.65, 0.25, shift=1)], [5.0, 5.0]) == [None, None]


def test_a_point_that_is_worse_in_one_never_dominates():
    assert dominators([column(0.6), column(0.599)], [100.0, 1.0]) == [None, None]
    assert dominators([column(0.6), column(0.9)], [1.0, 1.001]) == [None, None]


def test_equal_points_do_not_dominate_each_other():
    assert dominators([column(0.7), column(0.7)], [5.0, 5.0]) == [None, None]


points = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 3), st.integers(1, 10), st.integers(0, 5)), min_size=1, max_size=8
)


@settings(max_examples=60)
@given(points)
def test_for_any_points_some_are_optimal_and_a_dominator_is_never_worse_or_slower(drawn):
    columns = [column(mean / 10, spread / 10, shift=place) for place, (mean, spread, _, _) in enumerate(drawn)]
    p50 = [float(latency) for _, _, latency, _ in drawn]
    off = [noise / 20 for _, _, _, noise in drawn]
    found = dominators(columns, p50, off)
    assert None in found
    means = [float(values.mean()) for values in columns]
    for place, other in enumerate(found):
        if other is not None:
            assert other != place
            assert means[other] >= means[place] - 1e-12
            assert p50[other] <= p50[place]
    # More noise cannot make more points dominated.
    louder = dominators(columns, p50, [value + 1.0 for value in off])
    assert all(quiet is not None for quiet, loud in zip(found, louder, strict=True) if loud is not None)


# --- the frontier as a whole ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedWay(Way):
    """A way that answers nothing."""

    called: str = ""

    @property
    def name(self) -> str:
        return self.called


def measured(name: str, values: np.ndarray, p50: float) -> MeasuredWay:
    from shortlist.config import System

    way = NamedWay(system=System.dense, generation=None, index=None, depth=10, called=name)  # type: ignore[arg-type]
    return MeasuredWay(
        way=way,
        values={f"q{place}": float(value) for place, value in enumerate(values)},
        timed=Timed([p50] * 6, [1.0] * 6),
        machine_s=p50 / 1000,
        memory_bytes=7,
    )


def test_the_frontier_names_the_best_and_the_fastest_that_is_not_shown_to_be_worse():
    found = frontier(
        [
            measured("best", column(0.80, 0.2), 50.0),
            measured("near", column(0.78, 0.2, shift=1), 20.0),  # .02 less, by .4 more or less: not shown
            measured("far", column(0.60, 0.2), 5.0),  # .20 less on every query
            measured("poor", column(0.50, 0.2), 30.0),
        ],
        Judge(quiet_ms=1.0, tolerance=0.25),
        price_of(CostSweepConfig(price_per_hour=3.6, utilisation=1.0), cores=2, device="cpu"),
        measure="nDCG@10",
        timed=3,
        trials=TRIALS,
        seed=7,
    )
    assert (found.best, found.cheapest_as_good, found.queries, found.timed) == ("best", "near", QUERIES, 3)
    best, near, far, poor = found.points
    assert [point.optimal for point in found.points] == [True, True, True, False]
    assert [point.dominated_by for point in found.points] == ["", "", "", "near"]
    assert near.against_best.mean == pytest.approx(-0.02)
    assert near.against_best.interval.low < 0 < near.against_best.interval.high
    assert far.against_best.interval.high < 0
    assert (best.against_best.mean, best.against_best.interval.high) == (0.0, 0.0)
    assert poor.quality.mean == pytest.approx(0.5)
    assert poor.quality.interval.low < 0.5 < poor.quality.interval.high
    assert best.cost_per_million == pytest.approx(50.0)  # 50 ms x 1,000,000 / 3,600 hours at 3.6
    assert best.latency.p50 == 50.0


def test_a_frontier_of_one_point_is_that_point():
    only = measured("only", column(0.3), 5.0)
    judge, price = Judge(quiet_ms=1.0, tolerance=0.25), price_of(CostSweepConfig(), cores=1, device="cuda")
    found = frontier([only], judge, price, measure="m", timed=1, trials=TRIALS, seed=7)
    assert (found.best, found.cheapest_as_good, found.margin) == ("only", "only", 0.0)
    assert found.points[0].optimal
    assert found.points[0].cost_per_million is None
