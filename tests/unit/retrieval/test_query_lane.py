"""Callers that meet in the lane: what is encoded together, what each gets, and that nobody waits for ever."""

import contextlib
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexing.errors import VectorError
from retrieval.caching import BoundedCache
from retrieval.query_lane import MOST_JOINED, QueryLane, joins

PATIENCE_S = 30.0


class Tower:
    """Gives a text the vector of its letters; may be held, and fails for what is in ``bad``."""

    def __init__(self, bad=()):
        self.bad = dict(bad)
        self.batches = []
        self.entered, self.go_on = threading.Semaphore(0), threading.Event()
        self.go_on.set()

    def encode_queries(self, texts):
        self.batches.append(list(texts))
        self.entered.release()
        assert self.go_on.wait(PATIENCE_S)
        for text in texts:
            if text in self.bad:
                raise self.bad[text]
        return np.array([[len(text), sum(map(ord, text))] for text in texts], dtype=np.float32)


def vector(text):
    return [len(text), sum(map(ord, text))]


def lane_over(tower, *, joining=True, entries=0):
    return QueryLane(tower, joining=joining, cache=BoundedCache(entries=entries, size_bytes=10**6))


class Crowd:
    """Callers that arrive, in order, while the lane is busy with the first."""

    def __init__(self, lane, tower):
        self.lane, self.tower, self.pool, self.answers = lane, tower, ThreadPoolExecutor(100), []

    def arrive(self, *texts):
        self.answers.append(self.pool.submit(self.lane.encode_queries, list(texts)))
        if len(self.answers) == 1:
            assert self.tower.entered.acquire(timeout=PATIENCE_S)
        else:
            while len(self.lane._waiting) < len(self.answers) - 1:
                threading.Event().wait(0.001)

    def leave(self):
        self.tower.go_on.set()
        self.pool.shutdown()
        return self.answers


@pytest.fixture
def tower():
    return Tower()


def held(tower):
    tower.go_on.clear()
    return tower


def test_a_lone_caller_is_encoded_at_once_and_alone(tower):
    lane, threads = lane_over(tower), threading.active_count()
    assert lane.encode_queries(["ab", "c", "ab"]).tolist() == [vector("ab"), vector("c"), vector("ab")]
    assert lane.encode_queries(["d"]).tolist() == [vector("d")]
    assert tower.batches == [["ab", "c"], ["d"]]
    assert threading.active_count() == threads


def test_what_waited_while_the_tower_was_busy_goes_together_and_everybody_gets_his_own(tower):
    crowd = Crowd(lane_over(held(tower)), tower)
    for texts in (["first"], ["b", "a"], ["c"], ["a", "d"]):
        crowd.arrive(*texts)
    found = [answer.result(PATIENCE_S).tolist() for answer in crowd.leave()]
    assert tower.batches == [["first"], ["b", "a", "c", "d"]]
    assert found == [[vector(text) for text in texts] for texts in (["first"], ["b", "a"], ["c"], ["a", "d"])]


def test_without_joining_callers_take_turns_in_the_order_they_came(tower):
    lane = lane_over(held(tower), joining=False)
    assert not lane.joining
    crowd = Crowd(lane, tower)
    for text in "abcd":
        crowd.arrive(text)
    assert [answer.result(PATIENCE_S).tolist() for answer in crowd.leave()] == [[vector(text)] for text in "abcd"]
    assert tower.batches == [["a"], ["b"], ["c"], ["d"]]


def test_more_than_may_go_together_goes_in_several_and_one_caller_s_texts_are_not_parted(tower):
    crowd = Crowd(lane_over(held(tower)), tower)
    crowd.arrive("first")
    many = [f"m{n}" for n in range(MOST_JOINED + 5)]
    crowd.arrive("x")
    crowd.arrive(*many)
    crowd.arrive("y")
    crowd.leave()
    assert tower.batches == [["first"], ["x"], many, ["y"]]


def test_what_fails_for_one_caller_fails_for_that_one_alone():
    panic = type("PanicException", (BaseException,), {})
    tower = held(Tower(bad={"nan": VectorError("not finite"), "panic": panic("tokenizer")}))
    crowd = Crowd(lane_over(tower), tower)
    for texts in (["first"], ["good"], ["fine", "nan"], ["panic"], ["last"]):
        crowd.arrive(*texts)
    answers = crowd.leave()
    assert [answers[n].result(PATIENCE_S).tolist() for n in (1, 4)] == [[vector("good")], [vector("last")]]
    with pytest.raises(VectorError, match="not finite"):
        answers[2].result(PATIENCE_S)
    assert isinstance(answers[3].exception(PATIENCE_S), panic)
    assert crowd.lane.encode_queries(["z"]).tolist() == [vector("z")]


def test_when_whoever_encodes_is_interrupted_those_that_came_along_are_answered_by_the_next():
    tower = Tower(bad={"stop": KeyboardInterrupt()})
    lane = lane_over(held(tower))
    crowd = Crowd(lane, tower)
    crowd.arrive("first")
    crowd.arrive("stop", "a")
    tower.bad["a"] = KeyboardInterrupt()  # whatever leads, the batch with both in it is interrupted once
    crowd.arrive("b")
    answers = crowd.leave()
    assert isinstance(answers[1].exception(PATIENCE_S), KeyboardInterrupt)
    assert answers[2].result(PATIENCE_S).tolist() == [vector("b")]
    assert (len(lane._waiting), lane._busy) == (0, False)


def test_an_error_that_was_raised_keeps_no_frame_alive_through_itself():
    class Generation:
        pass

    class Failing(Tower):
        def encode_queries(self, texts):
            raise VectorError("not finite")

    lane = lane_over(Failing())

    def call():
        kept = Generation()
        gone = weakref.ref(kept)
        with contextlib.suppress(VectorError):
            lane.encode_queries(["nan"])
        return gone

    gc.disable()
    try:
        assert call()() is None
    finally:
        gc.enable()


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_a_text_that_was_encoded_is_not_encoded_again_and_the_vector_is_a_copy(tower):
    lane = lane_over(tower, entries=10)
    first = lane.encode_queries(["ab"])
    first[:] = 0.0
    assert lane.encode_queries(["ab"]).tolist() == [vector("ab")]
    assert lane.encode_queries(["c", "ab"]).tolist() == [vector("c"), vector("ab")]
    assert tower.batches == [["ab"], ["c"]]
    assert lane.state.entries == 2
    assert lane.state.hits == 2


def test_a_text_that_is_being_encoded_is_not_encoded_a_second_time(tower):
    crowd = Crowd(lane_over(held(tower), entries=10), tower)
    for _ in range(5):
        crowd.arrive("same")
    assert [answer.result(PATIENCE_S).tolist() for answer in crowd.leave()] == [[vector("same")]] * 5
    assert tower.batches == [["same"]]


def test_without_joining_only_what_was_encoded_alone_is_remembered_and_only_for_a_lone_text(tower):
    lane = lane_over(tower, entries=10, joining=False)
    lane.encode_queries(["a", "b"])
    lane.encode_queries(["a"])
    lane.encode_queries(["a"])
    lane.encode_queries(["a", "b"])
    assert tower.batches == [["a", "b"], ["a"], ["a", "b"]]


def test_no_texts_are_what_the_tower_makes_of_them(tower):
    assert lane_over(tower, entries=10).encode_queries([]).shape == (0,)
    assert tower.batches == [[]]


# --- whether together is the same as alone ----------------------------------------------------------------------------


class Shifting(Tower):
    """A tower whose vectors depend on how many there are."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def encode_queries(self, texts):
        return super().encode_queries(texts) + np.float32(self.by * (len(texts) - 1))


@pytest.mark.parametrize(("by", "expected"), [(0.0, True), (1e-6, True), (1e-3, False)])
def test_texts_are_joined_only_where_a_vector_does_not_depend_on_its_neighbours(by, expected, monkeypatch):
    tower = Shifting(by)
    monkeypatch.setattr(Tower, "encode_queries", lambda self, texts: np.zeros((len(texts), 2), dtype=np.float32))
    assert joins(tower, ["a", "bc", "def"]) is expected
