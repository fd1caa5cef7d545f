"""Judgments become pairs by text, and nothing that is known to fit is ever a negative."""

import numpy as np
import pytest

from indexing.errors import SourceDataError
from retrieval.pairs import training_pairs
from retrieval.records import Judgment, Query
from retrieval.training_config import Weighting

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


def build(queries=QUERIES, judgments=JUDGMENTS, min_grade=2, **options):
    return training_pairs(queries, judgments, TEXTS, min_grade=min_grade, **options)


def positives(pairs, batch):
    """Every positive place of a batch by text, with its weight."""
    return {
        (pairs.queries[batch.queries[i]], pairs.products[batch.products[j]]): float(batch.weights[i, j])
        for i, j in zip(*np.nonzero(batch.weights), strict=True)
    }


def negatives(pairs, batch):
    return {
        (pairs.queries[batch.queries[i]], pairs.products[batch.products[j]])
        for i, j in zip(*np.nonzero(batch.negatives), strict=True)
    }


def whole(pairs, max_negatives=0):
    (batch,) = pairs.epoch(np.random.default_rng(3), max_positives=8, batch_size=64, max_negatives=max_negatives)
    return batch


def test_queries_of_one_wording_share_their_positives():
    pairs = build()
    assert pairs.queries == ("mouse", "couch", "nothing")
    named = {
        query: {pairs.products[row] for row in rows} for query, rows in zip(pairs.queries, pairs.positives, strict=True)
    }
    assert named == {"mouse": {"red mouse", "blue mouse"}, "couch": {"sofa", "couch"}, "nothing": set()}


def test_a_positive_weighs_its_grade_as_a_share_of_the_scale():
    pairs = build()
    assert positives(pairs, whole(pairs)) == pytest.approx(
        {
            ("mouse", "red mouse"): 1.0,
            ("mouse", "blue mouse"): 2 / 3,
            ("couch", "sofa"): 2 / 3,
            ("couch", "couch"): 1.0,
        }
    )
    assert set(positives(build(max_grade=4), whole(build(max_grade=4))).values()) == {0.75, 0.5}
    assert set(positives(build(weighting=Weighting.equal), whole(build(weighting=Weighting.equal))).values()) == {1.0}


def test_of_two_grades_of_one_pair_of_texts_the_higher_counts():
    pairs = build(judgments=[*JUDGMENTS, Judgment("q3", "m3", 2)])
    assert positives(pairs, whole(pairs))["mouse", "red mouse"] == 1.0


def test_a_grade_outside_the_scale_is_an_error():
    with pytest.raises(SourceDataError, match=r"grade 3 of query 'q1' and product 'm1' is outside the scale 0\.\.2"):
        build(max_grade=2)
    with pytest.raises(
        SourceDataError, match=r"grade -1 of query 'q2' and product 'k1' is outside .*trainer.max_grade"
    ):
        build(judgments=[*JUDGMENTS, Judgment("q2", "k1", -1)])


def test_nothing_with_a_grade_above_zero_is_a_negative():
    judgments = [*JUDGMENTS, Judgment("q1", "s2", 1)]  # grade 1: no positive, and no negative either
    pairs = build(judgments=judgments)
    found = negatives(pairs, whole(pairs))
    assert ("mouse", "couch") not in found
    assert ("mouse", "sofa") in found
    assert ("couch", "blue mouse") in found
    assert not found & set(positives(pairs, whole(pairs)))


def test_no_variant_of_a_product_that_fits_is_a_negative():
    judgments = [Judgment("q1", "m1", 3), Judgment("q2", "m2", 3), Judgment("q2", "s1", 3)]
    alone = build(judgments=judgments)
    assert ("mouse", "blue mouse") in negatives(alone, whole(alone))
    together = build(judgments=judgments, variants={"m1": "mouse", "m2": "mouse"})
    found = negatives(together, whole(together))
    assert ("mouse", "blue mouse") not in found
    assert ("mouse", "sofa") in found


def test_a_product_judged_zero_beside_a_variant_that_fits_is_not_drawn():
    judgments = [Judgment("q1", "m1", 3), Judgment("q1", "m2", 0), Judgment("q1", "k1", 0), Judgment("q2", "s1", 3)]
    pairs = build(judgments=judgments, variants={"m1": "mouse", "m2": "mouse"})
    assert [pairs.products[row] for row in pairs.negatives[0]] == ["keyboard"]


def test_what_is_known_elsewhere_is_never_a_negative():
    def also_fits(queries, product_ids):
        return np.array([[query == "mouse" and name == "s1" for name in product_ids] for query in queries])

    pairs = build(also_fits=also_fits)
    found = negatives(pairs, whole(pairs))
    assert ("mouse", "sofa") not in found
    assert ("mouse", "couch") in found


def test_products_judged_zero_join_the_batch_when_asked_for():
    pairs = build(judgments=[*JUDGMENTS, Judgment("q2", "k1", 0)])
    without, one = (whole(pairs, count) for count in (0, 1))
    assert len(without.products) == 4
    drawn = {pairs.products[row] for row in one.products} - {pairs.products[row] for row in without.products}
    assert drawn <= {"keyboard"}
    both = whole(pairs, 2)
    assert ("couch", "keyboard") in negatives(pairs, both)
    assert ("couch", "blue mouse") in negatives(pairs, both)


def test_mined_products_become_negatives_unless_they_are_known_to_fit():
    pairs = build(judgments=[*JUDGMENTS, Judgment("q2", "m1", 1)])
    texts = TEXTS | {"c9": "cable", "m9": "green mouse"}
    mined = {"mouse": ["c9", "m2", "m9"], "couch": ["m1", "c9"]}
    wider = pairs.with_negatives(mined, texts, {})
    named = [[wider.products[row] for row in rows] for rows in wider.negatives]
    assert [sorted(names) for names in named] == [["cable", "green mouse"], ["blue mouse", "cable"], []]
    assert positives(wider, whole(wider)) == positives(pairs, whole(pairs))
    before, after = negatives(pairs, whole(pairs)), negatives(wider, whole(wider))
    assert before == after
    grouped = build(variants={"m1": "mice"}).with_negatives(mined, texts, {"m9": "mice", "m1": "mice"})
    assert [grouped.products[row] for row in grouped.negatives[0]] == ["cable"]


def test_two_products_of_one_text_are_one():
    pairs = build(judgments=[Judgment("q1", "m1", 3), Judgment("q1", "m3", 3), Judgment("q2", "s1", 3)])
    assert pairs.products == ("red mouse", "sofa")
    assert pairs.count(8) == 2


def test_judgments_of_products_without_a_text_are_counted():
    assert build().missing == 1


def test_an_epoch_holds_every_pair_once():
    pairs = build()
    batches = list(pairs.epoch(np.random.default_rng(0), max_positives=8, batch_size=2))
    assert len(batches) == 2
    fits = {("couch", "couch"), ("couch", "sofa"), ("mouse", "blue mouse"), ("mouse", "red mouse")}
    assert {pair for batch in batches for pair in positives(pairs, batch)} == fits
    assert (pairs.count(8), pairs.count(1)) == (4, 2)


def test_every_text_of_a_batch_is_there_once():
    batch = whole(build())
    assert sorted(set(batch.queries.tolist())) == batch.queries.tolist()
    assert sorted(set(batch.products.tolist())) == batch.products.tolist()
    assert batch.weights.shape == batch.negatives.shape == (len(batch.queries), len(batch.products))


def test_a_last_batch_of_one_pair_is_dropped():
    batches = list(build().epoch(np.random.default_rng(0), max_positives=8, batch_size=3))
    assert len(batches) == 1
    assert build().batches(8, 3) == 1


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 64])
def test_the_number_of_batches_is_what_an_epoch_yields(batch_size):
    queries = [Query(f"q{number}", f"query {number}") for number in range(9)]
    judgments = [Judgment(query.query_id, product_id, 3) for query in queries for product_id in ("m1", "s1", "k1")]
    pairs = training_pairs(queries, judgments, TEXTS, min_grade=1)
    batches = list(pairs.epoch(np.random.default_rng(1), max_positives=2, batch_size=batch_size))
    assert len(batches) == pairs.batches(2, batch_size)


def test_max_positives_draws_others_in_other_epochs_without_repeats():
    judgments = [Judgment("q1", product_id, 3) for product_id in ("m1", "m2", "s1", "s2", "k1")]
    pairs = training_pairs([QUERIES[0]], judgments, TEXTS, min_grade=1)
    rng = np.random.default_rng(2)
    drawn = [next(pairs.epoch(rng, max_positives=3, batch_size=8)).products.tolist() for _ in range(6)]
    assert all(len(rows) == 3 for rows in drawn)
    assert len({tuple(rows) for rows in drawn}) > 1


def test_the_same_product_for_two_queries_is_no_negative_of_either():
    judgments = [Judgment("q1", "m1", 3), Judgment("q2", "m1", 3), Judgment("q2", "s1", 3)]
    pairs = training_pairs(QUERIES[:2], judgments, TEXTS, min_grade=2)
    assert negatives(pairs, whole(pairs)) == {("mouse", "sofa")}


def test_the_same_seed_draws_the_same_epoch():
    pairs = build(judgments=[*JUDGMENTS, Judgment("q2", "k1", 0)])
    options = {"max_positives": 8, "batch_size": 2, "max_negatives": 1}
    first, second = (
        [batch.products.tolist() for batch in pairs.epoch(np.random.default_rng(5), **options)] for _ in range(2)
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
