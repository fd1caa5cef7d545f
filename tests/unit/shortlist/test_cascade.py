"""A generation with a student in front: who is asked what, in time and late, and what is said of it."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from rerank.calibration import Calibration
from rerank.cascade import Student
from rerank.confidence import Confidence
from rerank.cost import BatchCost
from rerank.deadline import Deadline
from rerank.final import Convex
from retrieval.records import Product
from shortlist.caches import CacheConfig
from shortlist.engine import SearchEngine
from shortlist.explain.records import Outcome

COLOURS = ("red", "blue", "grey", "pink", "gold", "white")
KINDS = ("chair", "desk", "sofa", "mug")
SHOP = [Product(f"{kind}-{colour}", f"{colour} {kind}") for kind in KINDS for colour in COLOURS]


@dataclass
class Worth:
    """Scores a text by its words, and takes a millisecond for each on a clock of its own."""

    worth: dict
    weight: float = 1.0
    asked: list = field(default_factory=list)

    @property
    def fusion(self):
        return Convex(self.weight)

    def score(self, query, texts):
        self.asked += texts
        words = [text.replace(".", "").split() for text in texts]
        return np.array([sum(self.worth.get(word, 0.0) for word in found) for found in words], dtype=np.float32)


@pytest.fixture
def cascade(make_generation):
    """The student likes sofas, the whole model gold ones among whatever it is shown, and mugs even more."""
    whole, front = Worth({"gold": 3.0, "mug": 9.0}), Worth({"sofa": 2.0, "pink": 1.0})
    generation = make_generation(SHOP, reranker=whole, cost=BatchCost(2.0, 1.0))
    student = Student(front, BatchCost(2.0, 1.0), passes=10)
    return replace(generation, student=student), whole, front


def rank(generation, *, deadline_ms=None, clock=None, depth=24, **options):
    deadline = None if deadline_ms is None else Deadline.after(0.0, deadline_ms, clock)
    return generation.rank(["red chair"], recall_depth=depth, rerank_depth=depth, deadline=deadline, **options)[0]


def seen_by(stage, ranking):
    """Return how many a stage has seen, all of them before the others."""
    seen = [stage in one.stages for one in ranking.ranked]
    assert seen == sorted(seen, reverse=True)
    return sum(seen)


def test_the_whole_model_sees_what_the_student_puts_first_and_nothing_else(cascade):
    generation, whole, front = cascade
    found = rank(generation)
    assert len(front.asked) == 24
    assert len(whole.asked) == 10
    assert sum("sofa" in text for text in whole.asked) == 6
    assert found.ranked[0].product_id.startswith(("mug-", "sofa-gold"))
    assert seen_by("rerank", found) == 10
    assert all("student" in one.stages for one in found.ranked)
    assert (found.reranked, found.degraded, found.settled) == ((10, 10), (), False)
    assert {"student", "rerank"} <= found.timings_ms.keys()
    scores = [one.score for one in found.ranked]
    assert scores == sorted(scores, reverse=True)


def test_with_no_more_candidates_than_it_would_pass_on_the_student_is_not_asked(cascade):
    generation, whole, front = cascade
    found = rank(generation, depth=10)
    assert (front.asked, len(whole.asked), found.reranked) == ([], 10, (10, 10))
    assert found.ranked == rank(replace(generation, student=None), depth=10).ranked
    assert rank(generation, reranking=False).reranked == (0, 0)
    assert front.asked == []


def test_probabilities_are_of_the_whole_models_scores(cascade):
    generation, _, _ = cascade
    calibration = Calibration(kind="platt", good=2, slope=1.0)
    found = rank(replace(generation, confidence=Confidence(calibration)))
    for one in found.ranked:
        expected = 1 / (1 + np.exp(-one.stages["rerank"])) if "rerank" in one.stages else None
        assert one.probability == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_a_deadline_cuts_the_whole_model_first_and_the_student_where_even_that_is_too_much(cascade):
    generation, whole, front = cascade

    def clock():
        return (len(whole.asked) + len(front.asked)) / 1000 + 0.002 * bool(front.asked)

    in_time = rank(generation, deadline_ms=1000.0, clock=clock)
    assert (in_time.degraded, in_time.reranked) == ((), (10, 10))
    whole.asked.clear()
    front.asked.clear()
    cut = rank(generation, deadline_ms=34.0, clock=clock)
    assert len(front.asked) == 24
    assert cut.degraded == ("rerank",)
    assert 0 < cut.reranked[0] == len(whole.asked) < cut.reranked[1] == 10
    assert seen_by("rerank", cut) == len(whole.asked)
    whole.asked.clear()
    front.asked.clear()
    late = rank(generation, deadline_ms=15.0, clock=clock)
    assert 0 < len(front.asked) < 24
    assert (whole.asked, late.degraded, late.reranked) == ([], ("rerank",), (0, 10))
    assert late.warnings == ("the deadline came before the reranker had scored all candidates: 0 of 10",)
    assert seen_by("student", late) == len(front.asked)


def test_a_cheap_whole_model_is_not_asked_after_a_student_that_was_cut(cascade):
    generation, whole, front = cascade
    dear = replace(generation, student=replace(generation.student, cost=BatchCost(2.0, 30.0)))
    found = rank(dear, deadline_ms=31.0, clock=lambda: 0.0)
    assert (front.asked, whole.asked, found.degraded, found.reranked) == ([], [], ("rerank",), (0, 10))


def test_a_deadline_that_is_not_reached_changes_nothing(cascade):
    generation, _, _ = cascade
    assert rank(generation, deadline_ms=60_000.0, clock=lambda: 0.0).ranked == rank(generation).ranked


def test_an_explanation_takes_the_score_apart_and_says_who_was_not_passed_on(cascade):
    generation, _, _ = cascade
    with SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig())) as engine:
        hits = engine.search("red chair", k=24, depth=24).hits
        told = engine.explain("red chair", hits[0].product_id, k=24, depth=24)
        assert sum(told.parts.values()) == pytest.approx(hits[0].score, abs=1e-5)
        assert told.stage("rerank").outcome is Outcome.passed
        last = engine.explain("red chair", hits[-1].product_id, k=24, depth=24)
        assert (last.parts, last.stage("rerank").note) == ({}, "the student did not pass it on")
