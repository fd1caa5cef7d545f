"""Queries for what a shop does not have."""

import pytest

from retrieval.batches import RoleTokenizer
from retrieval.records import Product
from shortlist.jobs.elsewhere import Elsewhere

CHAIRS = [
    Product("1", "blue garden chair", brand="Acme", attributes={"model": "ac-4711"}),
    Product("2", "red garden chair", brand="Acme"),
    Product("3", "green garden chair", brand="Other"),
]
SHOP = [*CHAIRS, Product("4", "sofa"), Product("5", "violin case")]


@pytest.fixture
def elsewhere():
    return Elsewhere(["violin", "lipstick", "sofa", "cheap", "ox", "3000"], SHOP, ["cheap chair"], seed=7)


def test_what_all_products_share_becomes_a_word_that_neither_products_nor_queries_hold(elsewhere):
    assert elsewhere.query("blue garden chair", CHAIRS) == "blue lipstick"
    assert elsewhere.query("comfy chair by acme", CHAIRS) == "comfy lipstick by acme"


def test_a_model_number_becomes_one_that_does_not_exist(elsewhere):
    found = elsewhere.query("order ac-4711", CHAIRS[:1])
    assert found.startswith("order ac-")
    assert found != "order ac-4711"
    assert found == elsewhere.query("order ac-4711", CHAIRS[:1])


def test_where_nothing_is_shared_or_nothing_is_foreign_there_is_none(elsewhere):
    assert elsewhere.query("comfy armchair", CHAIRS) is None
    assert elsewhere.query("garden chair", []) is None
    assert Elsewhere(["sofa"], SHOP, [], seed=7).query("garden chair", CHAIRS) is None


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        (["[CLS]", "##ing", "chair", "sofa", "3"], ["chair", "sofa"]),
        (["<s>", "\u2581chair", "ing", "\u2581sofa", "\u25813"], ["chair", "sofa"]),
    ],
)
def test_the_whole_words_of_a_vocabulary_are_those_that_begin_one(vocabulary, expected):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    numbers = {word: number for number, word in enumerate(vocabulary)}
    serialised = Tokenizer(WordLevel(numbers, unk_token=vocabulary[0])).to_str()
    assert RoleTokenizer(serialised, prompt="", max_tokens=8).whole_words() == expected
