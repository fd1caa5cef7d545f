"""Reranking until a deadline, on a clock that only moves when a batch runs."""

import threading

import numpy as np
import pytest

from rerank.cost import BatchCost
from rerank.deadline import LOOKAHEAD, ROOM, Deadline, score_all, score_until
from rerank.final import Convex, ConvexMix
from rerank.fusion import standardised


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Machine:
    """A reranker whose batches take what a line says, times a slowness, on the fake clock."""

    def __init__(self, scores, *, clock, batch_ms=2.0, pair_ms=1.0, slowness=1.0, weight=0.5):
        self.scores, self.clock, self.fusion = dict(scores), clock, Convex(weight)
        self.batch_ms, self.pair_ms, self.slowness = batch_ms, pair_ms, slowness
        self.batches = []

    def score(self, query, texts):
        self.batches.append(list(texts))
        self.clock.now_s += self.slowness * (self.batch_ms + self.pair_ms * len(texts)) / 1000
        return np.array([self.scores[text] for text in texts], dtype=np.float32)


@pytest.fixture
def clock():
    return Clock()


def run(machine, clock, deadline_ms, *, n=40, k=10, cost=None, names=None):
    names = names or [f"text {place}" for place in range(n)]
    return score_until(
        Deadline.after(clock.now_s, deadline_ms, clock),
        machine,
        cost or BatchCost(machine.batch_ms, machine.pair_ms),
        "q",
        lambda first, end: names[first:end],
        mix=ConvexMix(standardised(np.arange(n, 0, -1)), machine.fusion.weight),
        k=k,
    )


def scores_of(n):
    return {f"text {place}": float(place % 7) for place in range(n)}


def test_candidates_are_scored_in_their_order_and_what_was_scored_in_time_counts(clock):
    machine = Machine(scores_of(40), clock=clock, slowness=0.99)
    began = clock.now_s
    seen = run(machine, clock, 30.0, cost=BatchCost(2.0, 1.0))
    assert [text for batch in machine.batches for text in batch] == [f"text {p}" for p in range(len(seen.scores))]
    assert seen.scores.tolist() == [float(place % 7) for place in range(len(seen.scores))]
    assert (seen.of, seen.is_cut, seen.batches) == (40, True, len(machine.batches))
    assert (clock.now_s - began) * 1000 <= 30.0
    # A batch of 16 is what fits a look ahead (18 ms); the rest, 12 ms, holds 10 pairs.
    assert [len(batch) for batch in machine.batches] == [LOOKAHEAD, 10]


@pytest.mark.parametrize("slowness", [1.0, 1.7, 4.0])
@pytest.mark.parametrize("deadline_ms", [5.0, 17.0, 40.0])
def test_an_answer_is_late_by_less_than_one_batch_however_slow_the_machine_became(clock, slowness, deadline_ms):
    machine = Machine(scores_of(100), clock=clock, slowness=slowness)
    began = clock.now_s
    run(machine, clock, deadline_ms, n=100)
    longest_ms = slowness * (2.0 + max(len(batch) for batch in machine.batches))
    assert (clock.now_s - began) * 1000 < deadline_ms + longest_ms
    before_last = sum(slowness * (2.0 + len(batch)) for batch in machine.batches[:-1])
    assert before_last < deadline_ms  # no batch was begun when time was up


def test_no_batch_begins_when_one_pair_alone_would_end_too_late(clock):
    machine = Machine(scores_of(10), clock=clock)
    seen = run(machine, clock, 2.9, n=10)
    assert (machine.batches, len(seen.scores), seen.of, seen.is_cut) == ([], 0, 10, True)
    assert len(run(machine, clock, 3.01, n=10).scores) == 1


def test_with_ten_times_the_time_needed_all_are_scored_at_once(clock):
    machine = Machine(scores_of(40), clock=clock)
    seen = run(machine, clock, ROOM * 42.0 + 1)
    assert [len(batch) for batch in machine.batches] == [40]
    assert (len(seen.scores), seen.is_cut, seen.settled) == (40, False, False)
    machine.batches.clear()
    seen = run(machine, clock, ROOM * 42.0 - 1)
    assert max(len(batch) for batch in machine.batches) == LOOKAHEAD
    assert (len(seen.scores), seen.is_cut) == (40, False)


def test_a_text_that_comes_again_is_not_scored_again(clock):
    names = [f"text {place % 5}" for place in range(20)]
    machine = Machine(scores_of(5), clock=clock)
    seen = run(machine, clock, 100.0, n=20, names=names)
    assert [text for batch in machine.batches for text in batch] == names[:5]
    assert seen.scores.tolist() == [float(place % 5) for place in range(20)]


def test_a_settled_answer_stops_early_and_is_not_cut(clock):
    # Of weight .05 nothing but the first stage matters: one candidate far above, all others far below.
    machine = Machine({f"text {place}": 0.0 for place in range(30)}, clock=clock, weight=0.05)
    seen = score_until(
        Deadline.after(clock.now_s, 200.0, clock),
        machine,
        BatchCost(0.2, 1.0),
        "q",
        lambda first, end: [f"text {place}" for place in range(first, end)],
        mix=ConvexMix(standardised([100.0] + [0.0] * 29), 0.05),
        k=1,
    )
    assert seen.settled
    assert not seen.is_cut
    assert 1 < len(seen.scores) < 30


def test_the_pace_is_learnt_from_batches_that_take_longer(clock):
    machine = Machine(scores_of(2000), clock=clock, slowness=3.0)
    cost = BatchCost(2.0, 1.0)
    run(machine, clock, 8000.0, n=2000, cost=cost)
    assert cost.pace > 2.8
    machine.slowness = 1.0
    for _ in range(600):
        cost.observe(16, 18.0)
    assert 0.9 < cost.pace < 1.2


# --- others in the lane -----------------------------------------------------------------------------------------------


def test_waiting_for_another_caller_is_given_up_at_the_deadline(clock):
    machine = Machine(scores_of(10), clock=clock)
    cost = BatchCost(2.0, 1.0)
    with cost.lane:
        seen = run(machine, clock, 20.0, n=10, cost=cost)  # waits 17 real milliseconds
    assert (machine.batches, seen.is_cut) == ([], True)


def test_time_that_others_took_is_seen_when_the_lane_is_free(clock):
    machine = Machine(scores_of(10), clock=clock)
    cost = BatchCost(2.0, 1.0)
    cost.lane.acquire()

    def others():
        clock.now_s += 18.0 / 1000
        cost.lane.release()

    timer = threading.Timer(0.05, others)
    timer.start()
    seen = run(machine, clock, 2000.0, n=10, cost=cost)
    timer.join()
    assert len(seen.scores) == 10
    clock.now_s += 1.0
    cost.lane.acquire()

    def too_long():
        clock.now_s += 1.0
        cost.lane.release()

    timer = threading.Timer(0.05, too_long)
    timer.start()
    seen = run(machine, clock, 500.0, n=10, cost=cost)
    timer.join()
    assert (len(seen.scores), seen.is_cut) == (0, True)


def test_without_a_deadline_the_lane_is_held_while_all_are_scored(clock):
    cost = BatchCost(2.0, 1.0)
    held = []

    class Watching(Machine):
        def score(self, query, texts):
            held.append(cost.lane.locked())
            return super().score(query, texts)

    seen = score_all(Watching(scores_of(5), clock=clock), cost, "q", [f"text {place}" for place in range(5)])
    assert held == [True]
    assert not cost.lane.locked()
    assert (seen.scores.tolist(), seen.of) == ([0, 1, 2, 3, 4], 5)


def test_the_lane_is_free_after_a_batch_that_failed(clock):
    machine = Machine({}, clock=clock)
    cost = BatchCost(2.0, 1.0)
    for _ in range(2):
        with pytest.raises(KeyError):
            run(machine, clock, 30.0, n=10, cost=cost)
    assert not cost.lane.locked()
