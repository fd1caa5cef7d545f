"""Contests: who runs when, what is timed, and how noise is told, with clocks that are wound by hand."""

from dataclasses import dataclass, field

import pytest

from shortlist.evaluation.cost.turns import IN_A_ROW, Clocks
from tools.bench.speed.stopwatch import SelfTimed, Stopwatch, Times


@dataclass
class Machine:
    """A machine whose clock moves only when something runs, and is slow by a factor between two moments."""

    now: float = 0.0
    slow_from: float = float("inf")
    slow_until: float = float("inf")
    ran: list[str] = field(default_factory=list)

    def runs(self, name, seconds):
        def run():
            self.ran.append(name)
            self.now += seconds * (3 if self.slow_from <= self.now < self.slow_until else 1)

        return run

    def stopwatch(self, *, rounds=5, seed=1):
        clocks = Clocks(wall=lambda: self.now, core=lambda: self.now, rest=lambda seconds: None)
        return Stopwatch(rounds=rounds, seed=seed, clocks=clocks, control=self.runs("control", 0.001))

    def timed(self):
        return [name for name in self.ran if name != "control"]


def test_contestants_take_turns_after_one_untimed_run_each():
    machine = Machine()
    machine.stopwatch(rounds=6).contest({"a": machine.runs("a", 1.0), "b": machine.runs("b", 2.0)})
    order = machine.timed()
    assert order[:2] == ["a", "b"]
    assert [sorted(order[place : place + 2]) for place in range(2, 14, 2)] == [["a", "b"]] * 6
    assert len(order) == 14


def test_neither_always_follows_the_other():
    machine = Machine()
    machine.stopwatch(rounds=20).contest({"a": machine.runs("a", 1.0), "b": machine.runs("b", 1.0)})
    first = machine.timed()[2::2]
    assert 5 <= first.count("a") <= 15


def test_the_times_of_each_round_are_kept_in_milliseconds():
    machine = Machine()
    times = machine.stopwatch().contest({"a": machine.runs("a", 1.0), "b": [machine.runs("b", 0.5)] * 3})
    assert times["a"].side("a").values == pytest.approx((1000.0,) * 5)
    assert all(calls == pytest.approx((500.0,) * 3) for calls in times["b"].rounds)
    assert times["b"].side("b").values == pytest.approx((1500.0,) * 5)


def test_calls_of_one_round_stay_together_when_a_turn_is_shorter_than_a_round():
    machine = Machine()
    calls = [machine.runs(f"query {number}", 0.001 * (number + 1)) for number in range(IN_A_ROW + 3)]
    times = machine.stopwatch().contest({"a": calls, "b": machine.runs("b", 1.0)})
    assert all(taken == pytest.approx([number + 1 for number in range(IN_A_ROW + 3)]) for taken in times["a"].rounds)


def test_a_contestant_that_times_itself_is_believed_and_its_warm_up_calls_are_left_out():
    machine = Machine()
    said = iter(range(10_000))
    asked = []

    def ask():
        machine.runs("peer", 5.0)()
        asked.append(next(said))
        return float(asked[-1])

    times = machine.stopwatch().contest({"peer": [SelfTimed(ask)] * (IN_A_ROW + 1), "a": machine.runs("a", 1.0)})
    taken = [value for calls in times["peer"].rounds for value in calls]
    # Before the first round everything ran once; then each turn of more than one call begins with one that is untimed.
    warm_ups = [IN_A_ROW + 1 + number * (IN_A_ROW + 2) for number in range(5)]
    assert taken == [value for value in asked[IN_A_ROW + 1 :] if value not in warm_ups]
    assert len(taken) == 5 * (IN_A_ROW + 1)


def test_a_single_call_that_times_itself_has_no_warm_up_within_the_rounds():
    machine = Machine()
    said = iter([9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    times = machine.stopwatch().contest({"peer": SelfTimed(lambda: next(said)), "a": machine.runs("a", 1.0)})
    assert times["peer"].side("peer").values == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_calls_of_both_clocks_in_one_contestant_are_refused():
    machine = Machine()
    calls = [SelfTimed(lambda: 1.0), machine.runs("a", 1.0)]
    with pytest.raises(ValueError, match=r"mixed: .* times of 2 calls in 5 rounds; mixed clocks\?"):
        machine.stopwatch().contest({"mixed": calls})


def test_a_contestant_without_calls_is_refused():
    with pytest.raises(ValueError, match="a contestant needs at least one call, got none"):
        Machine().stopwatch().contest({"a": []})


def test_a_percentile_is_one_of_each_round_and_keeps_every_call():
    side = Times(((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))).percentile("a", 50)
    assert side.values == (2.0, 20.0)
    assert side.raw == (1.0, 2.0, 3.0, 10.0, 20.0, 30.0)


def test_a_quiet_machine_is_told_from_one_that_was_slow_for_a_while():
    quiet, busy = Machine(), Machine(slow_from=6.0, slow_until=25.0)
    noise = []
    for machine in (quiet, busy):
        watch = machine.stopwatch()
        assert watch.noise() == {}
        watch.contest({"a": machine.runs("a", 1.0), "b": machine.runs("b", 1.0)})
        noise.append(watch.noise())
    assert noise[0]["slowdown"] == pytest.approx(0, abs=1e-9)
    assert (noise[0]["noisy"], noise[0]["points"]) == (0, 2)
    assert noise[1]["slowdown"] > 0.25
    assert noise[1]["noisy"] == 2


def test_noise_is_over_all_contests_of_a_measurement():
    machine = Machine()
    watch = machine.stopwatch()
    for _ in range(3):
        watch.contest({"a": machine.runs("a", 1.0), "b": machine.runs("b", 1.0)})
    assert watch.noise()["points"] == 6
