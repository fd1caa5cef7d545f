from collections import Counter

import pytest

from indexing.errors import SourceDataError
from rerank.config import CrossEncoderTrainerConfig
from rerank.examples import Example, choose_examples, usable_grades
from retrieval.records import Judgment, Query

CATALOGUE = [f"p{number:03d}" for number in range(200)]
QUERIES = [Query("q1", "red mouse"), Query("q2", "sofa")]


def grades_of(*rows):
    return [Judgment(query_id, product_id, grade) for query_id, product_id, grade in rows]


def choose(qrels, *, recalled=None, **settings):
    settings = {"random_negatives": 0, "negatives_from_first_stage": 0, **settings}
    return choose_examples(
        CrossEncoderTrainerConfig(**settings),
        qrels,
        query_ids=sorted(qrels),
        product_ids=CATALOGUE,
        recalled=recalled or {},
    )


def test_grades_are_gathered_by_query_and_unknown_products_and_queries_are_left_out():
    judgments = grades_of(("q1", "p001", 3), ("q1", "gone", 2), ("q2", "p002", 0), ("q9", "p001", 1))
    assert usable_grades(QUERIES, judgments, set(CATALOGUE)) == {"q1": {"p001": 3}, "q2": {"p002": 0}}


def test_negative_grades_are_refused_with_their_count_and_the_first_of_them():
    judgments = grades_of(("q1", "p001", 3), ("q1", "p002", -1), ("q2", "p003", -2))
    with pytest.raises(SourceDataError, match=r"2 of 3 judgments .* query 'q1' and product 'p002': -1"):
        usable_grades(QUERIES, judgments, set(CATALOGUE))


def test_no_grade_above_0_is_refused_with_counts():
    judgments = grades_of(("q1", "p001", 0), ("q1", "gone", 3), ("q9", "p001", 3))
    with pytest.raises(SourceDataError, match="3 judgments, 1 of them for one of the 2 queries and 200 products"):
        usable_grades(QUERIES, judgments, set(CATALOGUE))


def test_every_judged_product_is_taken_when_there_are_few():
    qrels = {"q1": {"p001": 3, "p002": 0}, "q2": {"p003": 1}}
    assert choose(qrels) == [Example("q1", "p002", 0), Example("q1", "p001", 3), Example("q2", "p003", 1)]


def test_at_most_so_many_per_grade_are_taken_and_each_with_its_grade():
    qrels = {"q1": {product_id: number % 4 for number, product_id in enumerate(CATALOGUE[:40])}}
    chosen = choose(qrels, max_per_grade=3)
    assert Counter(example.grade for example in chosen) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert all(qrels["q1"][example.product_id] == example.grade for example in chosen)
    assert len({example.product_id for example in chosen}) == 12


def test_first_stage_negatives_are_the_judged_bad_ones_only_when_grades_are_incomplete():
    qrels = {"q1": {"p001": 3, "p002": 0, **dict.fromkeys(CATALOGUE[10:30], 0)}}
    recalled = {"q1": ["p001", "p050", "p002", "p051"]}
    chosen = choose(qrels, recalled=recalled, max_per_grade=1, negatives_from_first_stage=50)
    assert {"p050", "p051"}.isdisjoint(example.product_id for example in chosen)
    assert Example("q1", "p002", 0) in chosen


def test_unjudged_products_of_the_first_stage_are_bad_ones_when_grades_are_complete():
    qrels = {"q1": {"p001": 3}}
    recalled = {"q1": ["p001", "p050", "p051", "p052"]}
    chosen = choose(qrels, recalled=recalled, negatives_from_first_stage=2, complete_grades=True)
    assert chosen[0] == Example("q1", "p001", 3)
    assert len(chosen) == 3
    assert {example.product_id for example in chosen[1:]} < {"p050", "p051", "p052"}
    assert {example.grade for example in chosen[1:]} == {0}


def test_random_negatives_are_unjudged_and_no_product_comes_twice():
    qrels = {"q1": {product_id: number % 4 for number, product_id in enumerate(CATALOGUE[:150])}}
    chosen = choose(qrels, max_per_grade=2, random_negatives=60)
    unjudged = [example for example in chosen if example.product_id not in qrels["q1"]]
    assert {example.grade for example in unjudged} == {0}
    assert 5 <= len(unjudged) <= 30  # of 60 drawn from 200, those among the 50 that are not judged
    assert len({example.product_id for example in chosen}) == len(chosen)


def test_the_choice_follows_the_seed_and_not_the_order_of_the_catalogue():
    qrels = {"q1": {product_id: number % 4 for number, product_id in enumerate(CATALOGUE[:40])}}
    config = CrossEncoderTrainerConfig(max_per_grade=3)
    chosen = [
        choose_examples(config, qrels, query_ids=["q1"], product_ids=product_ids, recalled={})
        for product_ids in (CATALOGUE, CATALOGUE[::-1])
    ]
    assert chosen[0] == chosen[1]
    assert choose(qrels, max_per_grade=3, seed=8) != choose(qrels, max_per_grade=3, seed=9)


def test_pairs_of_one_grade_only_are_refused_with_their_count():
    with pytest.raises(SourceDataError, match=r"all 2 pairs of 1 training queries have grade 2, .*random_negatives"):
        choose({"q1": {"p001": 2, "p002": 2}})


def test_training_queries_without_a_good_product_are_refused():
    config = CrossEncoderTrainerConfig()
    qrels = {"q1": {"p001": 0}, "q2": {"p001": 3}}
    with pytest.raises(SourceDataError, match="none of the 1 queries left to train on has a grade above 0; 1 of all 2"):
        choose_examples(config, qrels, query_ids=["q1"], product_ids=CATALOGUE, recalled={})
