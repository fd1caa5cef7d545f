"""Synthetic queries have facts, and exactly the products with these facts answer them."""

import re

import numpy as np
import pytest

from indexing.errors import SourceDataError
from retrieval.records import Product
from retrieval.synthetic import (
    FactIndex,
    SyntheticQuery,
    TemplateMask,
    category_leaf,
    facts_of,
    find_synonyms,
    synthesise,
)
from retrieval.training_config import SyntheticConfig
from retrieval.words import words

PLAIN = {"noise_share": 0.0, "synonym_share": 0.0, "shuffle_share": 0.0, "per_product": 9}


def made(products, **changes):
    return synthesise(products, FactIndex(products), SyntheticConfig(**PLAIN | changes))


def test_every_query_is_answered_by_its_own_product(tiny_products):
    index = FactIndex(tiny_products)
    for query in made(tiny_products):
        assert query.product_id in {index.product_ids[row] for row in index.having(query.facts)}


def test_every_template_occurs_and_writes_its_facts(tiny_products):
    by_template = {}
    for query in made(tiny_products):
        by_template.setdefault(query.template, []).append(query)
    assert set(by_template) == {"category", "brand", "attribute", "model", "title"}
    products = {product.product_id: product for product in tiny_products}
    for query in by_template["title"]:
        title = products[query.product_id].title.lower()
        places = [title.index(word) for word in query.text.split()]
        assert places == sorted(places)
        assert 2 <= len(query.text.split()) <= 4
    assert all(re.search(r"[a-z]\d{3}$", query.text) for query in by_template["model"])
    for query in by_template["attribute"]:
        product = products[query.product_id]
        assert query.text in {f"{value} {product.category}" for value in product.attributes.values()}


def test_the_mask_is_what_a_scan_over_all_products_finds(tiny_products):
    queries = made(tiny_products)
    index = FactIndex(tiny_products)
    mask = TemplateMask(index, queries)
    names = [product.product_id for product in tiny_products[::7]]
    texts = [query.text for query in queries]
    found = mask(texts, names)
    for number, query in enumerate(queries):
        same_text = [other.facts for other in queries if other.text == query.text]
        for place, name in enumerate(names):
            facts = facts_of(tiny_products[int(name)])
            assert found[number, place] == any(wanted <= facts for wanted in same_text)
    assert found.any()
    assert not found.all()


def test_a_text_made_from_several_facts_is_answered_by_what_has_any_of_them(tiny_products):
    by_colour = SyntheticQuery("red", "title", "0001", frozenset({("colour", "red")}))
    by_word = SyntheticQuery("red", "title", "0055", frozenset({("word", "shoes")}))
    names = ["0001", "0055", "0000"]  # a red mouse, black shoes, a black mouse
    for queries in ([by_colour, by_word], [by_word, by_colour]):
        mask = TemplateMask(FactIndex(tiny_products), queries)
        assert mask(["red"], names).tolist() == [[True, True, False]]


def test_a_query_that_is_not_ours_masks_nothing(tiny_products):
    mask = TemplateMask(FactIndex(tiny_products), made(tiny_products))
    assert not mask(["never made"], ["0000", "0001"]).any()


def test_facts_are_words_and_fields():
    product = Product(
        "1", "Acme Kettles 2l", brand="Acme", category="Home > Kitchen > Kettles", attributes={"colour": "Red"}
    )
    assert facts_of(product) == {
        *(("word", word) for word in words("Acme Kettles 2l")),
        ("brand", "acme"),
        ("category", "kettles"),
        ("colour", "red"),
    }
    assert category_leaf("a/b|c") == "c"
    assert category_leaf("") == ""


def test_no_facts_are_had_by_every_product_and_an_unknown_one_by_none(tiny_products):
    index = FactIndex(tiny_products)
    assert len(index.having(frozenset())) == 60
    assert len(index.having(frozenset({("brand", "nobody")}))) == 0
    assert len(index.having(frozenset({("brand", "nobody"), ("word", "mouse")}))) == 0


def test_the_seed_decides_the_queries(tiny_products):
    noisy = {"noise_share": 0.5, "shuffle_share": 0.5}
    assert made(tiny_products, **noisy) == made(tiny_products, **noisy)
    assert made(tiny_products, **noisy) != made(tiny_products, **noisy, seed=8)


def test_noise_changes_the_text_and_not_the_facts(tiny_products):
    plain = {(query.product_id, query.template, query.facts) for query in made(tiny_products)}
    clean_texts = {query.text for query in made(tiny_products)}
    noisy = made(tiny_products, noise_share=1.0)
    assert sum(query.text not in clean_texts for query in noisy) > len(noisy) / 3
    assert {query.template for query in noisy} == {template for _, template, _ in plain}


def test_synonyms_replace_words_of_the_text_only(tiny_products):
    index, config = FactIndex(tiny_products), SyntheticConfig(**PLAIN | {"synonym_share": 1.0})
    replaced = synthesise(tiny_products, index, config, synonyms={"mouse": "pointer"})
    texts = [query.text for query in replaced if ("word", "mouse") in query.facts]
    assert texts
    assert all("pointer" in text and "mouse" not in text for text in texts)


def test_counts_are_bounded(tiny_products):
    def some(**changes):
        return synthesise(tiny_products, FactIndex(tiny_products), SyntheticConfig(**PLAIN | changes))

    assert len(some(products=5, per_product=2)) <= 10
    assert len({query.product_id for query in some(products=5)}) <= 5


def test_titles_without_words_are_an_error():
    with pytest.raises(SourceDataError, match="none of 2 products gives a query"):
        made([Product("1", "!"), Product("2", "?")])


def test_words_in_each_others_place_are_synonyms_and_words_of_one_title_are_not():
    rng = np.random.default_rng(0)
    makers, uses, forms = ["acme", "norvik", "solari", "delta"], ["living", "guest", "garden"], ["grey", "oak", "blue"]
    titles = []
    for _ in range(400):
        maker, use, form = (some[int(rng.integers(len(some)))] for some in (makers, uses, forms))
        thing = "sofa" if rng.random() < 0.5 else "couch"
        titles.append(f"{maker} {form} {thing} {use} room")
        titles.append(f"{maker} {form} steel kettle kitchen")
    found = find_synonyms(titles)
    assert found.get("sofa") == "couch"
    assert found.get("couch") == "sofa"
    assert "steel" not in found  # its neighbour is always there
    assert find_synonyms(["one", ""]) == {}


def test_a_synthetic_query_says_where_it_comes_from():
    query = SyntheticQuery("red sofa", "attribute", "7", frozenset({("category", "sofa"), ("colour", "red")}))
    assert (query.template, query.product_id) == ("attribute", "7")


def test_settings_that_cannot_be_meant_are_refused():
    for changes, message in (
        ({"products": 0}, r"synthetic\.products must be at least 1, got 0"),
        ({"round_trip": -1}, r"synthetic\.round_trip must be 0 or more, got -1"),
        ({"noise_share": 1.5}, r"synthetic\.noise_share must be in \[0, 1\], got 1\.5"),
    ):
        with pytest.raises(ValueError, match=message):
            SyntheticConfig(**changes)
