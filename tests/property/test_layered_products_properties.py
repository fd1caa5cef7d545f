"""A version's products and those that came since answer like one table written anew."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexing.errors import InvalidQuery
from retrieval.delta_products import DeltaTable, checked, fitted
from retrieval.layered_products import LayeredProducts
from retrieval.products import ProductTable
from retrieval.records import Product

IDS = st.sampled_from(["", "1", "10", "9", "B", "a", "é", "é2", "\U0001f600"]).map("p{}".format)
EXTRA = st.fixed_dictionaries(
    {},
    optional={
        "stock": st.integers(0, 3) | st.none(),
        "weight": st.sampled_from([0.5, 1.0, 2, None]),
        "new": st.booleans(),
        "note": st.sampled_from(["x", "y"]),
    },
)
PRODUCTS = st.lists(
    st.builds(
        Product,
        product_id=IDS,
        title=st.sampled_from(["red mouse", "lamp"]),
        brand=st.sampled_from(["", "Acme"]),
        attributes=st.dictionaries(st.sampled_from(["colour", "size"]), st.sampled_from(["red", "4"]), max_size=2),
        price=st.none() | st.sampled_from([1.0, 2.5]),
        extra=EXTRA,
    ),
    max_size=6,
    unique_by=lambda product: product.product_id,
)
FILTERS = [
    None,
    [],
    [("price", "<", 2.0)],
    [("brand", "==", "Acme"), ("attributes.colour", "!=", "blue")],
    [[("attributes.size", ">", 3)], [("price", "==", 2.5), ("title", "in", ["lamp"])]],
]
EXTRA_FILTERS = [[("stock", ">=", 1)], [("weight", "<", 1.5)], [("new", "==", True)], [("note", "not in", ["x"])]]


def fresh(path, products):
    ProductTable.write(path, [products])
    return ProductTable.open(path)


def layered(path, base, gone, batches):
    """Layer batches of newer products over a written table; return it with the products there are now, by id."""
    table = fresh(path, base)
    now = {product.product_id: product for product in base if product.product_id not in gone}
    delta = DeltaTable.empty()
    for batch in batches:
        kinds = {**table.kinds, **delta.products.kinds}
        newer = fitted(checked(batch), kinds)
        ids = {product.product_id for product in newer}
        delta = delta.keeping(np.array([pid not in ids for pid in delta.products.product_ids], dtype=np.bool_))
        delta = delta.adding(newer)
        now |= {product.product_id: product for product in newer}
    replaced = gone | set(delta.products.product_ids)
    dead = np.array([product.product_id in replaced for product in base], dtype=np.bool_)
    return LayeredProducts(table, dead, delta.products), now


@given(PRODUCTS, st.sets(IDS, max_size=3), st.lists(PRODUCTS, max_size=3))
def test_layers_answer_like_one_table(tmp_path_factory, base, gone, batches):
    folder = tmp_path_factory.mktemp("products")
    layers, now = layered(folder / "base", base, gone, batches)
    expected = fresh(folder / "fresh", list(now.values()))
    assert expected.brands.asked(["acme"]) <= layers.brands.asked(["acme"])
    assert sorted(layers.product_id(row) for row in layers.there) == sorted(now)
    order = layers.there[np.argsort(layers.tie_rank[layers.there])]
    assert [layers.product_id(row) for row in order] == sorted(now)
    for product_id in (*now, *gone, "unheard"):
        assert (product_id in layers) == (product_id in now)
    for product_id in now:
        shown, wanted = layers.get(layers.row_of(product_id)), expected.get(expected.row_of(product_id))
        assert replace(shown, extra={}) == replace(wanted, extra={})
        held = {name: value for name, value in shown.extra.items() if value is not None}
        assert held == {name: value for name, value in wanted.extra.items() if value is not None}
    columns = [column for part in EXTRA_FILTERS for column, *_ in part]
    filters = FILTERS + [
        part for part, column in zip(EXTRA_FILTERS, columns, strict=True) if expected.has_values(column)
    ]
    for wanted in filters:
        try:
            mask = expected.eligible(wanted)
        except InvalidQuery:  # an attribute that nobody has now, but perhaps a dead product had
            continue
        let_through = {expected.product_id(row) for row in np.flatnonzero(mask)}
        assert {layers.product_id(row) for row in np.flatnonzero(layers.eligible(wanted))} == let_through
        for product_id in now:
            held = layers.conditions(wanted, layers.row_of(product_id))
            assert held == expected.conditions(wanted, expected.row_of(product_id))


def test_an_unknown_column_is_refused_although_there_are_two_tables(tmp_path):
    layers, _ = layered(tmp_path / "base", [Product("a", "t", price=1.0)], set(), [[Product("b", "t")]])
    with pytest.raises(InvalidQuery, match="did you mean 'price'"):
        layers.eligible([("prise", "<", 1.0)])
    with pytest.raises(InvalidQuery, match="there is no product 'c' among the 2 of this index"):
        layers.row_of("c")
    with pytest.raises(IndexError, match=r"row must be in \[0, 2\), got 2"):
        layers.get(2)


def test_a_product_shows_the_columns_of_both_tables(tmp_path):
    base = [Product("a", "t", extra={"stock": 3})]
    layers, _ = layered(tmp_path / "base", base, set(), [[Product("b", "t", extra={"note": "x"})]])
    assert layers.get(0).extra == {"stock": 3, "note": None}
    assert layers.get(1).extra == {"stock": None, "note": "x"}
