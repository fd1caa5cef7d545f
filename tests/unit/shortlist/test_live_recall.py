"""The watch on live recall, over a handful of vectors and an index that finds what a test wants it to find."""

import gc
import logging
import threading
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

from indexing.exact import ExactIndex
from indexing.types import Neighbors
from indexing.vectors import ArrayVectors
from shortlist.monitoring.recall import RecallWatch

COUNT, DIM = 40, 8
WAIT_S = 60.0  # more than any check takes, so that a hang fails instead of hanging


def unit_vectors(count, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass
class Generation:
    version: str
    vectors: ArrayVectors
    alive: np.ndarray | None = None


class Engine:
    """Holds a generation, as an engine does, and asks its index, which finds ``found`` of the ``k`` best rows."""

    def __init__(self, name="v1"):
        self.generation = Generation(name, ArrayVectors(unit_vectors(COUNT, 1)))

    def watch(self, **options):
        defaults = {"target": 0.9, "k": 10, "sample": 1.0, "alpha": 0.05, "load": 1.0, "seed": 0}
        return RecallWatch(lambda: self.generation, **{**defaults, **options})

    def ask(self, watch, queries=1, *, found=10, k=10, eligible=None, generation=None):
        generation = generation or self.generation
        vectors = unit_vectors(queries, 2)
        there = generation.alive if eligible is None else eligible
        best = ExactIndex(generation.vectors).search(vectors, COUNT, eligible=there)
        kept = [*range(found), *range(COUNT - k + found, COUNT)]  # the best, then the worst
        watch.offer(generation, vectors, Neighbors(best.scores[:, kept], best.rows[:, kept]), eligible)


@pytest.fixture
def engine():
    return Engine()


def settled(watch):
    assert watch.settle(WAIT_S)
    return watch.state()


class Stuck:
    """Vectors that cannot be read until they are let go."""

    count, dim = COUNT, DIM

    def __init__(self, vectors):
        self.vectors, self.asked, self.free = vectors, threading.Event(), threading.Event()

    def blocks(self, size):
        self.asked.set()
        assert self.free.wait(WAIT_S)
        return self.vectors.blocks(size)


# --- what is measured -------------------------------------------------------------------------------------------------


def test_recall_is_the_share_of_the_exact_best_that_the_index_found(engine):
    with engine.watch() as watch:
        engine.ask(watch, 4, found=10)
        engine.ask(watch, 4, found=7)
        engine.ask(watch, 2, found=3)
        state = settled(watch)
    assert (state.seen, state.checked) == (10, 10)
    assert state.mean == state.recent == pytest.approx((4 * 1.0 + 4 * 0.7 + 2 * 0.3) / 10)
    assert 0 <= state.lower < state.mean < state.upper <= 1


def test_recall_is_counted_over_the_eligible_rows(engine):
    eligible = np.zeros(COUNT, dtype=np.bool_)
    eligible[::4] = True  # ten rows
    with engine.watch(k=5) as watch:
        engine.ask(watch, eligible=eligible, found=5, k=5)
        assert settled(watch).mean == 1.0
        engine.ask(watch, eligible=eligible, found=2, k=2)  # two were asked for, so two are enough
        assert settled(watch).mean == 1.0
        engine.ask(watch, eligible=eligible, found=4, k=5)
        assert settled(watch).mean == pytest.approx((1 + 1 + 0.8) / 3)


def test_rows_of_deleted_products_are_not_missed(engine):
    engine.generation.alive = np.arange(COUNT) >= 15
    with engine.watch() as watch:
        engine.ask(watch, 3, found=10)
        assert settled(watch).mean == 1.0


def test_another_row_that_ties_with_the_last_is_as_good(engine):
    same = np.tile(unit_vectors(1, 1), (COUNT, 1))
    engine.generation.vectors = ArrayVectors(np.ascontiguousarray(same))
    with engine.watch() as watch:
        engine.ask(watch, found=0)  # the worst ten of forty, all of which score the same
        assert settled(watch).mean == 1.0


def test_a_query_whose_filter_leaves_nothing_is_counted_apart(engine):
    with engine.watch() as watch:
        engine.ask(watch, eligible=np.zeros(COUNT, dtype=np.bool_))
        engine.ask(watch)
        state = settled(watch)
    assert (state.empty, state.checked, state.mean) == (1, 1, 1.0)


def test_a_check_that_fails_is_counted_and_logged_and_the_next_is_made(engine, caplog):
    with engine.watch() as watch, caplog.at_level(logging.ERROR):
        engine.ask(watch, eligible=None)
        watch.offer(engine.generation, unit_vectors(1, 2)[:, :3], Neighbors(np.ones((1, 3)), np.ones((1, 3))), None)
        engine.ask(watch)
        state = settled(watch)
    assert (state.failed, state.checked) == (1, 2)
    assert "a check failed, which is counted" in caplog.text


def test_without_a_check_there_is_no_mean_and_no_evidence(engine):
    with engine.watch(k=7, target=0.8) as watch:
        state = watch.state()
    assert (state.version, state.k, state.target) == ("v1", 7, 0.8)
    assert (state.seen, state.checked, state.mean, state.recent) == (0, 0, None, None)
    assert (state.lower, state.upper, state.evidence, state.alarm) == (0.0, 1.0, 1.0, False)


# --- sampling and the queue -------------------------------------------------------------------------------------------


def test_about_the_share_asked_for_is_sampled_and_the_seed_decides_which(engine):
    sampled = []
    for seed in (1, 1, 2):
        with engine.watch(sample=0.1, seed=seed) as watch:
            counts = []
            for _ in range(100):
                engine.ask(watch, 20)
                state = settled(watch)
                counts.append(state.checked + state.dropped)
            sampled.append(counts)
            assert state.seen == 2000
    assert sampled[0] == sampled[1] != sampled[2]
    assert all(146 <= counts[-1] <= 254 for counts in sampled)  # binomial(2000, .1): 200, standard deviation 13.4


def test_a_search_never_waits_and_what_there_is_no_room_for_is_counted(engine):
    vectors = engine.generation.vectors
    engine.generation.vectors = stuck = Stuck(vectors)
    answer = Generation("v1", vectors)
    with engine.watch() as watch:
        vector = unit_vectors(1, 2)
        found = ExactIndex(vectors).search(vector, 10)
        watch.offer(engine.generation, vector, found, None)
        assert stuck.asked.wait(WAIT_S)
        engine.ask(watch, 50, generation=answer)
        state = watch.state()
        assert (state.seen, state.checked, state.waiting, state.dropped) == (51, 0, 33, 18)
        stuck.free.set()
        state = settled(watch)
        assert (state.seen, state.checked, state.waiting, state.dropped) == (51, 33, 0, 18)


def test_checks_rest_to_keep_to_their_load_and_closing_does_not_wait_for_the_rest(engine):
    with engine.watch(load=1e-9) as watch:  # a millisecond of work asks for ten days of rest
        engine.ask(watch, 2)
        while watch.state().checked == 0:
            threading.Event().wait(0.001)
        assert not watch.settle(0.2)
        assert (watch.state().checked, watch.state().waiting) == (1, 1)


# --- the alarm --------------------------------------------------------------------------------------------------------


def test_a_decay_raises_the_alarm_once_and_it_stays(engine, caplog):
    told = []
    with engine.watch(on_alarm=told.append) as watch:
        for _ in range(100):
            engine.ask(watch, 1, found=10)
        assert not settled(watch).alarm
        while not settled(watch).alarm:
            assert watch.state().checked < 200, "the decay was not found"
            engine.ask(watch, 1, found=6)
        at_alarm = watch.state()
        for _ in range(300):
            engine.ask(watch, 1, found=10)
            settled(watch)
        after = watch.state()
    assert [state.checked for state in told] == [at_alarm.checked]
    assert at_alarm.evidence >= 20 > after.evidence
    assert after.alarm
    assert f"recall@10 of v1 is below 0.9: mean {at_alarm.mean:.4f} over {at_alarm.checked} checked" in caplog.text


def test_what_on_alarm_raises_is_logged_and_the_watch_goes_on(engine, caplog):
    def fail(state):
        raise RuntimeError("pager is off")

    with engine.watch(on_alarm=fail) as watch:
        for _ in range(30):
            engine.ask(watch, 1, found=0)
        state = settled(watch)
    assert (state.checked, state.alarm) == (30, True)
    assert caplog.text.count("on_alarm raised") == 1
    assert "pager is off" in caplog.text


def test_on_alarm_may_close_the_watch(engine):
    told = []
    watch = engine.watch(on_alarm=lambda state: (told.append(state), watch.close()))
    for _ in range(30):
        engine.ask(watch, 1, found=0)
    assert watch.settle(WAIT_S)
    watch.close()
    assert watch.state().alarm
    assert len(told) == 1


def test_recall_at_the_target_raises_no_alarm(engine):
    with engine.watch(target=0.9) as watch:
        for _ in range(200):
            engine.ask(watch, 1, found=9)
            settled(watch)
        state = watch.state()
    assert (state.checked, state.alarm) == (200, False)
    assert state.mean == pytest.approx(0.9)


# --- versions ---------------------------------------------------------------------------------------------------------


def test_another_version_begins_anew_and_says_so(engine):
    with engine.watch() as watch:
        for _ in range(30):
            engine.ask(watch, 1, found=0)
        before = settled(watch)
        engine.generation = Generation("v2", engine.generation.vectors)
        empty = watch.state()
        engine.ask(watch, 1, found=10)
        after = settled(watch)
    assert before.alarm
    assert (empty.version, empty.seen, empty.checked, empty.alarm, empty.evidence) == ("v2", 0, 0, False, 1.0)
    assert (after.seen, after.checked, after.mean) == (1, 1, 1.0)
    assert after.since == empty.since >= before.since


def test_an_answer_of_the_version_before_is_not_counted(engine):
    old = engine.generation
    with engine.watch() as watch:
        engine.generation = Generation("v2", old.vectors)
        engine.ask(watch, 3, generation=old)
        state = settled(watch)
    assert (state.version, state.seen, state.checked) == ("v2", 0, 0)


def test_a_check_that_ends_after_the_exchange_is_not_counted(engine):
    old = engine.generation
    stuck = Stuck(old.vectors)
    with engine.watch() as watch:
        found = ExactIndex(old.vectors).search(unit_vectors(1, 2), 10)
        old.vectors = stuck
        watch.offer(old, unit_vectors(1, 2), found, None)
        assert stuck.asked.wait(WAIT_S)
        engine.generation = Generation("v2", stuck.vectors)
        stuck.free.set()
        state = settled(watch)
    assert (state.version, state.checked, state.waiting) == ("v2", 0, 0)


def test_the_watch_lets_a_replaced_generation_go(engine):
    old = engine.generation
    stuck = Stuck(old.vectors)
    with engine.watch() as watch:
        found = ExactIndex(old.vectors).search(unit_vectors(1, 2), 10)
        old.vectors = stuck
        for _ in range(5):
            watch.offer(old, unit_vectors(1, 2), found, None)
        assert stuck.asked.wait(WAIT_S)
        engine.generation = Generation("v2", stuck.vectors)
        gone = weakref.ref(old)
        del old
        stuck.free.set()
        settled(watch)
        gc.collect()
        assert gone() is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_closed_watch_has_ended_its_thread_takes_nothing_and_can_still_be_read(engine):
    closed = []
    watch = engine.watch(on_close=lambda: closed.append(True))
    engine.ask(watch, 5)
    settled(watch)
    threads = [thread for thread in threading.enumerate() if thread.name == "shortlist-recall-watch"]
    watch.close()
    watch.close()
    engine.ask(watch, 5)
    engine.generation = Generation("v2", engine.generation.vectors)
    assert closed == [True]
    assert not any(thread.is_alive() for thread in threads)
    state = watch.state()
    assert (state.version, state.seen, state.checked) == ("v1", 5, 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": 2.5}, TypeError, r"k must be an int, got 2\.5"),
        ({"k": True}, TypeError, "k must be an int, got True"),
        ({"sample": 0.0}, ValueError, r"sample must be above 0 and at most 1, got 0\.0"),
        ({"sample": float("nan")}, ValueError, "sample must be above 0 and at most 1, got nan"),
        ({"load": 1.5}, ValueError, r"load must be above 0 and at most 1, got 1\.5"),
        ({"target": 1.0}, ValueError, r"target must be between 0 and 1, neither included, got 1\.0"),
        ({"alpha": 0.0}, ValueError, r"alpha must be between 0 and 1, neither included, got 0\.0"),
    ],
)
def test_a_number_out_of_range_is_refused_before_a_thread_is_started(engine, options, error, message):
    before = threading.active_count()
    with pytest.raises(error, match=message):
        engine.watch(**options)
    assert threading.active_count() == before
