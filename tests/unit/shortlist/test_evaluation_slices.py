"""Kinds of query, and the facts of a catalogue that tell them."""

import pytest

from indexing.errors import ConfigError
from retrieval.records import Product
from shortlist.evaluation.facts import CatalogueFacts, collect_facts, stored_products
from shortlist.evaluation.slices import DEFINITIONS, Speller, slices_of

PRODUCTS = [
    Product("m", "Acme wireless mouse", brand="Acme", category="Computers > Mice", extra={"sold": 90}),
    Product("k", "Bose keyboard", brand="Black & Decker", category="Computers > Keyboards", extra={"sold": 5}),
    Product("s", "Red sofa", brand="3", category="Furniture", extra={"sold": 40, "shape": "round"}),
    Product("n", "No name", description="bluetooth"),
]
FACTS = collect_facts(PRODUCTS, {"m", "k", "s"})


def slice_of(name, qrels, texts, facts=FACTS):
    return slices_of(qrels, texts, facts)[name]


def of_texts(name, texts, facts=FACTS):
    return slice_of(name, {query_id: {"m": 1} for query_id in texts}, texts, facts)


def test_length_counts_the_words_as_typed():
    texts = {"a": "mouse", "b": "usb  hub", "c": "red usb hub", "d": "a b c d", "e": "a b c d e f"}
    assert of_texts("length", texts) == {"a": "1", "b": "2", "c": "3", "d": "4+", "e": "4+"}


def test_numbers_are_digits_anywhere():
    assert of_texts("numbers", {"a": "iphone15", "b": "iphone", "c": "１２ volt"}) == {
        "a": "yes",
        "b": "no",
        "c": "yes",
    }


def test_overlap_is_the_mean_share_of_the_words_in_the_titles_of_the_best_products():
    qrels = {"all": {"m": 3}, "part": {"m": 3}, "half": {"m": 2, "k": 2, "s": 1}, "low": {"s": 1}, "zero": {"m": 0}}
    texts = {"all": "MOUSE wireless", "part": "wireless mouse usb", "half": "mouse", "low": "couch", "zero": "mouse"}
    # "half": one of the two best titles holds the one word; "s" is not among the best. "zero" has no good product.
    assert slice_of("overlap", qrels, texts) == {"all": "all", "part": "part", "half": "part", "low": "low"}


def test_a_best_product_outside_the_catalogue_has_no_title_to_overlap_with():
    assert "overlap" not in slices_of({"q": {"gone": 3}}, {"q": "mouse"}, FACTS)


def test_head_and_tail_are_thirds_by_the_number_of_relevant_products():
    counts = {"a": 1, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}
    qrels = {query: {"zero": 0} | {f"p{n}": 1 for n in range(count)} for query, count in counts.items()}
    assert slices_of(qrels, {}, None) == {
        "head_tail": {"a": "tail", "b": "tail", "c": "middle", "d": "middle", "e": "head", "f": "head"}
    }


def test_equal_queries_stay_together_in_the_middle():
    qrels = {f"q{number}": {"p": 1} for number in range(9)}
    assert set(slices_of(qrels, {}, None)["head_tail"].values()) == {"middle"}


def test_head_and_tail_can_follow_a_popularity_column():
    facts = collect_facts(PRODUCTS, {"m", "k", "s"}, popularity="sold")
    assert facts.popularity == {"m": 90.0, "k": 5.0, "s": 40.0}
    qrels = {"mice": {"m": 2, "k": 1}, "keys": {"k": 2}, "sofa": {"s": 2}, "gone": {"x": 1}}
    assert slice_of("head_tail", qrels, {}, facts) == {"mice": "head", "sofa": "middle", "keys": "tail"}


@pytest.mark.parametrize("column", ["shape", "nowhere"])
def test_a_popularity_column_without_numbers_is_refused(column):
    with pytest.raises(ConfigError, match=f"popularity='{column}': no judged product has a number in that column"):
        collect_facts(PRODUCTS, {"m", "s"}, popularity=column)


def test_a_brand_is_named_when_all_its_words_stand_in_a_row():
    texts = {
        "a": "acme mouse",
        "b": "black & decker drill",
        "c": "black drill by decker",
        "d": "decker black",
        "e": "3 seats",
        "f": "mouse",
    }
    named = {"a": "named", "b": "named"}
    assert of_texts("brand", texts) == dict.fromkeys(texts, "none") | named


def test_without_brands_there_is_no_brand_slice():
    facts = collect_facts([Product("m", "mouse")], {"m"})
    assert "brand" not in slices_of({"q": {"m": 1}}, {"q": "mouse"}, facts)


@pytest.mark.parametrize(
    ("word", "is_typo"),
    [
        ("mouse", False),
        ("mose", True),
        ("moouse", True),
        ("moise", True),
        ("muose", True),
        ("mosue", True),
        ("omuse", True),
        ("mousex", True),
        ("xmouse", True),
        ("moxxse", False),
        ("rde", False),
        ("m0use", False),
        ("wirelss", True),
        ("zebra", False),
    ],
)
def test_a_typo_is_an_unknown_word_one_edit_from_a_known_one(word, is_typo):
    assert Speller({"mouse", "wireless", "red"}).is_typo(word) == is_typo


def test_typos_are_told_by_the_words_of_the_whole_catalogue():
    texts = {"a": "bluetoth mouse", "b": "bluetooth mouse", "c": "gizmo"}
    assert of_texts("typos", texts) == {"a": "yes", "b": "no", "c": "no"}


def test_a_vocabulary_that_is_given_is_taken():
    assert collect_facts(PRODUCTS, set(), vocabulary={"one"}).vocabulary == {"one"}


def test_the_department_is_the_first_level_that_most_of_the_best_products_have():
    qrels = {"q": {"m": 2, "k": 2, "s": 2}, "r": {"s": 1, "m": 0}, "t": {"n": 1}}
    assert slice_of("department", qrels, {}) == {"q": "Computers", "r": "Furniture"}


def test_every_slice_is_defined_and_empty_ones_are_left_out():
    texts = {"q": "mouse"}
    assert set(slices_of({"q": {"m": 1}}, texts, FACTS)) == set(DEFINITIONS)
    assert set(slices_of({"q": {"m": 1}}, texts, None)) == {"length", "head_tail", "numbers"}
    assert set(slices_of({"q": {"m": 1}}, texts, CatalogueFacts(product_ids={"m"}))) == {
        "length",
        "head_tail",
        "numbers",
        "typos",
    }


def test_a_bundles_products_file_is_streamed_with_one_extra_column(tmp_path):
    from retrieval.products import ProductTable

    ProductTable.write(tmp_path / "products.parquet", [PRODUCTS])
    found = list(stored_products(tmp_path / "products.parquet", extra="sold"))
    assert [(p.product_id, p.title, p.brand, p.category, p.extra) for p in found][1:] == [
        ("k", "Bose keyboard", "Black & Decker", "Computers > Keyboards", {"sold": 5}),
        ("s", "Red sofa", "3", "Furniture", {"sold": 40}),
        ("n", "No name", "", "", {"sold": None}),
    ]
    with pytest.raises(ConfigError, match="popularity='sould' is no column of the bundle; did you mean 'sold'"):
        list(stored_products(tmp_path / "products.parquet", extra="sould"))
