import json
import zipfile

import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, IcecatCatalog
from retrieval.records import Judgment, Product, Query

TONER = {
    "id": "0017",
    "name": "006R9",
    "title": "Toner cartridge",
    "short_description": " For copiers ",
    "supplier": "Xerox",
    "price": 4995,
    "ean": ["0095205603217"],
    "date_released": "2009-12-10T00:00:00Z",
    "img_500x500": "http://example.org/1.jpg",
    "img_low": "http://example.org/low.jpg",
    "attr_t_colour": "Black",
    "attr_n_pages": 23000.0,
    "attr_n_weight": 0.5,
    "attr_b_original": True,
    "attr_b_refill": False,
    "attr_t_width": "about 10",
    "attr_n_width": 10.0,
    "attr_t_blank": " ",
}


def write_archive(folder, number, objects, *, member=None):
    path = folder / f"products-{number}.json.zip"
    text = objects if isinstance(objects, str | bytes) else json.dumps(objects)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member or f"{number}.json", text)
    return path


def icecat(folder, **settings):
    return open_catalog(IcecatCatalog(**({"name": "icecat"} | settings)), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


def numbered(number):
    return {"id": f"{number:03d}", "title": f"Title {number}", "supplier": "Norvik", "price": 100 * number}


def test_every_part_of_a_product_has_its_place(tmp_path):
    write_archive(tmp_path, 1, [TONER])
    assert read(icecat(tmp_path)) == [
        Product(
            product_id="0017",
            title="Toner cartridge",
            description="For copiers",
            brand="Xerox",
            attributes={
                "colour": "Black",
                "pages": "23000",
                "weight": "0.5",
                "original": "yes",
                "refill": "no",
                "width": "about 10",
            },
            price=49.95,
            extra={
                "name": "006R9",
                "ean": "0095205603217",
                "date_released": "2009-12-10T00:00:00Z",
                "image": "http://example.org/1.jpg",
            },
        )
    ]


def test_count_first_tenth_and_last_record_over_several_archives(tmp_path):
    write_archive(tmp_path, 2, [numbered(number) for number in range(7, 23)])
    write_archive(tmp_path, 1, [numbered(number) for number in range(7)])
    products = read(icecat(tmp_path), batch_rows=4)
    assert len(products) == 23
    none = {"name": None, "ean": "", "date_released": None, "image": None}
    for place in (0, 9, 22):
        expected = Product(f"{place:03d}", f"Title {place}", brand="Norvik", price=float(place), extra=none)
        assert products[place] == expected


def test_attributes_can_be_left_out(tmp_path):
    write_archive(tmp_path, 1, [TONER])
    (product,) = read(icecat(tmp_path, attributes=False))
    assert product.attributes == {}


def test_bad_element_is_set_aside_with_its_place_in_the_array(tmp_path):
    rows = [numbered(0), {**numbered(1), "title": ""}, 7, {**numbered(3), "price": "dear"}, numbered(0), numbered(5)]
    write_archive(tmp_path, 1, rows)
    catalog = icecat(tmp_path, on_bad_rows=BadRows.quarantine)
    assert [product.product_id for product in read(catalog)] == ["000", "005"]
    assert [(example.row, example.problems) for example in catalog.report.examples] == [
        (2, ("title: empty",)),
        (3, ("row: expected a JSON object, got an integer",)),
        (4, ("price: expected a number, got text",)),
        (5, ("id: duplicate",)),
    ]


def test_half_a_surrogate_pair_is_set_aside(tmp_path):
    write_archive(
        tmp_path, 1, '[{"id": "1", "title": "a", "attr_t_x": "\\ud83d"}, {"id": "2", "title": "\\ud83d\\ude00"}]'
    )
    catalog = icecat(tmp_path, on_bad_rows=BadRows.quarantine)
    assert [product.title for product in read(catalog)] == ["\N{GRINNING FACE}"]
    assert catalog.report.quarantined == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "1"}', "expected a JSON array of products, got an object"),
        ('[{"id": "1"', "does not hold JSON"),
        (b'[{"id": "\xff"}]', "holds text that is not UTF-8"),
        ("[" * 100_000, "does not hold JSON"),
    ],
)
def test_archive_that_holds_no_array_of_products_is_refused(tmp_path, content, message):
    write_archive(tmp_path, 1, content)
    with pytest.raises(SourceDataError, match=rf"products-1\.json\.zip.*{message}"):
        read(icecat(tmp_path))


def test_archive_that_is_cut_short_or_altered_is_refused(tmp_path):
    path = write_archive(tmp_path, 1, [numbered(number) for number in range(50)])
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[80] ^= 255
    for content in (whole[:-30], bytes(altered), b""):
        path.write_bytes(content)
        with pytest.raises(SourceDataError, match=r"cannot be read as a zip archive: .*; fetch it again"):
            read(icecat(tmp_path))


def test_archive_that_unpacks_to_more_than_a_gigabyte_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    write_archive(tmp_path, 1, [numbered(1)])
    monkeypatch.setattr("retrieval.readers.icecat.MAX_ARRAY_BYTES", 20)
    with pytest.raises(SourceDataError, match=r"1\.json has \d+ bytes unpacked, more than 20"):
        read(icecat(tmp_path))


def test_folder_without_archives_is_refused(tmp_path):
    with pytest.raises(SourceDataError, match=r"has no archives products-\*\.json\.zip \(there: nothing\)"):
        read(icecat(tmp_path))


def test_queries_have_ids_made_from_their_texts_without_white_space(tmp_path):
    (tmp_path / "judgments.csv").write_text(
        'query,product_id,grade,source\nusb hub,1,3,human\ntv 42",1,0,added\nusb hub,2,0,x\n'
    )
    catalog = icecat(tmp_path)
    usb, television = catalog.queries()
    assert usb == Query("usb-hub", "usb hub")
    assert television.text == 'tv 42"'
    assert television.query_id.startswith("tv-42-")
    assert len(television.query_id) == len("tv-42-") + 8
    expected = [Judgment("usb-hub", "1", 3), Judgment(television.query_id, "1", 0), Judgment("usb-hub", "2", 0)]
    assert catalog.judgments() == expected


def test_source_without_judgments_has_no_queries(tmp_path):
    assert (icecat(tmp_path).queries(), icecat(tmp_path).judgments(), icecat(tmp_path).splits()) == ([], [], {})


def test_split_is_refused_because_there_are_none(tmp_path):
    with pytest.raises(ConfigError, match=r"catalog\.split is 'dev', but .* has no splits"):
        icecat(tmp_path, split="dev").queries()


# --- the real catalogue -----------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_real_catalogue_has_19406_products_with_first_tenth_and_last_in_place(shared_data):
    folder = shared_data / "icecat"
    catalog = icecat(folder)
    products = read(catalog)
    raw = []
    for path in catalog.files()[:4]:
        with zipfile.ZipFile(path) as archive:
            raw += json.loads(archive.read(archive.namelist()[0]))
    assert len(products) == len(raw) == catalog.report.accepted == catalog.report.rows == 19_406
    for place in (0, 9, 19_405):
        product, source = products[place], raw[place]
        assert (product.product_id, product.title, product.brand) == (source["id"], source["title"], source["supplier"])
        assert product.description == source.get("short_description", "").strip()
        assert product.price == pytest.approx(source["price"] / 100)
        assert product.extra["name"] == source["name"]
    assert sum(bool(product.description) for product in products) == 18_685
    assert len({name for product in products for name in product.attributes}) > 5_000


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "judgments", "judged_queries"), [("judgments.csv", 3_145, 88), ("judgments_human.csv", 2_352, 79)]
)
def test_real_judgments_have_their_counts(shared_data, name, judgments, judged_queries):
    catalog = icecat(shared_data / "icecat", judgments=name)
    assert len(catalog.queries()) == 90
    assert len(catalog.judgments()) == judgments
    assert len({judgment.query_id for judgment in catalog.judgments() if judgment.grade > 0}) == judged_queries
