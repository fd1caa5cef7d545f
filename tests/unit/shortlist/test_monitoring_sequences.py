"""The statistics of live recall: against plain sums, exact enumeration, and a sample of the simulated runs."""

import importlib.util
import math
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from shortlist.monitoring.sequences import DecayTest, MeanSequence

TOOL = Path(__file__).resolve().parents[3] / "tools" / "bench" / "live_recall_soundness.py"
RECALLS = [1.0, 0.9, 1.0, 0.8, 0.95, 0.3, 1.0, 0.9, 0.0, 0.7]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("live_recall_soundness", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["live_recall_soundness"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["live_recall_soundness"]


def evidence_of(recalls, target):
    test = DecayTest(target)
    for recall in recalls:
        test.observe(recall)
    return float(test.evidence)


def evidence_by_the_book(recalls, target):
    """Sum over every time at which betting may begin, and average over the bets."""
    total = 0.0
    for place in range(12):
        bet = 0.01 * 99 ** (place / 11) / (1 - target)
        begun = 0.0
        for start in range(1, len(recalls) + 1):
            share = 1 / math.log2(start + 1) - 1 / math.log2(start + 2)
            total += share * math.prod(1 + bet * (target - recall) for recall in recalls[start - 1 :])
            begun += share
        total += 1 - begun
    return total / 12


# --- the test for decay -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_the_evidence_is_the_mean_over_all_bets_and_all_times_at_which_betting_may_begin(count, target):
    assert evidence_of(RECALLS[:count], target) == pytest.approx(
        evidence_by_the_book(RECALLS[:count], target), rel=1e-9
    )


@pytest.mark.parametrize("target", [0.9, 0.6])
def test_at_the_target_the_expected_evidence_is_exactly_one_after_any_number_of_checks(target):
    for checks in (1, 3, 8):
        expected = 0.0
        for recalls in product([0.0, 1.0], repeat=checks):
            found = sum(recalls)
            expected += target**found * (1 - target) ** (checks - found) * evidence_of(recalls, target)
        assert expected == pytest.approx(1.0, rel=1e-12)


def test_above_the_target_evidence_is_lost_and_below_it_is_won():
    assert evidence_of([0.95] * 50, 0.95) == pytest.approx(1.0)
    assert evidence_of([1.0] * 50, 0.95) < 0.5
    assert evidence_of([0.9] * 50, 0.95) > 20


def test_a_long_good_past_hardly_delays_the_alarm():
    bad = [0.8] * 40
    at_once = next(count for count in range(41) if evidence_of(bad[:count], 0.95) >= 20)
    late = next(count for count in range(41) if evidence_of([1.0] * 3000 + bad[:count], 0.95) >= 20)
    assert (at_once, late) == (5, 13)


def test_the_evidence_stays_finite_however_long_a_decay_lasts():
    test = DecayTest(0.99)
    for _ in range(2000):
        test.observe(0.0)
    highest = float(test.evidence)
    assert 1e100 < highest < math.inf
    for _ in range(2000):
        test.observe(1.0)
    assert 0 < float(test.evidence) < highest


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0, math.nan])
def test_a_target_that_cannot_be_tested_is_refused(target):
    with pytest.raises(ValueError, match=f"target must be between 0 and 1, neither included, got {target}"):
        DecayTest(target)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
@pytest.mark.parametrize("make", [lambda: DecayTest(0.9), lambda: MeanSequence(alpha=0.05)])
def test_an_observation_outside_0_to_1_is_refused(make, value):
    with pytest.raises(ValueError, match=r"observations must be in \[0, 1\], got"):
        make().observe(value)


# --- the confidence sequence ------------------------------------------------------------------------------------------


def test_before_the_first_observation_anything_is_possible():
    sequence = MeanSequence(alpha=0.05)
    assert sequence.interval() == (0.0, 1.0)
    assert math.isnan(sequence.mean)


def margin_by_the_book(values, guesses, alpha):
    """Return how far the mean of ``values`` may lie below what was expected: the least line."""
    lines = []
    for scale in range(6):
        width = 0.5**scale
        held = [max(guess, 1 - width) for guess in guesses]
        spread = sum(((guess - value) / width) ** 2 for guess, value in zip(held, values, strict=True))
        for step in range(16):
            slope = 0.95 / 2**step
            share = alpha / 2 / ((scale + 1) * (scale + 2) * (step + 1) * (step + 2))
            lines.append((math.log(1 / share) + (-math.log(1 - slope) - slope) * spread) * width / slope)
    return min(lines) / len(values)


@pytest.mark.parametrize("values", [RECALLS * 20, [1.0, 0.9, 1.0, 1.0, 0.8] * 40, [1.0] * 30, [0.4]])
def test_the_interval_is_the_least_line_of_either_side(values):
    sequence = MeanSequence(alpha=0.1)
    for value in values:
        sequence.observe(value)
    guesses = [(1 + sum(values[:count])) / (1 + count) for count in range(len(values))]
    above = margin_by_the_book(values, guesses, 0.1)
    below = margin_by_the_book([1 - value for value in values], [1 - guess for guess in guesses], 0.1)
    mean = sum(values) / len(values)
    lower, upper = sequence.interval()
    assert float(sequence.mean) == pytest.approx(mean)
    assert float(upper) == pytest.approx(min(1.0, mean + above), rel=1e-6)
    assert float(lower) == pytest.approx(max(0.0, mean - below), rel=1e-6)


def test_the_upper_end_is_sharp_for_recalls_close_to_1():
    sequence = MeanSequence(alpha=0.05)
    for _ in range(20):
        for value in (1.0, 0.9, 1.0, 0.8):
            sequence.observe(value)
    assert float(sequence.interval()[1]) < 0.98  # the mean is .925; without the small ranges the end is 1


def test_the_interval_narrows_with_the_square_root_and_faster_without_spread():
    generator = np.random.default_rng(3)
    noisy, constant = MeanSequence(alpha=0.05), MeanSequence(alpha=0.05)
    widths = {}
    for count in range(1, 16_001):
        noisy.observe(generator.integers(0, 2))
        constant.observe(0.5)
        if count in (1_000, 16_000):
            widths[count] = [float(np.subtract(*sequence.interval()[::-1])) for sequence in (noisy, constant)]
    assert 3 < widths[1_000][0] / widths[16_000][0] < 4.5
    assert 15 < widths[1_000][1] / widths[16_000][1] < 17
    assert widths[16_000][0] < 2 * 2.3 * 1.96 * 0.5 / math.sqrt(16_000)  # what holds always costs about twice as much


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0])
def test_an_alpha_that_is_no_probability_is_refused(alpha):
    with pytest.raises(ValueError, match=f"alpha must be between 0 and 1, neither included, got {alpha}"):
        MeanSequence(alpha=alpha)


def test_many_streams_at_once_are_what_each_is_alone():
    values = np.random.default_rng(5).random((40, 3))
    test, means = DecayTest(0.7, streams=(3,)), MeanSequence(alpha=0.05, streams=(3,))
    alone = [(DecayTest(0.7), MeanSequence(alpha=0.05)) for _ in range(3)]
    for row in values:
        test.observe(row)
        means.observe(row)
        for stream, value in zip(alone, row, strict=True):
            for each in stream:
                each.observe(value)
    assert test.evidence == pytest.approx([float(one.evidence) for one, _ in alone])
    for side in (0, 1):
        assert means.interval()[side] == pytest.approx([float(one.interval()[side]) for _, one in alone])


# --- a sample of the simulation; `python tools/bench/live_recall_soundness.py` runs all of it ------------------


def test_runs_without_decay_raise_false_alarms_in_at_most_5_of_100(tool):
    for name, (draw, expected) in tool.NULLS.items():
        outcome = tool.watch(draw, expected, runs=200, checks=300, seed=11)
        assert not tool.too_many(np.count_nonzero(outcome.alarm_at), 200), name
        assert not tool.too_many(np.count_nonzero(outcome.wrong), 200), name


def test_a_decay_of_a_twentieth_is_found_in_every_run_whether_early_or_late(tool):
    for start, within in ((1, 150), (400, 250)):
        outcome = tool.watch(
            tool.hits_of(10), tool.falling(start, 0.9), runs=200, checks=start + within, seed=11, with_sequence=False
        )
        assert (outcome.alarm_at >= start).all()


def test_the_simulation_says_no_when_too_much_is_wrong(tool, monkeypatch, capsys):
    assert [tool.too_many(count, 1000) for count in (0, 50, 70, 71)] == [False, False, False, True]
    assert tool.without_decay(runs=60, checks=200, seed=1)
    monkeypatch.setattr(tool, "ALPHA", 0.9)  # a bar that noise can take
    monkeypatch.setattr(tool, "too_many", lambda count, runs: count > 0.05 * runs)
    assert not tool.without_decay(runs=60, checks=200, seed=1)
    assert "at the target: recall@100" in capsys.readouterr().out
