"""Held-out queries: who is held out, over what they are ranked, when training stops and what it keeps."""

import math

import numpy as np
import pytest
import torch

from indexing.errors import SourceDataError
from retrieval.dev import DevSet, dev_set, split_queries
from retrieval.learner import rate_share
from retrieval.records import Judgment, Query
from retrieval.stopping import EarlyStopping

QUERIES = [Query(f"q{number}", f"text {number}") for number in range(10)]
TEXTS = {f"p{number:02d}": f"product {number}" for number in range(30)}


def judged(*pairs):
    return [Judgment(query_id, product_id, grade) for query_id, product_id, grade in pairs]


def split(dev_query_ids=None, dev_share=0.2, seed=0):
    judgments = judged(*((query.query_id, "p00", 2) for query in QUERIES))
    learned, held_out = split_queries(
        QUERIES, judgments, dev_query_ids=dev_query_ids, dev_share=dev_share, rng=np.random.default_rng(seed)
    )
    return [query.query_id for query in learned], [query.query_id for query in held_out]


def test_named_queries_are_held_out():
    learned, held_out = split({"q3", "q1"})
    assert held_out == ["q1", "q3"]
    assert learned == ["q0", "q2", "q4", "q5", "q6", "q7", "q8", "q9"]


def test_a_share_is_drawn_with_the_seed_and_the_rest_is_learned_from():
    learned, held_out = split(dev_share=0.3)
    assert len(held_out) == 3
    assert sorted(learned + held_out) == [query.query_id for query in QUERIES]
    assert split(dev_share=0.3) == (learned, held_out)
    assert any(split(dev_share=0.3, seed=seed)[1] != held_out for seed in range(1, 5))


def test_a_small_share_still_holds_one_out_and_none_holds_none():
    assert len(split(dev_share=0.01)[1]) == 1
    assert split(dev_share=0.0)[1] == []
    assert split(dev_query_ids=set())[1] == []


def test_queries_without_a_good_product_are_not_drawn():
    judgments = judged(("q0", "p00", 1), ("q1", "p00", 0), ("q2", "p01", 2))
    _, held_out = split_queries(QUERIES, judgments, dev_query_ids=None, dev_share=0.99, rng=np.random.default_rng(0))
    assert {query.query_id for query in held_out} == {"q0", "q2"}


def test_dev_queries_that_do_not_exist_are_an_error():
    with pytest.raises(SourceDataError, match="none of the 1 dev queries is among the 10 queries"):
        split({"q99"})


def test_the_pool_holds_every_judged_product_and_a_sample_of_the_rest():
    judgments = judged(("q0", "p05", 3), ("q0", "p07", 0), ("q1", "p09", 1), ("q2", "p11", 3))
    dev = dev_set(QUERIES[:2], judgments, TEXTS, pool=10, rng=np.random.default_rng(0))
    assert {"p05", "p07", "p09"} <= set(dev.product_ids)
    assert len(dev.product_ids) == 10
    assert list(dev.product_ids) == sorted(dev.product_ids)
    assert dev.products == tuple(TEXTS[product_id] for product_id in dev.product_ids)
    assert dev.grades == ({"p05": 3, "p07": 0}, {"p09": 1})
    assert dev_set(QUERIES[:2], judgments, TEXTS, pool=2, rng=np.random.default_rng(0)).product_ids == (
        "p05",
        "p07",
        "p09",
    )


def test_a_dev_set_without_a_good_product_is_an_error():
    with pytest.raises(SourceDataError, match="none of the 2 dev queries has a judgment above 0"):
        dev_set(QUERIES[:2], judged(("q0", "p01", 0)), TEXTS, pool=10, rng=np.random.default_rng(0))


def test_ndcg_worked_by_hand_with_a_tie_and_a_product_without_a_text():
    dev = DevSet(
        queries=("a",), grades=({"p1": 2, "p3": 1, "gone": 1},), product_ids=("p0", "p1", "p3"), products=("", "", "")
    )
    products = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    # p0 and p1 tie and p0 comes first: gains 0, 2, 1 at ranks 1, 2, 3; ideal 2, 1, 1.
    expected = (2 / math.log2(3) + 1 / 2) / (2 + 1 / math.log2(3) + 1 / 2)
    assert dev.ndcg_of(np.array([[1, 0]], dtype=np.float32), products) == pytest.approx(expected, abs=1e-12)


# --- stopping ---------------------------------------------------------------------------------------------------------


class ScriptedDev:
    """Gives prepared scores, one a look."""

    queries = ("a",)

    def __init__(self, *scores):
        self.scores = list(scores)

    def ndcg(self, tower, *, progress):
        return self.scores.pop(0)


def run(*scores, patience=2):
    """Train a weight from 0 upwards by one a step, look at each, and return where it stopped and what it kept."""
    weight = torch.nn.Parameter(torch.zeros(1))
    stopping = EarlyStopping(None, ScriptedDev(*scores), [weight], patience=patience)
    stopping.look(epoch=0.0, step=0)
    for step in range(1, len(scores)):
        with torch.no_grad():
            weight += 1
        if stopping.look(epoch=float(step), step=step):
            break
    stopping.restore()
    return step, weight.item(), stopping


def test_the_best_weights_come_back():
    step, kept, stopping = run(0.1, 0.3, 0.5, 0.4, 0.45)
    assert (step, kept, stopping.best.step) == (4, 2.0, 2)
    assert [point.ndcg for point in stopping.points] == [0.1, 0.3, 0.5, 0.4, 0.45]


def test_training_that_only_hurts_gives_the_untrained_weights_back():
    step, kept, stopping = run(0.5, 0.4, 0.5, 0.6, patience=2)
    assert (step, kept, stopping.best.epoch) == (2, 0.0, 0.0)


def test_patience_counts_looks_in_a_row():
    assert run(0.1, 0.05, 0.2, 0.1, 0.3, 0.2, 0.2, 0.2, patience=2)[0] == 6


def test_without_a_dev_set_nothing_is_looked_at_and_the_last_weights_stay():
    weight = torch.nn.Parameter(torch.zeros(1))
    stopping = EarlyStopping(None, None, [weight], patience=1)
    with torch.no_grad():
        weight += 3
    assert stopping.look(epoch=1.0, step=1) is False
    stopping.restore()
    assert (weight.item(), stopping.points, stopping.best) == (3.0, [], None)


# --- learning rate ----------------------------------------------------------------------------------------------------


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    shares = [rate_share(step, 10, 0.2) for step in range(1, 11)]
    assert shares == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


@pytest.mark.parametrize(("steps", "warmup_share"), [(1, 0.1), (1, 1.0), (5, 0.0), (5, 1.0)])
def test_the_rate_is_defined_at_the_edges(steps, warmup_share):
    shares = [rate_share(step, steps, warmup_share) for step in range(1, steps + 1)]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == 1
