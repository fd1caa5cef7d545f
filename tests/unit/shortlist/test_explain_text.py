"""What ``explain`` prints, character by character where it matters."""

import json
from dataclasses import asdict

import pytest

from rerank.attribution import Attribution, DeletionTest, WordEffect
from retrieval.filters import Condition
from retrieval.lexical import WordShare
from retrieval.passages import Passage
from retrieval.records import Product
from shortlist.explain import Explanation, Otherwise, Outcome, Stage, Twin, Verdict
from shortlist.explain.text import explanation_text
from shortlist.explain.wording import headline

FAITHFUL = DeletionTest(8, 2.5, 0.75, 19, 18, 0.91, 0.005, True)


def explanation(**changes):
    made = {
        "query": "red mouse",
        "product_id": "7",
        "product": Product("7", "Mouse, red"),
        "generation": "v1",
        "verdict": Verdict.reranked_down,
        "headline": "reranked down: 3rd after fusion, 12th after reranking; the first 10 are shown",
        "k": 10,
        "rank": 12,
        "stages": (
            Stage("catalogue", Outcome.passed, of=12345),
            Stage("filter", Outcome.skipped, note="none asked for"),
            Stage("dense", Outcome.passed, 1842, 12345, 2000, 0.25, 0.125),
            Stage("lexical", Outcome.lost, of=17, note="no query word in its text"),
            Stage("fusion", Outcome.passed, 3, 2000, 100, 0.015625, 0.0078125),
            Stage("rerank", Outcome.passed, 40, 100, score=-1.5),
            Stage("answer", Outcome.lost, 12, 100, 10, 1.0, 1.25),
        ),
    }
    return Explanation(**{**made, **changes})


def test_the_stages_stand_in_a_table_between_the_verdict_and_the_times():
    assert explanation_text(explanation(timings_ms={"stages": 12.4, "total": 20.0})).splitlines() == [
        "'red mouse' -> 7 'Mouse, red' in v1",
        "Reranked down: 3rd after fusion, 12th after reranking; the first 10 are shown",
        "",
        "  stage               rank    score   to beat",
        "  dense    1,842 of 12,345   0.2500    0.1250  found      the first 2,000 go on",
        "  lexical                -                     not found  no query word in its text",
        "  fusion        3 of 2,000  0.01562  0.007812  passed     the first 100 go on",
        "  rerank         40 of 100   -1.500            passed",
        "  answer         12 of 100    1.000     1.250  LOST       the first 10 are shown",
        "",
        "stages 12 ms  total 20 ms",
    ]


def test_the_words_are_parted_into_shares_missing_and_unknown():
    words = (WordShare("mouse", 1, 2, 9, 3.0), WordShare("red", 1, 1, 40, 1.0), WordShare("pad", 1, 0, 5, 0.0))
    text = explanation_text(explanation(words=(*words, WordShare("zz", 1, 0, 0, 0.0))))
    assert "  words     mouse 75% (3.00), red 25% (1.00); not in its text: pad; in no product: zz" in text.splitlines()


def test_the_nearest_passages_are_cut_and_say_when_the_encoder_does_not_read_them():
    passages = [Passage("title", "Mouse", 0.5, True), Passage("description", "x" * 91, 0.25, False)]
    lines = explanation_text(explanation(passages=(*passages, *passages))).splitlines()
    assert lines[-3:] == [
        "  nearest   0.500 title: Mouse",
        f"            0.250 description: {'x' * 87}...  (beyond what the encoder reads)",
        "            0.500 title: Mouse",
    ]


def attribution(test):
    words = [
        WordEffect("mouse", "product", 1, 2.0),
        WordEffect("mouse", "query", 1, 1.0),
        WordEffect("the", "product", 1, 0.01),
        WordEffect("dog", "product", 1, -0.5),
        WordEffect("cat", "product", 1, -1.5),
    ]
    return Attribution(-1.5, tuple(words), left_out=0, test=test, pairs=99, elapsed_ms=12.0)


def test_an_attribution_that_holds_shows_what_raises_and_what_lowers():
    lines = explanation_text(explanation(attribution=attribution(FAITHFUL))).splitlines()
    assert lines[-4:] == [
        "  reranker  scores -1.50; the effect of each word is what is lost without it (99 pairs scored)",
        "            holds when words are deleted: 2.50 lost in this order, 0.75 in random ones; agreement 0.91, "
        "p = 0.005",
        "            raises it: mouse +2.00, mouse (query) +1.00",
        "            lowers it: cat -1.50, dog -0.50",
    ]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (DeletionTest(8, 0.5, 0.75, 19, 3, 0.1, 0.4, False), "NOT TO BE TRUSTED when words are deleted: 0.50 lost"),
        (DeletionTest(), "too little to delete for a test"),
    ],
)
def test_an_attribution_that_does_not_hold_or_cannot_be_tested_says_so(test, said):
    assert said in explanation_text(explanation(attribution=attribution(test)))


def test_twins_are_named_with_their_ranks_and_counted_when_many():
    twins = tuple(Twin(str(place), place if place < 3 else None) for place in range(1, 8))
    text = explanation_text(explanation(twins=twins))
    assert (
        "same text: 1 (rank 1), 2 (rank 2), 3, 4, 5 and 2 more; the sources score them alike, product_id decides"
        in text
    )


def test_every_condition_of_a_filter_is_shown_beside_the_product_s_value():
    conditions = ((Condition("price", "<", 50.0, 79.5, False), Condition("brand", "in", ["HP", "Xerox"], None, False)),)
    lines = explanation_text(explanation(conditions=conditions)).splitlines()
    assert lines[-2:] == [
        "  filter    price is 79.5, the filter wants < 50: does not hold",
        "  filter    brand is unknown, the filter wants in 'HP', 'Xerox': does not hold",
    ]


def test_a_product_that_is_not_there_has_a_verdict_and_nothing_else():
    stages = (Stage("catalogue", Outcome.lost, of=9), Stage("dense", Outcome.not_reached))
    absent = explanation(product=None, verdict=Verdict.not_in_catalogue, headline="not there", stages=stages)
    assert explanation_text(absent) == "'red mouse' -> 7 in v1\nNot there"


def test_an_explanation_is_json_with_plain_names():
    document = json.loads(json.dumps(asdict(explanation(attribution=attribution(FAITHFUL)))))
    assert document["verdict"] == "reranked_down"
    assert document["stages"][2]["outcome"] == "passed"
    assert document["attribution"]["test"]["is_faithful"] is True


@pytest.mark.parametrize(
    ("rank", "ordinal"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (1111, "1,111th"),
    ],
)
def test_ordinals(rank, ordinal):
    stages = [*explanation().stages[:-1], Stage("answer", Outcome.lost, rank, 2000, 10, 1.0, 1.25)]
    assert f", {ordinal} after reranking" in headline(Verdict.reranked_down, stages, k=10)


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (3, "reranked in time it would be 3rd"),
        (30, "reranked in time it would be 30th, not shown either"),
        (None, "reranked in time it would still not come so far"),
    ],
)
def test_what_would_have_been_otherwise_ends_the_headline(rank, said):
    text = headline(Verdict.below_k, explanation().stages, k=10, otherwise=Otherwise("reranked in time", rank))
    assert text.endswith(f"; the first 10 are shown; {said}")
