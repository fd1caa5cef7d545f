"""Filters on a small shop, the typed form, and every refusal."""

import numpy as np
import pytest

from indexing.errors import InvalidQuery
from retrieval import products as products_module
from retrieval.filters import conjunctions, parse_filter
from retrieval.products import ProductTable
from retrieval.records import Product

SHOP = [
    Product(
        "a",
        "red mouse",
        brand="HP",
        price=20.0,
        attributes={"size": "10", "wireless": "yes"},
        extra={"n": 1, "new": True},
    ),
    Product("b", "blue mouse", brand="Xerox", price=50.0, attributes={"size": "9.5"}, extra={"n": 2, "new": False}),
    Product("c", "black mouse", brand="", price=None, attributes={"size": "large"}, extra={"n": None, "new": None}),
    Product("d", "mouse", brand="365", price=0.0, attributes={"wireless": "No"}, extra={"n": 2**53 + 1, "code": "7"}),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("filters") / "products.parquet"
    ProductTable.write(path, [SHOP])
    return ProductTable.open(path)


def passing(table, filters):
    mask = table.eligible(filters)
    assert (mask.dtype, mask.shape) == (np.bool_, (4,))
    return "".join(np.array(table.product_ids)[mask])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, "abcd"),
        ([], "abcd"),
        ([("price", "<", 50)], "ad"),
        ([("price", "<=", 50.0)], "abd"),
        ([("price", "==", 20)], "a"),
        ([("price", "=", 20)], "a"),
        ([("price", ">", 1e300)], ""),
        ([("price", ">=", 0), ("brand", "==", "HP")], "a"),
        ([[("price", "<", 10)], [("brand", "==", "Xerox"), ("n", "==", 2)]], "bd"),
        ([("brand", "in", ["HP", "365", "none"])], "ad"),
        ([("brand", "in", {"HP"})], "a"),
        ([("price", "in", (0, 50))], "bd"),
        ([("price", "in", [])], ""),
        ([("product_id", ">", "b")], "cd"),
        ([("title", ">=", "mouse")], "ad"),
        ([("n", "==", 2**53 + 1)], "d"),
        ([("n", "==", 2**53)], ""),
        ([("n", "<", 1.5)], "a"),
        ([("n", "<", 10**30)], "abd"),
        ([("n", ">", -(10**30))], "abd"),
        ([("new", "==", True)], "a"),
        ([("code", "==", "7")], "d"),
        ([("attributes.size", "==", "10")], "a"),
        ([("attributes.size", ">", 9)], "ab"),
        ([("attributes.size", "in", [10, 9.5])], "ab"),
        ([("attributes.size", "<", "9.6")], "ab"),  # as text "10" comes before "9.6"
        ([("attributes.wireless", "==", False)], "d"),
        ([("attributes.wireless", "in", [True, False])], "ad"),
        ([["price", "<", 50]], "ad"),  # lists, as JSON brings them
        ([("price", "<", np.float32(50)), ("n", "==", np.int64(1)), ("new", "==", np.True_)], "a"),
    ],
)
def test_a_filter_lets_through_what_it_says(table, filters, expected):
    assert passing(table, filters) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("brand", "!=", "HP")], "bd"),
        ([("brand", "not in", ["HP"])], "bd"),
        ([("brand", "not in", [])], "abd"),
        ([("price", "!=", 20)], "bd"),
        ([("price", "not in", [20, 0])], "b"),
        ([("new", "!=", True)], "b"),
        ([("attributes.size", "!=", "10")], "bc"),
        ([("attributes.size", "!=", 10)], "b"),
        ([("attributes.size", "not in", [10])], "b"),
        ([("attributes.wireless", "!=", True)], "d"),
    ],
)
def test_a_null_matches_no_comparison_not_even_a_negated_one(table, filters, expected):
    assert passing(table, filters) == expected


def test_a_column_is_read_once_and_the_oldest_is_dropped_when_there_are_many(table, monkeypatch):
    monkeypatch.setattr(products_module, "_KEPT", 2)
    fresh = ProductTable(table.table)
    for _ in range(3):
        for filters, expected in (
            ([("price", "<", 50)], "ad"),
            ([("attributes.size", ">", 9)], "ab"),
            ([("n", "==", 2)], "b"),
        ):
            assert passing(fresh, filters) == expected
            assert len(fresh._comparable) <= 2


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            [("prise", "<", 5)],
            r"no column 'prise' to filter on \(there: product_id, .*, new, code, attributes\.size, .*\)",
        ),
        ([("prise", "<", 5)], r"; did you mean 'price'\?$"),
        ([("attributes.siz", "<", 5)], r"no column 'attributes\.siz' .*; did you mean 'attributes\.size'\?$"),
        ([("wireless", "==", True)], r"no column 'wireless' .*; did you mean 'attributes\.wireless'\?$"),
        ([("zzz", "<", 5)], r"no column 'zzz' .*attributes\.wireless\)$"),
        ([("attributes", "==", "x")], "no column 'attributes' to filter on"),
        ([("brand", "==", 365)], r"column 'brand' holds text, got 365 \(int\); .*quote it: brand=\"\.\.\.\""),
        ([("price", "<", "50")], r"column 'price' holds number, got '50' \(str\)"),
        ([("price", "==", True)], r"column 'price' holds number, got True \(bool\)"),
        ([("new", "==", 1)], r"column 'new' holds yes/no, got 1 \(int\)"),
        ([("price", "in", ["a"])], r"column 'price' holds number, got \['a'\] \(list\)"),
        ([("price", "~", 5)], r"expected one of the operators =, ==, .* on 'price', got '~' \(str\)"),
        ([("price", ["<"], 5)], r"expected one of the operators .* got \['<'\] \(list\)"),
        ([("price", "<", None)], r"'price' compares with valid text, .*, got None \(NoneType\)"),
        ([("price", "<", float("nan"))], r"'price' compares with .* finite number .*, got nan \(float\)"),
        ([("price", "<", 10**400)], r"'price' compares with .* finite number .*, got 1000+\.\.\.0+ \(int\)"),
        ([("price", "<", [5])], r"'price' compares with .*, got \[5\] \(list\)"),
        ([("brand", "==", "\ud800")], r"'brand' compares with valid text, .*ud800' \(str\)"),
        ([("brand", "in", ["a", None])], r"'brand' compares with .*, got None \(NoneType\)"),
        ([("brand", "in", "HP")], r"'in' on 'brand' takes a list of values, got 'HP' \(str\)"),
        ([("brand", "not in", 5)], r"'not in' on 'brand' takes a list of values, got 5 \(int\)"),
        ([("brand", "in", ["a", 5])], "'in' on 'brand' takes values of one kind, got number and text"),
        ("price<5", r"expected filters as \[\(column, operator, value\), \.\.\.\] .*, got 'price<5' \(str\)"),
        ([[]], r"none of them empty, got \[\[\]\] \(list\)"),
        ([("price", "<")], r"expected filters as .*, got \[\('price', '<'\)\]"),
        (("price", "<", 5), r"expected filters as .*, got \('price', '<', 5\) \(tuple\)"),
        ([("price", "<", 5), []], "expected filters as"),
        ([(5, "<", 5)], "expected filters as"),
        (5, r"expected filters as .*, got 5 \(int\)"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(table, filters, message):
    with pytest.raises(InvalidQuery, match=message):
        table.eligible(filters)


def test_values_of_in_become_plain_lists():
    assert conjunctions([("n", "in", np.array([1, 2]))]) == [[("n", "in", [1, 2])]]


# --- typed filters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price<50", ("price", "<", 50.0)),
        (" price >= 1e3 ", ("price", ">=", 1000.0)),
        ("price != -.5", ("price", "!=", -0.5)),
        ("brand=Xerox", ("brand", "==", "Xerox")),
        ("brand == Black & Decker", ("brand", "==", "Black & Decker")),
        ('brand="365"', ("brand", "==", "365")),
        ("brand=' HP'", ("brand", "==", " HP")),
        ('brand="', ("brand", "==", '"')),
        ("new=true", ("new", "==", True)),
        ("new!=false", ("new", "!=", False)),
        ('new="true"', ("new", "==", "true")),
        ("attributes.screen size<15.6", ("attributes.screen size", "<", 15.6)),
        ("attributes.colour in black,white", ("attributes.colour", "in", ["black", "white"])),
        ("attributes.colour  not   in  black , white", ("attributes.colour", "not in", ["black", "white"])),
        ("price in 5,10", ("price", "in", [5.0, 10.0])),
        ("size in 4,XL", ("size", "in", ["4", "XL"])),
        ('size in "4",5', ("size", "in", ["4", "5"])),
        ("code=1_000", ("code", "==", "1_000")),
        ("code=nan", ("code", "==", "nan")),
        ("url=a=b", ("url", "==", "a=b")),
        ("origin=in stock", ("origin", "==", "in stock")),
        ("品牌=惠普", ("品牌", "==", "惠普")),
    ],
)
def test_a_typed_filter_becomes_a_tuple(text, expected):
    found = parse_filter(text)
    assert found == expected
    assert type(found[2]) is type(expected[2])


@pytest.mark.parametrize("text", ["", "price", "price<", "<5", "brand in", "in a,b", "price 5", " = "])
def test_a_typed_filter_without_column_operator_or_value_is_refused(text):
    with pytest.raises(InvalidQuery, match=r"expected a filter such as 'price<50' or 'brand in HP,Xerox', got"):
        parse_filter(text)


def test_a_condition_shows_the_product_s_own_value_as_it_is_kept(table):
    wanted = [("attributes.size", "<", 9), ("n", "==", 1), ("brand", "in", ["Xerox"]), ("new", "==", True)]
    ((size, number, brand, new),) = table.conditions(wanted, 0)
    assert (size.column, size.operator, size.value, size.found, size.holds) == ("attributes.size", "<", 9, "10", False)
    assert (number.found, number.holds) == (1, True)
    assert (brand.found, brand.holds) == ("HP", False)
    assert (new.found, new.holds) == (True, True)
    assert [condition.found for condition in table.conditions(wanted, 2)[0]] == ["large", None, None, None]


def test_without_a_filter_there_is_no_condition_and_a_row_that_is_not_there_is_refused(table):
    assert table.conditions(None, 0) == []
    with pytest.raises(IndexError, match=r"row must be in \[0, 4\), got 4"):
        table.conditions([("price", "<", 9)], 4)


def test_a_number_too_long_to_be_written_is_refused_in_words():
    for value in (10**5000, [10**5000]):
        with pytest.raises(InvalidQuery, match=r"or a yes/no value, got a value of type (int|list) that is too long"):
            conjunctions([("price", "<", value)])


def test_a_column_of_a_thousand_characters_is_looked_up_and_a_longer_one_is_refused():
    assert conjunctions([("x" * 1000, "==", 1)]) == [[("x" * 1000, "==", 1)]]
    with pytest.raises(InvalidQuery, match="a column's name may have up to 1000 characters, got 1001"):
        conjunctions([("x" * 1001, "==", 1)])
