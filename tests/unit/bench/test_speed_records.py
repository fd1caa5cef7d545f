"""Rows of the speed table: ratios, their spread, targets, and what is refused."""

import pytest

from tools.bench.speed.records import Compared, Options, Quality, Row, Side, Target

OURS = Side(name="ours", values=(10.0, 12.0, 11.0, 50.0, 9.0))
PEER = Side(name="peer", values=(44.0, 66.0, 30.0, 55.0, 45.0))


def row(**changes) -> Row:
    return Row(**({"job": "encode", "compared": Compared.faster, "ours": OURS, "peer": PEER} | changes))


def test_faster_is_the_peers_median_over_ours_with_the_spread_of_the_rounds():
    ratio = row().ratio
    assert ratio.value == pytest.approx(45 / 11)
    assert ratio.low == pytest.approx(55 / 50)
    assert ratio.high == pytest.approx(66 / 12)


def test_a_share_is_ours_over_the_peers():
    ratio = row(compared=Compared.share).ratio
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((11 / 45, 12 / 66, 50 / 55))


def test_the_spread_of_sides_that_did_not_take_turns_is_the_ratio_alone():
    ratio = row(unit="MiB", peer=Side(name="peer", values=(22.0, 22.0))).ratio
    assert ratio.value == ratio.low == ratio.high == 2


def test_without_a_peer_the_median_itself_is_held_against_the_target():
    alone = row(compared=Compared.alone, peer=None, target=Target(at_most=11.0))
    assert (alone.ratio.value, alone.ratio.low, alone.ratio.high) == (11, 9, 50)
    assert alone.reached
    assert row(compared=Compared.alone, peer=None, target=Target(at_most=10.9)).reached is False


@pytest.mark.parametrize(
    ("target", "reached"),
    [(Target(at_least=45 / 11), True), (Target(at_least=4.1), False), (Target(at_most=4.1), True), (None, None)],
)
def test_a_target_is_reached_at_it_and_beyond(target, reached):
    assert row(target=target).reached is reached


@pytest.mark.parametrize(
    ("quality", "holds"),
    [
        (Quality(name="overlap", value=0.97, at_least=0.97), True),
        (Quality(name="overlap", value=0.969, at_least=0.97), False),
        (Quality(name="nDCG", value=0.0, low=-0.01, high=0.01, within=0.01), True),
        (Quality(name="nDCG", value=0.004, low=-0.002, high=0.0101, within=0.01), False),
        (Quality(name="nDCG", value=-0.004, low=-0.0101, high=0.002, within=0.01), False),
    ],
)
def test_a_speed_up_whose_quality_does_not_hold_is_not_reached(quality, holds):
    assert row(target=Target(at_least=2.0), quality=(quality,)).reached is holds
    assert row(quality=(quality,)).reached is holds


def test_quality_that_nothing_is_asked_of_decides_nothing():
    assert row(quality=(Quality(name="recall@100", value=0.2),)).reached is None


def test_what_was_not_run_is_neither_reached_nor_missed():
    missing = row(ours=None, peer=None, not_run="no CUDA device", target=Target(at_least=4.0))
    assert missing.ratio is None
    assert missing.reached is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ours": None, "peer": None}, r"encode: a row has our values, or says why it was not run"),
        ({"not_run": "no CUDA device"}, r"encode: a row has our values, or says why it was not run"),
        ({"peer": None}, r"encode: compared=faster does not fit with peer=None"),
        ({"compared": Compared.alone}, r"encode: compared=alone does not fit with peer=Side\(name='peer'"),
        ({"unit": "MiB", "per": "products"}, r"encode: a rate needs a unit of time, got 'MiB'"),
        ({"ours": Side(name="ours", values=(1.0,) * 4)}, r"encode: expected at least 5 rounds, got 4; .* few_because"),
    ],
)
def test_a_row_whose_parts_do_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        row(**changes)


def test_fewer_rounds_need_a_reason_and_only_where_time_is_measured():
    few = Side(name="ours", values=(40.0, 41.0, 42.0))
    assert row(ours=few, few_because="a build of twenty minutes").ratio.value == pytest.approx(45 / 41)
    assert row(ours=Side(name="ours", values=(3.0,)), unit="MiB").ratio.value == 15


def test_targets_and_intervals_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"a target has at_least or at_most, got None and None"):
        Target()
    with pytest.raises(ValueError, match=r"a target has at_least or at_most, got 1\.0 and 2\.0"):
        Target(at_least=1.0, at_most=2.0)
    with pytest.raises(ValueError, match=r"nDCG: an interval has two ends, got -0\.1 and None"):
        Quality(name="nDCG", value=0.0, low=-0.1)
    with pytest.raises(ValueError, match=r"nDCG: within=0\.01 asks for an interval, and there is none"):
        Quality(name="nDCG", value=0.0, within=0.01)
    with pytest.raises(ValueError, match=r"ours: expected at least one value, got none"):
        Side(name="ours", values=())


def test_a_setting_beats_the_quick_size_and_that_the_default():
    settings = {"ann.count": "1000000"}
    assert Options(settings=settings, quick=True).number("ann.count", 200_000, quick=2_000) == 1_000_000
    assert Options(quick=True).number("ann.count", 200_000, quick=2_000) == 2_000
    assert Options().number("ann.count", 200_000, quick=2_000) == 200_000
    assert Options(quick=True).number("ann.count", 200_000) == 200_000
