"""Products given by a caller: what is taken, what is refused, and that the message names the product."""

import math

import numpy as np
import pytest

from indexing.errors import SourceDataError
from retrieval.delta_products import DeltaTable, checked, fitted
from retrieval.filters import NUMBER, TEXT, YES_NO
from retrieval.records import Product


def test_products_are_taken_as_a_reader_would_take_them():
    given = Product(" a", " mouse ", brand=None, attributes={"colour": " red ", "size": ""}, extra={"rating": math.nan})
    assert checked([given]) == [Product(" a", "mouse", attributes={"colour": "red"}, extra={"rating": None})]


@pytest.mark.parametrize(
    ("product", "problem"),
    [
        (Product("", "t"), r"'' \(product_id: empty\)"),
        (Product(7, "t"), r"7 \(product_id: expected text, got an integer\)"),
        (Product(["a"], "t"), r"\['a'\] \(product_id: expected text, got a list\)"),
        (Product(10**5000, "t"), r"an integer \(product_id: expected text, got an integer\)"),
        (Product("p", " "), r"'p' \(title: empty\)"),
        (Product("p", None), r"'p' \(title: missing\)"),
        (Product("p", "t", price=-1.0), r"'p' \(price: negative\)"),
        (Product("p", "t", price=math.inf), r"'p' \(price: not a finite number\)"),
        (Product("p", "t", price="9"), r"'p' \(price: expected a number, got text\)"),
        (Product("p", "t", attributes=7), r"'p' \(attributes: expected attributes"),
        (Product("p", "t", extra={"tags": ["a"]}), r"'p' \(tags: expected a single value to keep, got a list\)"),
        (Product("p", "t", extra={"brand": "a"}), r"'p' \(brand: an extra column may not have the name of a field\)"),
        (Product("p", "t", extra={"n": 10**5000}), r"'p' \(n: an integer of 16610 bits, at most 1024 kept\)"),
        (Product("p", "t", attributes={"n": 10**5000}), r"'p' \(n: an integer of 16610 bits, at most 1024 kept\)"),
        (Product("p", "t\ud800"), r"'p' \('.ud800' is not valid Unicode\)"),
    ],
)
def test_a_product_that_breaks_the_rules_is_refused_by_its_id(product, problem):
    with pytest.raises(SourceDataError, match=rf"1 of 2 products break .* none was taken: {problem}"):
        checked([Product("good", "t"), product])


def test_all_bad_products_are_named_and_an_id_comes_once():
    with pytest.raises(SourceDataError, match=r"2 of 3 .*'a' \(product_id: duplicate\); 'b' \(title: empty\)"):
        checked([Product("a", "t"), Product("a", "u"), Product("b", "")])


def test_what_is_no_product_is_refused_by_its_place():
    with pytest.raises(TypeError, match="expected products, got dict at position 1"):
        checked([Product("a", "t"), {"product_id": "b"}])


KINDS = {"code": TEXT, "stock": NUMBER, "sold_out": YES_NO}


def test_values_are_brought_to_the_kind_of_their_column():
    given = Product("a", "t", extra={"code": 6.0, "stock": 2, "sold_out": False, "new": None})
    assert fitted([given], KINDS)[0].extra == {"code": "6", "stock": 2, "sold_out": False, "new": None}


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"stock": "many"}, "stock: the column holds number, got 'many'"),
        ({"stock": True}, "stock: the column holds number, got True"),
        ({"stock": 2**63}, "stock: the column holds number, got 9223372036854775808"),
        ({"sold_out": 1}, "sold_out: the column holds yes/no, got 1"),
    ],
)
def test_a_value_of_another_kind_is_refused_or_left_out_and_logged(extra, problem, caplog):
    given = Product("a", "t", extra=extra)
    with pytest.raises(SourceDataError, match=rf"'a' \({problem}; a build would have to change its kind\)"):
        fitted([given], KINDS)
    assert fitted([given], KINDS, lenient=True)[0].extra == dict.fromkeys(extra)
    assert "1 products have values that their columns cannot hold" in caplog.text


def test_a_new_column_gets_one_kind_from_all_products():
    given = [Product("a", "t", extra={"size": 4}), Product("b", "t", extra={"size": "XL"})]
    assert [product.extra["size"] for product in fitted(given, {})] == ["4", "XL"]


def test_a_column_of_whole_numbers_becomes_one_of_decimals():
    table = DeltaTable.empty().adding([Product("a", "t", extra={"weight": 2})])
    assert type(table.products.get(0).extra["weight"]) is int
    mixed = table.adding([Product("b", "t", extra={"weight": 2.5}), Product("c", "t", extra={"weight": 2**53 + 2})])
    assert [mixed.products.get(row).extra["weight"] for row in range(3)] == [2.0, 2.5, 2.0**53 + 2]
    assert table.products.count == 1


def test_a_column_goes_with_the_last_value_in_it():
    given = [Product("a", "t", attributes={"b": "c"}, extra={"weight": 2}), Product("b", "t", extra={"height": 1})]
    table = DeltaTable.empty().adding(given)
    left = table.keeping(np.array([False, True]))
    assert (left.products.count, left.products.extra_columns) == (1, ["height"])
    assert left.adding([Product("a", "u")]).products.get(1).extra == {"height": None}
    assert left.keeping(np.array([False])).products.extra_columns == []


def test_numbers_that_were_taken_one_after_the_other_stay_numbers_when_they_are_read_together():
    given = [Product("a", "t", extra={"n": -(2**63)}), Product("b", "t", extra={"n": 1.5})]
    assert [product.extra["n"] for product in fitted(given, {}, lenient=True)] == [-(2**63), 1.5]
    assert [product.extra["n"] for product in fitted(given, {})] == ["-9223372036854775808", "1.5"]
