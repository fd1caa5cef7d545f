"""Turns, the control task and the price, with clocks that are wound by hand."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost import machine
from shortlist.evaluation.cost.machine import Usage
from shortlist.evaluation.cost.noise import Judge, control_task, deviations
from shortlist.evaluation.cost.price import CORE_HOUR, cost_per_million, machine_s, price_of
from shortlist.evaluation.cost.turns import (
    IN_A_ROW,
    Clocks,
    Task,
    Timed,
    Turn,
    number_of_calls,
    take_turns,
)


@dataclass
class Machine:
    """A machine whose clocks move only when something runs, and runs everything half as fast for a while."""

    now: float = 0.0
    core: float = 0.0
    slow_from: float = float("inf")
    slow_until: float = float("inf")
    ran: list[str] = field(default_factory=list)

    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.now, core=lambda: self.core, rest=self.runs("rest", None))

    def runs(self, name: str, seconds: float | None) -> Callable[..., None]:
        def run(pause: float = 0.0) -> None:
            self.ran.append(name)
            slow = 2 if self.slow_from <= self.now < self.slow_until else 1
            self.now += pause if seconds is None else seconds * slow
            self.core += 0.0 if seconds is None else seconds * slow * 1.5  # one thread and a half

        return run

    def task(self, name: str, seconds: float, calls: int) -> Task:
        return Task(name, [self.runs(name, seconds)] * calls)


def turns(machine: Machine, tasks: list[Task], **options) -> dict[str, Timed]:
    options = {"repeats": 2, "seed": 3, "clocks": machine.clocks()} | options
    return take_turns(tasks, control=machine.runs("control", 0.001), **options)


# --- turns ------------------------------------------------------------------------------------------------------------


def test_every_call_is_timed_as_often_as_asked():
    machine = Machine()
    tasks = [machine.task("a", 0.005, 20), machine.task("b", 0.007, 3), machine.task("batch", 0.5, 1)]
    told = []
    timed = turns(machine, tasks, advance=told.append)
    assert {name: len(found.taken_ms) for name, found in timed.items()} == {"a": 40, "b": 6, "batch": 2}
    assert timed["a"].taken_ms == pytest.approx([5.0] * 40)
    assert timed["b"].taken_ms == pytest.approx([7.0] * 6)
    assert timed["batch"].taken_ms == pytest.approx([500.0] * 2)
    assert timed["a"].control_ms == pytest.approx([1.0] * 40)
    assert sum(told) == number_of_calls(tasks, 2) == 48


def test_a_turn_is_a_rest_a_call_to_warm_up_and_the_calls_with_the_control_task_after_each():
    machine = Machine()
    turns(machine, [machine.task(name, 0.001, 16) for name in "abc"], repeats=1)
    after = machine.ran[machine.ran.index("rest") :]  # before it, the control task is calibrated
    assert set(machine.ran[: -len(after)]) == {"control"}
    length = 2 + 2 * IN_A_ROW
    found = [after[start : start + length] for start in range(0, len(after), length)]
    names = [turn[1] for turn in found]
    for name, turn in zip(names, found, strict=True):
        assert turn == ["rest", name, *[name, "control"] * IN_A_ROW]
    assert sorted(names[:3]) == sorted(names[3:]) == ["a", "b", "c"]


def test_long_calls_get_as_many_control_tasks_as_make_a_tenth_of_their_time():
    machine = Machine()
    timed = turns(machine, [machine.task("long", 0.0545, 4), machine.task("batch", 0.205, 1)], repeats=1)
    assert timed["long"].control_ms == pytest.approx([1.0] * 22)  # a tenth of 218 ms, in tasks of 1 ms
    assert timed["batch"].control_ms == pytest.approx([1.0] * 21)
    after_the_first = machine.ran.index("long", machine.ran.index("long") + 1) + 1
    assert machine.ran[after_the_first:][:7] == ["control"] * 6 + ["long"]  # spread out, not at the end


def test_seconds_per_call_are_those_of_the_least_disturbed_turn_with_the_same_calls():
    timed = Timed(
        turns=[
            Turn(0, 8, 0.8, 1.6),
            Turn(0, 8, 0.4, 0.9),
            Turn(8, 2, 0.1, 0.1),
            Turn(0, 8, 0.5, 0.8),
            Turn(8, 2, 0.6, 0.2),
        ]
    )
    assert timed.wall_s_per_call() == pytest.approx(0.5 / 10)
    assert timed.core_s_per_call() == pytest.approx(0.9 / 10)


def test_core_time_is_that_of_the_calls_alone():
    machine = Machine()
    timed = turns(machine, [machine.task("a", 0.004, 20)], repeats=3)
    assert [turn.calls for turn in timed["a"].turns] == [8, 8, 4] * 3
    assert timed["a"].core_s_per_call() == pytest.approx(0.006)
    assert timed["a"].wall_s_per_call() == pytest.approx(0.004)


def test_the_order_of_the_turns_is_drawn_anew_and_is_the_same_for_the_same_seed():
    orders = []
    for seed in (3, 3, 4):
        machine = Machine()
        turns(machine, [machine.task(name, 0.001, 1) for name in "abcdefgh"], seed=seed, repeats=3)
        orders.append([name for name in machine.ran if name not in ("control", "rest")])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:8] != orders[0][8:16]


def test_a_disturbance_falls_on_all_tasks_and_its_control_tasks_tell():
    quiet = Machine()
    turns(quiet, [quiet.task(name, 0.002, 32) for name in "abcd"], repeats=5)
    disturbed = Machine(slow_from=quiet.now * 0.3, slow_until=quiet.now * 0.7)
    timed = turns(disturbed, [disturbed.task(name, 0.002, 32) for name in "abcd"], repeats=5)
    for found in timed.values():
        slow = sum(taken > 2.1 for taken in found.taken_ms) / len(found.taken_ms)
        controls = sum(control > 1.1 for control in found.control_ms) / len(found.control_ms)
        assert 0.1 < slow < 0.6
        assert controls == pytest.approx(slow, abs=0.05)
        assert found.core_s_per_call() == pytest.approx(0.003)  # every turn was undisturbed once


def test_two_tasks_of_one_name_are_refused():
    machine = Machine()
    with pytest.raises(ValueError, match=r"tasks need names of their own, got \['a', 'a'\]"):
        turns(machine, [machine.task("a", 1, 1), machine.task("a", 1, 1)])


# --- noise ------------------------------------------------------------------------------------------------------------


def timed(*control_ms: float) -> Timed:
    return Timed(taken_ms=[10.0 * (place + 1) for place in range(len(control_ms))], control_ms=list(control_ms))


@pytest.mark.parametrize(
    ("control_ms", "noisy"),
    [
        ([1.0] * 20, False),
        ([1.24] * 20, False),
        ([1.26] * 20, True),  # slower throughout
        ([1.0] * 39 + [9.0], False),  # a fifth more on average, and below p95
        ([1.0] * 39 + [13.0], True),  # seldom, and three tenths more on average
        ([1.0] * 180 + [2.1] * 20, True),  # a tenth more on average, but the tail is not the point's own
    ],
)
def test_a_point_is_noisy_when_its_control_task_was_slow_on_average_or_at_the_end(control_ms, noisy):
    judge = Judge(quiet_ms=1.0, tolerance=0.25)
    latency = judge.latency(timed(*control_ms))
    assert latency.noisy is noisy
    assert latency.slowdown == pytest.approx(sum(control_ms) / len(control_ms) - 1)
    assert "more than 1.25 times the quiet 1.000 ms on average, or more than 2 times at p95" in judge.rule()


def test_a_latency_holds_the_percentiles_of_all_calls_and_of_the_control_beside_them():
    latency = Judge(quiet_ms=1.0, tolerance=0.25).latency(timed(*[1.0] * 100, 3.0))
    assert (latency.calls, latency.p50, latency.p95, latency.p99) == (101, 510.0, 960.0, 1000.0)
    assert (latency.control.p50, latency.control.p99) == (1.0, 1.0)


def test_quiet_is_what_the_control_task_takes_when_nothing_disturbs_it_and_points_are_counted():
    measured = {"a": timed(*[1.0] * 10), "b": timed(*[1.1] * 10), "c": timed(*[2.0] * 10)}
    judge = Judge.of(measured.values(), tolerance=0.25)
    assert judge.quiet_ms == pytest.approx(1.0)
    noise = judge.noise(measured, others=0.5)
    assert (noise.calls, noise.points, noise.noisy, noise.others) == (30, 3, 1, 0.5)
    assert noise.slowdown == pytest.approx(4.1 / 3 - 1)
    assert noise.control.p50 == pytest.approx(1.1)
    assert noise.spread == pytest.approx(2.0 / 1.1 - 1)
    assert noise.margin == pytest.approx(2.0 / 1.1 - 1)
    assert deviations(list(measured.values())) == pytest.approx([0.1 / 1.1, 0.0, 0.9 / 1.1])


def test_deviations_are_those_of_the_means_for_a_median_does_not_see_what_comes_seldom():
    assert deviations(
        [timed(1.0, 1.0, 1.0, 5.0), timed(1.0, 1.0, 1.0, 1.0), timed(1.0, 1.0, 1.0, 2.0)]
    ) == pytest.approx([0.6, 0.2, 0.0])


def test_the_control_task_does_the_same_work_every_time():
    run = control_task()
    assert run() == pytest.approx([1.0] * 1024)
    assert run() is run()


# --- the machine ------------------------------------------------------------------------------------------------------


def test_what_others_use_is_what_was_busy_less_ones_own():
    before = Usage(wall_s=100.0, process_s=10.0, busy_s=1000.0)
    assert Usage(110.0, 15.0, 1020.0).others_since(before) == pytest.approx(1.5)
    assert Usage(110.0, 30.0, 1019.99).others_since(before) == 0.0  # the kernel counts in hundredths
    assert Usage(110.0, 30.0, None).others_since(before) is None


def test_the_kernels_account_counts_all_that_is_not_idle_and_guests_once(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPU_TIMES", tmp_path / "stat")
    assert Usage.now().busy_s is None
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 5 4 3 2 50 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert Usage.now().busy_s == pytest.approx(159 / os.sysconf("SC_CLK_TCK"))


# --- price ------------------------------------------------------------------------------------------------------------


def test_a_million_queries_cost_the_machines_time_over_what_of_it_is_used():
    price = price_of(CostSweepConfig(price_per_hour=0.36, currency="EUR", utilisation=0.25), cores=2, device="cpu")
    assert (price.per_hour, price.currency, price.source) == (0.36, "EUR", "cost.price_per_hour")
    # 10 ms x 1,000,000 are 10,000 s, or 2 7/9 hours: 1 EUR, four times that at a quarter of use.
    assert cost_per_million(0.01, price) == pytest.approx(4.0)


def test_without_a_price_a_core_has_one_and_a_gpu_has_none():
    assert price_of(CostSweepConfig(), cores=8, device="cpu").per_hour == pytest.approx(8 * CORE_HOUR)
    gpu = price_of(CostSweepConfig(), cores=8, device="cuda")
    assert gpu.per_hour is None
    assert "set cost.price_per_hour" in gpu.source
    assert cost_per_million(0.01, gpu) is None


def test_a_query_takes_core_time_of_a_processor_and_all_of_a_gpu():
    timed = Timed(turns=[Turn(0, 4, 0.2, 0.8)])
    assert machine_s(timed, cores=4, device="cpu") == pytest.approx(0.05)
    assert machine_s(timed, cores=4, device="cuda") == pytest.approx(0.05)
    assert machine_s(timed, cores=8, device="cpu") == pytest.approx(0.025)
    assert machine_s(timed, cores=8, device="cuda") == pytest.approx(0.05)
