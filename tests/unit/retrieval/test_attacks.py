"""Attacks change what they say they change."""

from retrieval.attacks import brand_swapped, misspelt, other_units, stuffed
from retrieval.records import Product, Query

QUERIES = [Query("a", "stainless sink 5 in."), Query("b", "hammer"), Query("c", "led")]


def test_misspelt_queries_keep_their_ids_and_follow_from_the_seed():
    found = misspelt(QUERIES, edits=1, seed=1)
    assert [query.query_id for query in found] == ["a", "b", "c"]
    assert found == misspelt(QUERIES, edits=1, seed=1)
    assert found[2].text == "led"
    assert any(misspelt(QUERIES, edits=1, seed=seed) != found for seed in range(2, 6))


def test_only_queries_with_a_unit_are_rewritten():
    found = other_units(QUERIES, seed=0)
    assert found[0].text != QUERIES[0].text
    assert found[1:] == QUERIES[1:]


def test_a_stuffed_product_repeats_the_query_around_another_title(tiny_products):
    found = stuffed(QUERIES, tiny_products, seed=0)
    assert [product.product_id for product in found] == ["stuffed:0", "stuffed:1", "stuffed:2"]
    for query, product in zip(QUERIES, found, strict=True):
        assert product.title.startswith(f"{query.text} ")
        assert product.title.endswith(f" {query.text}")
        assert product.title[len(query.text) + 1 : -len(query.text) - 1] in {one.title for one in tiny_products}


def test_a_swapped_product_differs_from_a_good_one_in_its_brand_alone(tiny_products):
    products = {product.product_id: product for product in tiny_products}
    copies, fooled = brand_swapped([["0000"], [], ["gone", "0055"]], products, seed=0)
    assert fooled == [0, 2]
    for copy, original in zip(copies, (products["0000"], products["0055"]), strict=True):
        assert copy.brand != original.brand
        assert copy.title == original.title.replace(original.brand, copy.brand)
        assert copy.attributes == original.attributes


def test_products_without_a_brand_in_the_title_are_not_copied():
    assert brand_swapped([["1"]], {"1": Product("1", "kettle", brand="Acme")}, seed=0) == ([], [])
    assert brand_swapped([["1"]], {"1": Product("1", "Acme kettle", brand="Acme")}, seed=0) == ([], [])
