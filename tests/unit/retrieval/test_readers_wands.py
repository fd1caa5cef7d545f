import pytest

from indexing.errors import SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, WandsCatalog
from retrieval.records import Judgment, Product, Query

HEADER = (
    "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\t"
    "rating_count\taverage_rating\treview_count"
)
QUERIES = "query_id\tquery\tquery_class\n0\tsalon chair\tMassage Chairs\n1\tsmart coffee table\tCoffee Tables\n"


def product_line(number, *, name=None, features="", rating="4.5"):
    cells = [str(number), name or f"bed {number}", "Beds", "Furniture / Beds", f"A bed, no. {number}", features]
    return "\t".join([*cells, "15.0", rating, ""])


def write_set(folder, products=(), queries=QUERIES, labels=None):
    (folder / "product.csv").write_text("\n".join([HEADER, *products]) + "\n", encoding="utf-8")
    (folder / "query.csv").write_text(queries, encoding="utf-8")
    if labels is not None:
        (folder / "label.csv").write_text("id\tquery_id\tproduct_id\tlabel\n" + labels, encoding="utf-8")
    return folder


def wands(folder, **settings):
    return open_catalog(WandsCatalog(**({"name": "wands"} | settings)), folder)


def read(catalog):
    return [product for batch in catalog.products() for product in batch.products]


def test_count_first_tenth_and_last_record(tmp_path):
    products = read(wands(write_set(tmp_path, [product_line(number) for number in range(12)])))
    assert len(products) == 12
    for place in (0, 9, 11):
        assert products[place] == Product(
            product_id=str(place),
            title=f"bed {place}",
            description=f"A bed, no. {place}",
            category="Furniture / Beds",
            extra={"product_class": "Beds", "rating_count": 15.0, "average_rating": 4.5, "review_count": None},
        )


def test_features_become_attributes_and_a_name_given_twice_keeps_both_values(tmp_path):
    features = "colour : red|overallwidth-sidetoside:64.7|colour : dark blue |ratio : 16:9|nothing|: x|y :|"
    (product,) = read(wands(write_set(tmp_path, [product_line(1, features=features)])))
    expected = {"colour": "red, dark blue", "overallwidth-sidetoside": "64.7", "ratio": "16:9"}
    assert product.attributes == expected


def test_quotes_and_commas_do_not_part_cells(tmp_path):
    line = product_line(1, name='"solid wood, 60"" bed"')
    (product,) = read(wands(write_set(tmp_path, [line])))
    assert product.title == 'solid wood, 60" bed'


def test_bad_rows_are_set_aside(tmp_path):
    lines = [product_line(1), product_line(2, rating="five"), "3\tbed", product_line(1), product_line(4, name=" ")]
    catalog = wands(write_set(tmp_path, lines), on_bad_rows=BadRows.quarantine)
    assert [product.product_id for product in read(catalog)] == ["1"]
    assert [(example.row, example.problems) for example in catalog.report.examples] == [
        (3, ("average_rating: not a number",)),
        (4, ("row: expected 9 cells, got 2",)),
        (5, ("product_id: duplicate",)),
        (6, ("product_name: empty",)),
    ]


def test_missing_column_is_refused(tmp_path):
    (tmp_path / "product.csv").write_text("product_id\tname\n1\tbed\n")
    with pytest.raises(SourceDataError, match=r"product\.csv has no column 'product_name' \(there: product_id, name\)"):
        read(wands(tmp_path))


def test_queries_and_labels_are_read_and_the_higher_of_two_labels_counts(tmp_path):
    labels = "0\t0\t7\tPartial\n1\t0\t8\tIrrelevant\n2\t0\t7\tExact\n3\t1\t9\tExact\n4\t1\t9\tIrrelevant\n"
    catalog = wands(write_set(tmp_path, labels=labels))
    assert catalog.queries() == [Query("0", "salon chair"), Query("1", "smart coffee table")]
    assert catalog.judgments() == [Judgment("0", "7", 2), Judgment("0", "8", 0), Judgment("1", "9", 2)]
    assert catalog.splits() == {}


def test_grades_of_labels_are_configuration(tmp_path):
    catalog = wands(
        write_set(tmp_path, labels="0\t0\t7\tPartial\n"), grades={"Exact": 3, "Partial": 2, "Irrelevant": 0}
    )
    assert catalog.judgments() == [Judgment("0", "7", 2)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("5\t0\t7\texact", "label: expected Exact or Partial or Irrelevant, got 'exact'"),
        ("5\t2\t7\tExact", "query_id: '2' is not among the queries"),
    ],
)
def test_bad_label_is_refused_with_file_and_row(tmp_path, row, problem):
    catalog = wands(write_set(tmp_path, labels=f"0\t0\t7\tExact\n{row}\n"))
    with pytest.raises(SourceDataError, match=rf"label\.csv\n    {problem} \(1 row: 3\)"):
        catalog.judgments()


def test_products_alone_have_no_queries_and_no_judgments(tmp_path):
    write_set(tmp_path, [product_line(1)])
    (tmp_path / "query.csv").unlink()
    catalog = wands(tmp_path)
    assert (catalog.queries(), catalog.judgments()) == ([], [])
    assert [path.name for path in catalog.files()] == ["product.csv"]
