"""Filters against a slow twin that looks at one product after another."""

import operator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from retrieval.products import ProductTable
from retrieval.records import Product

TEXTS = st.sampled_from(["", "a", "B", "é", "10", "9", "yes", "no", "1.5"])
NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 1.5, 9.0, 10.0])
COMPARE = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

products = st.lists(
    st.builds(
        Product,
        st.just(""),
        TEXTS.map(lambda text: text or "title"),
        brand=TEXTS,
        price=NUMBERS | st.none(),
        attributes=st.dictionaries(st.sampled_from(["size", "colour"]), TEXTS),
        extra=st.fixed_dictionaries({"stock": st.integers(-2, 2) | st.none(), "new": st.booleans() | st.none()}),
    ),
    min_size=1,
    max_size=8,
).map(lambda made: [replace(product, product_id=str(number)) for number, product in enumerate(made)])


def one_filter(columns, values):
    compared = st.tuples(columns, st.sampled_from(list(COMPARE)), values)
    listed = st.tuples(columns, st.sampled_from(["in", "not in"]), st.lists(values, max_size=3))
    return compared | listed


ATTRIBUTES = st.sampled_from(["attributes.size", "attributes.colour"])
any_filter = st.one_of(
    one_filter(st.sampled_from(["title", "brand", "product_id"]) | ATTRIBUTES, TEXTS),
    one_filter(st.sampled_from(["price", "stock"]) | ATTRIBUTES, NUMBERS | st.integers(-2, 10)),
    one_filter(st.just("new") | ATTRIBUTES, st.booleans()),
)
filters = st.lists(st.lists(any_filter, min_size=1, max_size=3), min_size=1, max_size=3)


def slow_value(product, column, wanted):
    """The value to compare, ``None`` for none; an attribute is read as what it is compared with."""
    if column in product.extra:
        return product.extra[column]
    if not column.startswith("attributes."):
        return getattr(product, column) if getattr(product, column) != "" else None
    text = product.attributes.get(column.removeprefix("attributes."))
    if text is None or isinstance(wanted, str):
        return text
    if isinstance(wanted, bool):
        return {"yes": True, "no": False}.get(text)
    try:
        return float(text)
    except ValueError:
        return None


def slow_holds(product, column, sign, value):
    wanted = value if not isinstance(value, list) else (value[0] if value else "")
    found = slow_value(product, column, wanted)
    if found is None:
        return False
    if sign == "in":
        return found in value
    return found not in value if sign == "not in" else COMPARE[sign](found, value)


@given(products, filters)
def test_the_rows_let_through_are_those_of_the_slow_twin(tmp_path_factory, made, wanted):
    # Every attribute exists somewhere, since a filter on one that no product has is an error.
    every = Product("all", "title", attributes={"size": "x", "colour": "x"}, extra={"stock": 0, "new": False})
    shop = [*made, every]
    path = tmp_path_factory.mktemp("shop") / "products.parquet"
    ProductTable.write(path, [shop])
    expected = [any(all(slow_holds(product, *part) for part in group) for group in wanted) for product in shop]
    table = ProductTable.open(path)
    assert table.eligible(wanted).tolist() == expected
    for row, product in enumerate(shop):
        conditions = table.conditions(wanted, row)
        assert [[c.holds for c in group] for group in conditions] == [
            [slow_holds(product, *part) for part in group] for group in wanted
        ]
        assert [[c.found for c in group] for group in conditions] == [
            [slow_value(product, part[0], "") for part in group] for group in wanted
        ]
