"""Judgments become pairs by text, and nothing that is known to fit is ever a negative."""

import numpy as np
import pytest

from indexing.errors import SourceDataError
from retrieval.pairs import training_pairs
from retrieval.records import Judgment, Query

TEXTS = {"m1": "red mouse", "m2": "blue mouse", "m3": "red mouse", "s1": "sofa", "s2": "couch", "k1": "keyboard"}
QUERIES = [Query("q1", "mouse"), Query("q2", "couch"), Query("q3", "mouse"), Query("q4", "nothing")]
JUDGMENTS = [
    Judgment("q1", "m1", 3),
    Judgment("q1", "k1", 1),
    Judgment("q2", "s1", 2),
    Judgment("q2", "s2", 3),
    Judgment("q2", "m2", 0),
    Judgment("q3", "m2", 2),
    Judgment("q3", "gone", 3),
    Judgment("other", "k1", 3),
]


def build(queries=QUERIES, judgments=JUDGMENTS, min_grade=2):
    return training_pairs(queries, judgments, TEXTS, min_grade=min_grade)


def by_text(pairs, batch):
    return [(pairs.queries[q], pairs.products[p]) for q, p in zip(batch.queries, batch.products, strict=True)]


def test_queries_of_one_wording_share_their_positives():
    pairs = build()
    assert pairs.queries == ("mouse", "couch", "nothing")
    assert pairs.products == ("red mouse", "sofa", "couch", "blue mouse")
    named = {
        query: {pairs.products[row] for row in rows} for query, rows in zip(pairs.queries, pairs.positives, strict=True)
    }
    assert named == {"mouse": {"red mouse", "blue mouse"}, "couch": {"sofa", "couch"}, "nothing": set()}


def test_known_pairs_are_those_with_a_grade_above_zero_among_positives_of_any_query():
    pairs = build(judgments=[*JUDGMENTS, Judgment("q1", "s2", 1)])
    named = {(pairs.queries[key // 4], pairs.products[key % 4]) for key in pairs.known}
    assert named == {
        ("mouse", "red mouse"),
        ("mouse", "blue mouse"),
        ("mouse", "couch"),  # grade 1: no positive, and no negative either
        ("couch", "sofa"),
        ("couch", "couch"),
    }


def test_two_products_of_one_text_are_one():
    pairs = build(judgments=[Judgment("q1", "m1", 3), Judgment("q1", "m3", 3), Judgment("q2", "s1", 3)])
    assert pairs.products == ("red mouse", "sofa")
    assert pairs.count(8) == 2


def test_judgments_of_products_without_a_text_are_counted():
    assert build().missing == 1


def test_an_epoch_holds_every_pair_once():
    pairs = build()
    batches = list(pairs.epoch(np.random.default_rng(0), max_positives=8, batch_size=2))
    assert [len(batch.queries) for batch in batches] == [2, 2]
    assert sorted(pair for batch in batches for pair in by_text(pairs, batch)) == [
        ("couch", "couch"),
        ("couch", "sofa"),
        ("mouse", "blue mouse"),
        ("mouse", "red mouse"),
    ]
    assert (pairs.count(8), pairs.count(1)) == (4, 2)


def test_a_last_batch_of_one_pair_is_dropped():
    batches = list(build().epoch(np.random.default_rng(0), max_positives=8, batch_size=3))
    assert [len(batch.queries) for batch in batches] == [3]
    assert build().batches(8, 3) == 1


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 64])
def test_the_number_of_batches_is_what_an_epoch_yields(batch_size):
    queries = [Query(f"q{number}", f"query {number}") for number in range(9)]
    judgments = [Judgment(query.query_id, product_id, 3) for query in queries for product_id in ("m1", "s1", "k1")]
    pairs = training_pairs(queries, judgments, TEXTS, min_grade=1)
    batches = list(pairs.epoch(np.random.default_rng(1), max_positives=2, batch_size=batch_size))
    assert len(batches) == pairs.batches(2, batch_size)
    assert sum(len(batch.queries) for batch in batches) in (18, 17)


def test_max_positives_draws_others_in_other_epochs_without_repeats():
    judgments = [Judgment("q1", product_id, 3) for product_id in ("m1", "m2", "s1", "s2", "k1")]
    pairs = training_pairs([QUERIES[0]], judgments, TEXTS, min_grade=1)
    rng = np.random.default_rng(2)
    drawn = [sorted(next(pairs.epoch(rng, max_positives=3, batch_size=8)).products.tolist()) for _ in range(6)]
    assert all(len(set(rows)) == 3 for rows in drawn)
    assert len({tuple(rows) for rows in drawn}) > 1


def test_the_mask_marks_every_known_pair_of_the_batch_and_no_other():
    pairs = build()
    (batch,) = pairs.epoch(np.random.default_rng(3), max_positives=8, batch_size=8)
    fits = {("mouse", "red mouse"), ("mouse", "blue mouse"), ("couch", "sofa"), ("couch", "couch")}
    for i, query in enumerate(batch.queries):
        for j, product in enumerate(batch.products):
            assert batch.known[i, j] == ((pairs.queries[query], pairs.products[product]) in fits)
    assert batch.known.diagonal().all()


def test_the_same_product_for_two_queries_is_no_negative_of_itself():
    judgments = [Judgment("q1", "m1", 3), Judgment("q2", "m1", 3), Judgment("q2", "s1", 3)]
    pairs = training_pairs(QUERIES[:2], judgments, TEXTS, min_grade=2)
    (batch,) = pairs.epoch(np.random.default_rng(4), max_positives=8, batch_size=8)
    mouse = [i for i, row in enumerate(batch.products) if pairs.products[row] == "red mouse"]
    assert len(mouse) == 2
    assert batch.known[np.ix_(mouse, mouse)].all()


def test_the_same_seed_draws_the_same_epoch():
    first, second = (
        [batch.products.tolist() for batch in build().epoch(np.random.default_rng(5), max_positives=8, batch_size=2)]
        for _ in range(2)
    )
    assert first == second


def test_nothing_to_learn_from_says_grades_and_threshold():
    expected = r"trainer\.min_grade=5, .* 4 training queries are grade 0: 1, grade 1: 1, grade 2: 2, grade 3: 3 \(1 of"
    with pytest.raises(SourceDataError, match=expected):
        build(min_grade=5)
    with pytest.raises(SourceDataError, match="judgments of the 1 training queries are none"):
        build(queries=QUERIES[3:])


def test_a_single_pair_is_too_few():
    with pytest.raises(SourceDataError, match="fewer than two"):
        build(judgments=JUDGMENTS[:1])
    with pytest.raises(SourceDataError, match="fewer than two"):  # one text twice is one pair
        build(judgments=[Judgment("q1", "m1", 3), Judgment("q3", "m3", 3)])
