"""Words behind a score: effects by hand, the deletion test believed and disbelieved, and what the model never reads."""

import numpy as np
import pytest

from rerank import attribution
from rerank.attribution import CutsText, attribute
from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.final import Convex
from retrieval.config import RuntimeConfig


class Sum:
    """Adds up what its words are worth; a product word may need a word of the query."""

    fusion = Convex(1.0)

    def __init__(self, worth, *, only_with=None):
        self.worth, self.only_with, self.asked = worth, only_with or {}, []

    def score(self, query, texts):
        self.asked += [(query, text) for text in texts]
        return np.array([self._one(query.lower().split(), text.lower().split()) for text in texts], dtype=np.float32)

    def _one(self, query, text):
        found = [word for word in query + text if self.only_with.get(word, word) in query + text]
        return sum(self.worth.get(word.strip(".,"), 0) for word in found)


LETTERS = " ".join("abcdefghijklmnop")
WORTH = {letter: 2.0**-place for place, letter in enumerate("abcdefghijklmnop")}


def effects(found, side):
    return {word.word: word.effect for word in found.words if word.side == side}


def test_an_effect_is_what_the_score_loses_without_the_word():
    found = attribute(Sum({"red": 2, "mouse": 3, "sofa": -4}), "red", "mouse pad sofa")
    assert found.score == 1
    assert [(w.word, w.side, w.effect) for w in found.words] == [
        ("mouse", "product", 3),
        ("red", "query", 2),
        ("pad", "product", 0),
        ("sofa", "product", -4),
    ]


def test_a_word_that_stands_twice_is_left_out_everywhere_on_its_side():
    found = attribute(Sum({"mouse": 1}), "mouse", "Mouse, red. A mouse")
    assert [(w.word, w.side, w.times, w.effect) for w in found.words[:2]] == [
        ("Mouse", "product", 2, 2),
        ("mouse", "query", 1, 1),
    ]


def test_a_product_word_that_counts_only_beside_a_query_word_shows_on_both_sides():
    found = attribute(Sum({"phone": 1}, only_with={"phone": "case"}), "case", "phone cover")
    assert effects(found, "query") == {"case": 1}
    assert effects(found, "product") == {"phone": 1, "cover": 0}


def test_leaving_a_word_out_leaves_the_rest_as_it_was():
    reranker = Sum({})
    attribute(reranker, "a-b c", "Mouse, 5 € - 鼠标!")
    pairs = set(reranker.asked)
    assert {("c", "Mouse, 5 € - 鼠标!"), ("a-b", "Mouse, 5 € - 鼠标!")} <= pairs
    assert {text for query, text in pairs if query == "a-b c"} >= {
        "Mouse, 5 € - 鼠标!",
        "5 € - 鼠标!",
        "Mouse, € - 鼠标!",
        "Mouse, 5 € - 标!",
        "Mouse, 5 € - 鼠!",
    }


def test_the_sum_of_single_words_passes_its_deletion_test():
    found = attribute(Sum(WORTH), "a b", LETTERS[4:])
    assert found.test.is_faithful is True
    assert (found.test.steps, found.test.orders, found.test.beaten) == (8, 19, 19)
    assert (found.test.agreement, found.test.p_value) == (pytest.approx(1), 1 / 200)
    # Deleting 1, then 1/2, ... loses 1, 1.5, 1.75, ...: the mean of 2 - 2^(1 - i) over i = 1 .. 8.
    assert found.test.drop == pytest.approx(np.mean([2 - 2.0 ** (1 - step) for step in range(1, 9)]))
    assert found.test.random_drop < found.test.drop


class Either(Sum):
    """Worth 10 with either of two synonyms, so that neither alone is missed, and a trifle for every other word."""

    def _one(self, query, text):
        return 10 * ("sofa" in text or "couch" in text) + 0.01 * len(set(text) - {"sofa", "couch"})


def test_effects_that_hide_behind_each_other_fail_the_deletion_test():
    found = attribute(Either({}), "seat", "sofa couch a b c d")
    assert effects(found, "product")["sofa"] == 0
    assert found.test.is_faithful is False
    assert found.test.random_drop > found.test.drop
    assert found.test.p_value > 0.05


class Noise(Sum):
    """Scores that have nothing to do with single words: a number drawn for every pair of texts."""

    def _one(self, query, text):
        return np.random.default_rng(list(" ".join([*query, "|", *text]).encode())).normal()


def test_effects_dealt_out_at_random_are_believed_as_seldom_as_chance_would():
    # The effect of a word is drawn anew with every deletion: what is believed is believed by accident.
    tests = [attribute(Noise({}), f"{seed}", LETTERS, seed=seed).test for seed in range(60)]
    assert sum(test.p_value <= 0.05 for test in tests) <= 9  # 3 expected; more than 9 would have a probability of .001
    assert sum(bool(test.is_faithful) for test in tests) <= 9
    assert sum(test.drop > test.random_drop for test in tests) > 9  # which the mean fall alone would have believed


def test_a_score_that_no_word_changes_cannot_be_tested():
    found = attribute(Sum({}), "a b", LETTERS)
    assert (found.test.is_faithful, found.test.agreement, found.test.p_value) == (None, 0, 1)


def test_too_few_words_for_the_test_are_said_to_be():
    found = attribute(Sum({"red": 1}), "red", "mouse pad")
    assert (found.test.is_faithful, found.test.orders, found.test.steps) == (None, 0, 0)


@pytest.mark.parametrize(("query", "text"), [("", ""), ("!", "- ."), ("a", "")])
def test_a_pair_with_hardly_a_word_is_no_error(query, text):
    found = attribute(Sum({}), query, text)
    assert len(found.words) == len(query.strip("!"))
    assert found.test.is_faithful is None


def test_the_random_orders_are_different_and_never_the_order_tested():
    drawn = attribution._random_orders(np.random.default_rng(1), 6, 3)
    assert len(set(drawn)) == 19
    assert (0, 1, 2) not in drawn
    # Five places, two at a time: 20 beginnings, of which all others are drawn.
    drawn = attribution._random_orders(np.random.default_rng(1), 5, 2)
    assert len(set(drawn) - {(0, 1)}) == 19


def test_equal_seeds_give_equal_tests():
    tests = [attribute(Either({}), "seat", "sofa couch a b c d", seed=seed).test for seed in (1, 1, 2)]
    assert tests[0] == tests[1] != tests[2]


def test_words_beyond_the_limit_are_counted_and_not_looked_at(monkeypatch):
    monkeypatch.setattr(attribution, "MAX_WORDS", 6)
    found = attribute(Sum(WORTH), "a b", LETTERS[4:])
    assert sorted(word.word for word in found.words) == list("abcdef")
    assert found.left_out == 10


def test_every_pair_that_was_scored_is_counted():
    reranker = Sum(WORTH)
    found = attribute(reranker, "a b", LETTERS[4:])
    assert found.pairs == len(reranker.asked)


# --- a real cross-encoder ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cross_encoder(tiny_cross_encoder_folder):
    config = CrossEncoderConfig(model=str(tiny_cross_encoder_folder), weight=0.5)
    return CrossEncoderReranker.open(config, RuntimeConfig(device="cpu", threads=1))


def test_effects_of_a_cross_encoder_are_differences_of_its_scores(cross_encoder):
    query, text = "red shoes", "Acme red running shoes"
    found = attribute(cross_encoder, query, text)
    whole, without = cross_encoder.score(query, [text, "Acme red shoes"])
    assert found.score == pytest.approx(whole, abs=1e-5)
    assert effects(found, "product")["running"] == pytest.approx(float(whole - without), abs=1e-5)


LONG = ("red running shoes ", "a mechanical keyboard with a magnetic armchair-adapter, and earbuds. ")


@pytest.mark.parametrize("query", ["red shoes", LONG[0] * 30])
@pytest.mark.parametrize("text", ["shoes", LONG[1] * 20, "x" * 9000, LONG[1] * 3 + "unpronounceable" * 20])
def test_what_is_visible_of_a_pair_has_the_tokens_of_the_pair(cross_encoder, query, text):
    assert isinstance(cross_encoder, CutsText)
    visible = cross_encoder.visible(query, text)
    whole, cut = cross_encoder.tokenizer.encode([(query, text), visible])
    assert cut.tokens.tolist() == whole.tokens.tolist()
    assert query.startswith(visible[0])
    assert text.startswith(visible[1])


def test_words_that_the_model_does_not_read_are_not_looked_at(cross_encoder):
    found = attribute(cross_encoder, "red shoes", LONG[1] * 6 + "hidden treasure")
    assert "hidden" not in {word.word for word in found.words}
    assert found.score == pytest.approx(float(cross_encoder.score("red shoes", [LONG[1] * 6 + "hidden"])[0]), abs=1e-5)
