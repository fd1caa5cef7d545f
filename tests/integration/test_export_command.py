"""A catalogue exported as a BEIR folder and read back."""

import json
from pathlib import Path

import pytest

from indexing import storage
from indexing.errors import SourceDataError, StorageError
from retrieval.catalog import open_catalog
from retrieval.config import BeirCatalog, IcecatCatalog, TabularCatalog
from retrieval.records import Judgment, Product, Query
from shortlist.cli import main
from shortlist.evaluation.beir import write_beir
from shortlist.evaluation.interchange import read_judgments


def test_a_catalogue_comes_back_from_beir_as_it_was(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "beir"
    assert main(["export", "--source", str(shop), "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "folder": str(out), "products": 60, "queries": 10, "judgments": {"test": 600}, "outside": 0,
    }  # fmt: skip
    before = open_catalog(TabularCatalog(name="parquet", keep=["*"]), shop)
    after = open_catalog(BeirCatalog(name="beir"), out)
    first, back = ([p for batch in catalog.products() for p in batch.products] for catalog in (before, after))
    assert [(p.product_id, p.title, p.description) for p in back] == [
        (p.product_id, p.title, p.description) for p in first
    ]
    assert after.queries() == before.queries()
    assert after.judgments() == before.judgments()
    judged, qrels = read_judgments(out / "qrels" / "test.tsv", before.queries())
    assert judged == before.queries()
    assert sum(map(len, qrels.values())) == 600


def test_what_beir_has_no_field_for_is_in_the_metadata(shop: Path, tmp_path: Path):
    write_beir(open_catalog(TabularCatalog(name="parquet", keep=["*"]), shop), tmp_path / "beir")
    first = json.loads((tmp_path / "beir" / "corpus.jsonl").read_text().splitlines()[0])
    assert first == {
        "_id": "0000",
        "title": "Acme black wireless mouse A100",
        "text": "A black wireless mouse by Acme",
        "metadata": {
            "brand": "Acme",
            "category": "computers",
            "price": 12.0,
            "attributes": {"type": "wireless mouse", "colour": "black"},
            "in_stock": False,
        },
    }


def test_every_split_has_a_file_of_its_own(shop: Path, tmp_path: Path):
    ruled = TabularCatalog(name="parquet", split_modulus=2)
    report = write_beir(open_catalog(ruled, shop), tmp_path / "beir")
    assert set(report.judgments) == {"dev", "train"}
    back = open_catalog(BeirCatalog(name="beir", split=""), tmp_path / "beir")
    assert back.splits() == open_catalog(ruled, shop).splits()
    dev = TabularCatalog(name="parquet", split_modulus=2, split="dev")
    assert set(write_beir(open_catalog(dev, shop), tmp_path / "dev").judgments) == {"dev"}


class OddCatalog:
    """A catalogue that holds what is given."""

    name = "odd"

    def __init__(self, products, queries=(), judgments=(), splits=None):
        self._products, self._queries, self._judgments = products, list(queries), list(judgments)
        self._splits = splits or {}

    def products(self):
        from retrieval.catalog import ProductBatch

        yield ProductBatch(tuple(self._products))

    def queries(self):
        return self._queries

    def judgments(self):
        return self._judgments

    def splits(self):
        return self._splits


MOUSE, ASKED = Product("m", "mouse"), Query("q", "mouse")


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (OddCatalog([Product("a b", "x")]), r"a product id must be text without white space, got 'a b' \(corpus\)"),
        (OddCatalog([MOUSE], [Query("a b", "x")]), r"a query id must be .* got 'a b' \(odd\)"),
        (OddCatalog([MOUSE], [ASKED], [Judgment("q", "m", 1)], {"q": "../up"}), "a split becomes a file name"),
    ],
)
def test_what_beir_cannot_hold_is_refused_and_nothing_is_left(tmp_path: Path, catalog: OddCatalog, message: str):
    with pytest.raises(SourceDataError, match=message):
        write_beir(catalog, tmp_path / "beir")
    assert list(tmp_path.iterdir()) == []


def test_judgments_of_products_that_are_not_there_are_counted(tmp_path: Path):
    report = write_beir(OddCatalog([MOUSE], [ASKED], [Judgment("q", "m", 1), Judgment("q", "gone", 1)]), tmp_path / "b")
    assert (report.outside, report.judgments) == (1, {"test": 2})


def test_an_existing_folder_is_left_alone(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine").mkdir()
    assert main(["export", "--source", str(shop), "--out", str(tmp_path / "mine")]) == 2
    assert "exists; name a new folder with --out DIR" in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_write_that_fails_leaves_nothing(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(storage, "publish_folder", refuse)
    with pytest.raises(StorageError, match="no"):
        write_beir(open_catalog(TabularCatalog(name="parquet"), shop), tmp_path / "beir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shared
def test_icecat_comes_back_from_beir(shared_data: Path, tmp_path: Path):
    before = open_catalog(IcecatCatalog(name="icecat"), shared_data / "icecat")
    report = write_beir(before, tmp_path / "beir")
    assert (report.products, report.queries, report.judgments, report.outside) == (19_406, 90, {"test": 3_145}, 0)
    after = open_catalog(BeirCatalog(name="beir"), tmp_path / "beir")
    assert after.judgments() == before.judgments()
    assert sum(len(batch.products) for batch in after.products()) == 19_406
