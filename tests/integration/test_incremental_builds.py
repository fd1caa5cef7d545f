"""What a build encodes again: the texts that changed, and nothing else. A stub encoder counts them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from indexing.errors import EnvironmentProblem, VectorError
from shortlist.building.job import build
from shortlist.building.report import BuildReport
from shortlist.bundle import open_bundle
from shortlist.config import BuildConfig
from tools.reliability.harness.shop import StubEncoder, build_config, stub_encoder, write_model, write_shop

PRODUCTS = 200


class Shop:
    """A shop of 200 products and its bundle, built once."""

    def __init__(self, folder: Path, opened: list[StubEncoder]) -> None:
        self.config: BuildConfig = build_config(write_model(folder / "model"), segment_texts=64)
        self.source = write_shop(folder / "shop", products=PRODUCTS)
        self.out = folder / "out"
        self.opened = opened

    def build(self) -> tuple[BuildReport, list[str]]:
        """Build and return the report and the texts that reached the encoder."""
        self.opened.clear()
        report = build(self.config, source=self.source, out=self.out)
        return report, [text for encoder in self.opened for text in encoder.encoded]

    def change(self, row: int, **values: object) -> None:
        path = self.source / "products.jsonl"
        lines = path.read_text().splitlines()
        lines[row] = json.dumps(json.loads(lines[row]) | values)
        path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with stub_encoder() as opened:
        shop = Shop(tmp_path, opened)
        report, texts = shop.build()
        assert (report.encoded, len(texts)) == (PRODUCTS, PRODUCTS)
        yield shop


def test_changing_one_percent_of_the_titles_encodes_exactly_these(shop: Shop):
    shop.change(7, title="a new lamp")
    shop.change(150, title="a new sofa")
    report, texts = shop.build()
    assert (report.encoded, report.reused) == (2, PRODUCTS - 2)
    assert texts == ["a new lamp", "a new sofa"]


def test_a_change_of_price_or_stock_encodes_nothing_and_shows(shop: Shop):
    shop.change(7, price=1.25)
    shop.change(8, stock=99)
    report, texts = shop.build()
    assert (report.encoded, texts) == (0, [])
    from retrieval.products import ProductTable

    products = ProductTable.open(open_bundle(shop.out).folder / "products.parquet")
    assert (products.get(7).price, products.get(8).extra["stock"]) == (1.25, 99)


def test_another_order_and_a_removed_product_encode_nothing(shop: Shop):
    path = shop.source / "products.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:0:-1]) + "\n")
    report, texts = shop.build()
    assert (report.products, report.encoded, texts) == (PRODUCTS - 1, 0, [])


def test_going_back_to_an_earlier_catalogue_encodes_nothing(shop: Shop):
    before = (shop.source / "products.jsonl").read_text()
    shop.change(7, title="a new lamp")
    shop.build()
    (shop.source / "products.jsonl").write_text(before)
    assert shop.build()[1] == []


@pytest.mark.parametrize("change", [{"query_prompt": "search: "}, {"query_max_tokens": 32}])
def test_another_query_side_is_another_fingerprint_but_encodes_no_product_again(shop: Shop, change: dict):
    fingerprint = open_bundle(shop.out).manifest.fingerprint
    shop.config.encoder = replace(shop.config.encoder, **change)
    report, texts = shop.build()
    assert (report.encoded, texts) == (0, [])
    assert open_bundle(shop.out).manifest.fingerprint != fingerprint


@pytest.mark.parametrize("change", [{"product_prompt": "product: "}, {"product_max_tokens": 32}])
def test_another_product_side_encodes_everything_again(shop: Shop, change: dict):
    shop.config.encoder = replace(shop.config.encoder, **change)
    assert shop.build()[0].encoded == PRODUCTS


def test_another_model_encodes_everything_again(shop: Shop, tmp_path: Path):
    shop.config.encoder = replace(shop.config.encoder, model=str(write_model(tmp_path / "other", seed=1)))
    assert shop.build()[0].encoded == PRODUCTS


def test_another_template_encodes_only_the_texts_that_it_changes(shop: Shop):
    shop.change(7, description="made of steel")
    assert shop.build()[1] == []
    shop.config.text = replace(shop.config.text, fields=["title", "description"])
    assert shop.build()[1] == ["usb black 7. made of steel"]


# --- an encoder that fails --------------------------------------------------------------------------------------------


class Panic(BaseException):
    """What a tokenizer in another language raises when it panics: no Exception."""


@pytest.mark.parametrize("raised", [RuntimeError("index out of range"), Panic("not a char boundary")])
def test_an_encoder_that_fails_on_a_text_raises_with_the_product_named(shop: Shop, monkeypatch, raised: BaseException):
    encode = StubEncoder.encode_products

    def fails(self: StubEncoder, texts: Sequence[str], **options: object) -> object:
        if "sofa of the devil" in texts:
            raise raised
        return encode(self, texts, **options)

    shop.config.encoder = replace(shop.config.encoder, product_prompt="product: ")  # all are encoded again
    shop.change(150, title="sofa of the devil")
    message = rf"the text of product 'p150' cannot be encoded: {type(raised).__name__}: {raised}; correct it"
    with monkeypatch.context() as patch:
        patch.setattr(StubEncoder, "encode_products", fails)
        with pytest.raises(VectorError, match=message) as failed:
            shop.build()
    assert failed.value.names == ("p150",)
    shop.change(150, title="sofa")
    assert shop.build()[0].encoded == PRODUCTS - 128  # two segments of 64 were stored before


def test_an_encoder_that_fails_on_no_text_alone_is_the_machines_trouble(shop: Shop, monkeypatch):
    encode = StubEncoder.encode_products

    def small(self: StubEncoder, texts: Sequence[str], **options: object) -> object:
        if len(texts) > 5:
            raise MemoryError("no room for 64 texts")
        return encode(self, texts, **options)

    shop.config.encoder = replace(shop.config.encoder, product_prompt="product: ")
    monkeypatch.setattr(StubEncoder, "encode_products", small)
    with pytest.raises(EnvironmentProblem, match=r"on none alone: MemoryError: .*; set runtime\.batch_tokens lower"):
        shop.build()
