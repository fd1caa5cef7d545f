"""A product that was stored renders to the same text: vectors are found again by the text they were made from."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval.config import TextConfig
from retrieval.products import ProductTable
from retrieval.records import Product
from retrieval.text import TextTemplate

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
SMALL = st.integers(-3, 3) | st.sampled_from([0.0, 1.0, -0.5])

products = st.lists(
    st.builds(
        Product,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        st.dictionaries(TEXT, TEXT, max_size=3),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.fixed_dictionaries({"any": SCALAR, "number": SMALL, "flag": st.booleans() | st.none()}),
    ),
    max_size=6,
    unique_by=lambda product: product.product_id,
)
TEMPLATE = TextTemplate(
    TextConfig(
        fields=["title", "description", "brand", "category", "price", "attributes", "any", "number", "flag"],
        labels=True,
    )
)


@given(products)
def test_a_stored_product_renders_to_the_same_text(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("shop") / "products.parquet"
    ProductTable.write(path, [made])
    table = ProductTable.open(path)
    assert table.product_ids == [product.product_id for product in made]
    for row, product in enumerate(made):
        assert TEMPLATE.render(table.get(row)) == TEMPLATE.render(product)
        assert table.get(row).attributes == product.attributes
        assert table.get(row).price == product.price
