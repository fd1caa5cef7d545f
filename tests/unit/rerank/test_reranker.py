import numpy as np
import pytest

from rerank import PassThrough, open_reranker, rerank
from rerank.config import RerankerConfig
from rerank.final import Convex
from rerank.fusion import final_scores, partial_scores
from rerank.reranker import TAIL_GAP, combine
from retrieval.config import RuntimeConfig
from retrieval.records import Candidate


class Lookup:
    """A reranker that knows the score of each text, and what it was asked."""

    def __init__(self, scores, weight):
        self.scores = scores
        self.fusion = Convex(weight)
        self.asked = []

    def score(self, query, texts):
        self.asked.append((query, list(texts)))
        return np.array([self.scores[text] for text in texts], dtype=np.float32)


def candidates(*scores, ids=None):
    ids = ids or [f"p{place}" for place in range(1, len(scores) + 1)]
    return [
        Candidate(product_id=ids[i], row=100 + i, score=score, rank=i + 1, sources={"dense": score / 2})
        for i, score in enumerate(scores)
    ]


def texts(count):
    return [f"text {place}" for place in range(1, count + 1)]


def mixed_of(first, cross, *, weight):
    cross = np.array(cross, dtype=np.float32)
    return cross, partial_scores(first, cross, weight=weight)


def test_without_a_reranker_order_and_scores_are_the_first_stages():
    ranked = rerank("q", candidates(0.9, 0.5, 0.5), texts=texts(3), reranker=PassThrough(), depth=3)
    assert [(r.product_id, r.row, r.score) for r in ranked] == [("p1", 100, 0.9), ("p2", 101, 0.5), ("p3", 102, 0.5)]
    assert ranked[0].stages == {"dense": 0.45, "fusion": 0.9}


def test_a_reranker_of_weight_0_is_not_asked():
    lookup = Lookup({}, weight=0.0)
    ranked = rerank("q", candidates(3.0, 2.0), texts=texts(2), reranker=lookup, depth=2)
    assert [r.product_id for r in ranked] == ["p1", "p2"]
    assert lookup.asked == []


def test_weight_1_takes_the_rerankers_order():
    lookup = Lookup({"text 1": 0.0, "text 2": 5.0, "text 3": 2.0}, weight=1.0)
    ranked = rerank("q", candidates(3.0, 2.0, 1.0), texts=texts(3), reranker=lookup, depth=3)
    assert [(r.product_id, r.row) for r in ranked] == [("p2", 101), ("p3", 102), ("p1", 100)]
    assert ranked[0].stages == {"dense": 1.0, "fusion": 2.0, "rerank": 5.0}


def test_a_mixed_order_is_that_of_the_two_z_scores_worked_by_hand():
    # z first 1.2247, 0, -1.2247; z cross -1.2247, 1.2247, 0; at .5: 0, .6124, -.6124.
    lookup = Lookup({"text 1": -2.0, "text 2": 2.0, "text 3": 0.0}, weight=0.5)
    ranked = rerank("q", candidates(3.0, 2.0, 1.0), texts=texts(3), reranker=lookup, depth=3)
    assert [r.product_id for r in ranked] == ["p2", "p1", "p3"]
    assert [r.score for r in ranked] == pytest.approx([0.612372, 0.0, -0.612372], abs=1e-6)


def test_equal_final_scores_are_ordered_by_product_id():
    lookup = Lookup(dict.fromkeys(texts(3), 1.0), weight=1.0)
    ranked = rerank("q", candidates(3, 2, 1, ids=["c", "a", "b"]), texts=texts(3), reranker=lookup, depth=3)
    assert [(r.product_id, r.score) for r in ranked] == [("a", 0.0), ("b", 0.0), ("c", 0.0)]


def test_candidates_beyond_the_depth_follow_in_the_first_stages_order():
    lookup = Lookup({"text 1": 0.0, "text 2": 9.0}, weight=1.0)
    ranked = rerank("q", candidates(8.0, 7.0, 6.9, 6.9, 2.0), texts=texts(2), reranker=lookup, depth=2)
    assert [r.product_id for r in ranked] == ["p2", "p1", "p3", "p4", "p5"]
    assert lookup.asked == [("q", ["text 1", "text 2"])]
    assert "rerank" not in ranked[2].stages
    # z of two scores is +-1; the tail keeps the first stage's distances: .1 and 5 below the last candidate seen.
    assert [r.score for r in ranked] == pytest.approx(
        [1, -1, -1 - TAIL_GAP - 0.1, -1 - TAIL_GAP - 0.1, -1 - TAIL_GAP - 5]
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_scores_never_rise_down_the_list(depth):
    lookup = Lookup({text: float(place % 3) for place, text in enumerate(texts(5))}, weight=0.7)
    ranked = rerank("q", candidates(1.0, 1.0, 0.2, 0.1, 0.1), texts=texts(5), reranker=lookup, depth=depth)
    scores = [r.score for r in ranked]
    assert scores == sorted(scores, reverse=True)
    assert sorted(r.product_id for r in ranked) == ["p1", "p2", "p3", "p4", "p5"]


# --- not all of them scored -------------------------------------------------------------------------------------------


def test_candidates_that_were_not_scored_in_time_follow_in_the_first_stages_order():
    found = combine(candidates(4.0, 3.0, 2.0, 1.0), *mixed_of([4, 3, 2, 1], [0.0, 5.0], weight=1.0))
    assert [r.product_id for r in found] == ["p2", "p1", "p3", "p4"]
    assert ["rerank" in r.stages for r in found] == [True, True, False, False]
    assert [r.score for r in found] == pytest.approx([1, -1, -1 - TAIL_GAP - 1, -1 - TAIL_GAP - 2])


def test_first_stage_scores_are_standardised_over_all_candidates_whether_scored_or_not():
    # z of 4, 3, 2, 1 is 1.3416, .4472, ...; of the two cross-encoder scores -1, 1: at .5 that is .1708, .7236.
    assert partial_scores([4, 3, 2, 1], [0, 5], weight=0.5) == pytest.approx([0.170820, 0.723607], abs=1e-6)
    scores = ([4, 3, 2, 1], [0, 5, 1, 2])
    assert partial_scores(*scores, weight=0.3).tolist() == final_scores(*scores, weight=0.3).tolist()
    with pytest.raises(ValueError, match="3 candidates were scored of 2"):
        partial_scores([2, 1], [0, 0, 0], weight=0.5)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1\.5"):
        partial_scores([2, 1], [0], weight=1.5)


def test_with_every_candidate_scored_the_order_is_that_of_reranking():
    lookup = Lookup({text: float(place % 3) for place, text in enumerate(texts(6))}, weight=0.7)
    whole = rerank("q", candidates(6, 5, 3, 3, 2, 1), texts=texts(6), reranker=lookup, depth=5)
    cross = np.array(lookup.score("q", texts(5)), dtype=np.float32)
    assert combine(candidates(6, 5, 3, 3, 2, 1), *mixed_of([6, 5, 3, 3, 2], cross, weight=0.7)) == whole


def test_no_candidates_give_no_ranking():
    assert rerank("q", [], texts=[], reranker=Lookup({}, weight=0.5), depth=10) == []


def test_a_missing_text_is_an_error():
    with pytest.raises(ValueError, match="reranking 3 candidates needs as many texts, got 2"):
        rerank("q", candidates(3, 2, 1), texts=texts(2), reranker=PassThrough(), depth=30)


def test_a_depth_below_1_is_an_error():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        rerank("q", candidates(1.0), texts=texts(1), reranker=PassThrough(), depth=0)


def test_candidates_out_of_order_are_an_error():
    with pytest.raises(ValueError, match=r"'p2' at 0\.7 follows 'p1' at 0\.5"):
        rerank("q", candidates(0.5, 0.7), texts=texts(2), reranker=PassThrough(), depth=2)


def test_a_configuration_without_a_model_opens_the_pass_through():
    reranker = open_reranker(RerankerConfig(), RuntimeConfig())
    assert isinstance(reranker, PassThrough)
    assert reranker.score("q", ["a", "b"]).tolist() == [0.0, 0.0]
