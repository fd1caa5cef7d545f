"""Unknown words of a query, written as the catalogue's likeliest word; everything else as it was typed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from retrieval import spelling as module
from retrieval.config import LexicalConfig
from retrieval.layered_lexical import DeltaPostings, LayeredLexicalIndex
from retrieval.lexical import LexicalIndex
from retrieval.spelling import Spelling
from retrieval.text import MAX_QUERY_CHARS
from retrieval.word_lists import NO_WORDS, WordList

TITLES = [
    *["kitchen faucet with spray"] * 3,
    *["shower door, clear glass"] * 4,
    *["electric range 240 V"] * 2,
    *["garden hoses 50 ft"] * 5,
    *["dcd790 cordless drill"] * 2,
    *["glass mosaic tile"] * 2,
    *["ginger grass seed"] * 2,
    "shovver of one product alone",
    "дверь для кухни",
    "дверь белая",
]


def spelling(*known: str, titles=TITLES):
    return Spelling(LexicalIndex.build(titles, LexicalConfig()), set(known).__contains__)


@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        ("kitchen fuacet", "kitchen faucet"),  # swapped
        ("shwer door", "shower door"),  # left out
        ("showwer door", "shower door"),  # doubled
        ("electrcc range", "electric range"),  # mistyped
        ("elecrci range", "electric range"),  # two edits in a long word
        ("gardn hosse 50ft", "garden hose 50ft"),  # two words, and what stands beside them stays
        ("Kitchn, FAUCET!", "kitchen, FAUCET!"),
        ("дверб", "дверь"),
    ],
)
def test_a_word_that_nobody_knows_becomes_the_nearest_of_the_catalogue(typed: str, searched: str):
    assert spelling().corrected(typed) == searched


@pytest.mark.parametrize(
    "query",
    [
        "kitchen faucets",  # the plural of a known word
        "dcd791 drill",  # digits beside the letters: a model number
        "shwer-790 fauct/12",
        "dor",  # three letters
        "shelving unit",  # nothing near
        "rnge",  # known to the encoder
        "",
        "50 ft !",
        "水龙头水龙",
        "دوش",
    ],
)
def test_what_is_known_short_numbered_far_off_or_of_an_alphabet_without_cases_stays(query: str):
    assert spelling("rnge").corrected(query) == query


def test_a_word_that_the_encoder_knows_is_no_mistake_though_no_product_has_it():
    assert spelling().corrected("Shovel") == "shower"
    assert spelling("shovel").corrected("Shovel") == "Shovel"
    assert spelling().corrected("dower") == "dower"  # two letters from "door", and too short for two


def test_the_plural_of_a_word_that_the_encoder_knows_is_no_mistake_either():
    titles = [*["baking soda"] * 3, *["coach bag"] * 2]
    assert spelling(titles=titles).corrected("sofas, couches") == "soda, coach"
    assert spelling("sofa", "couch", titles=titles).corrected("sofas, couches") == "sofas, couches"
    assert spelling("couch", titles=[*titles, *["couch"] * 4]).corrected("couches") == "couch"  # as products have it


@pytest.mark.parametrize("query", ["shwer\u0301x door", "fauce\u00adt"])
def test_part_of_a_word_with_marks_or_soft_hyphens_is_no_word(query: str):
    assert spelling().corrected(query) == query


def test_a_word_of_one_product_alone_may_itself_be_misspelt():
    assert spelling().corrected("shovver") == "shovver"  # there is a product to be found by it
    assert spelling().corrected("shovverx") == "shovverx"
    assert spelling(titles=[*TITLES, "another shovver"]).corrected("shovverx") == "shovver"


def test_the_other_words_of_the_query_decide_between_words_equally_near():
    titles = [*["brass lamp"] * 9, *["grass seed"] * 3]
    assert spelling(titles=titles).corrected("crass") == "brass"  # more products
    assert spelling(titles=titles).corrected("crass seed") == "grass seed"
    assert spelling(titles=titles).corrected("grasss lamp") == "grass lamp"  # one edit against two and a first letter


def test_equally_likely_words_are_taken_by_their_letters():
    titles = [*["bolt"] * 2, *["colt"] * 2]
    assert spelling(titles=titles).corrected("dolt") == "bolt"


def test_a_query_with_too_many_unknown_words_or_too_long_an_answer_stays(monkeypatch: pytest.MonkeyPatch):
    many = " ".join(["faucett"] * module.MOST_UNKNOWN)
    assert spelling().corrected(many) == " ".join(["faucet"] * module.MOST_UNKNOWN)
    assert spelling().corrected(f"{many} faucett") == f"{many} faucett"
    longest = "fauct " + "x" * (MAX_QUERY_CHARS - 6)
    assert spelling().corrected(longest) == longest


def test_what_changed_since_the_build_is_known_and_what_is_gone_is_not():
    base = LexicalIndex.build(TITLES, LexicalConfig())
    dead = np.array(["shower" in title for title in TITLES])
    layered = LayeredLexicalIndex(base, dead, DeltaPostings.empty().adding(["velvet sofa", "velvet chair"]))
    after = spelling().over(layered)
    assert after.corrected("velvte sofa") == "velvet sofa"
    assert after.corrected("shwer door") == "shwer door"
    assert [spelling().over(base).corrected(query) for query in ("velvte", "shwer")] == ["velvte", "shower"]


def test_a_large_word_is_estimated_from_rows_all_over_it():
    rows, others = np.arange(0, 50_000, 2), np.arange(0, 50_000, 4)
    assert module._together(rows, others) == pytest.approx(12_500, rel=0.01)
    assert module._together(rows[:1000], others) == 500
    assert module._together(rows[:1000], np.array([99_999])) == 0


@given(st.text("abcdеж", min_size=1, max_size=6), st.lists(st.text("abcdеж", min_size=4, max_size=4), max_size=8))
def test_the_words_that_may_be_near_are_never_too_few(word: str, kept: list[str]):
    may = WordList.of(kept).within(word, 2) if kept else NO_WORDS.within(word, 2)
    assert [one for one in kept if OSA.distance(word, one) <= 2] == [one for one in may if OSA.distance(word, one) <= 2]


def test_words_of_other_letters_are_passed_over():
    assert WordList.of(["faucet", "shower", "towels"]).within("shwoer", 1) == ["shower"]


def test_candidates_are_remembered_and_give_the_same_again(monkeypatch: pytest.MonkeyPatch):
    one = spelling()
    assert one.corrected("kitchen fuacet") == "kitchen faucet"
    monkeypatch.setattr(Spelling, "_near", lambda *_: pytest.fail("looked for again"))
    assert one.corrected("fuacet spray") == "faucet spray"
