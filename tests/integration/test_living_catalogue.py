"""Upserts and deletes on an open engine: what a shopper sees, what is durable, what is refused."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    CommitUncertain,
    ConfigError,
    FingerprintMismatch,
    InvalidQuery,
    SourceDataError,
    VectorError,
)
from indexing.storage import FileSystem
from retrieval.config import TabularCatalog, TextConfig
from retrieval.delta_products import DeltaTable
from retrieval.records import Product
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.bundle import open_bundle
from shortlist.living.journal import Journal
from shortlist.versions import rollback
from tools.reliability.harness.shop import DIM, StubEncoder, build_config, stub_encoder, write_model, write_shop


@dataclass
class Shop:
    """A published bundle of twelve products, and the encoders that were opened since."""

    model: Path
    source: Path
    out: Path
    encoders: list[StubEncoder]

    def open(self) -> SearchEngine:
        return SearchEngine.open(self.out)

    def encoded(self) -> list[str]:
        """Product texts that were encoded since the last call."""
        texts = [text for encoder in self.encoders for text in encoder.encoded]
        for encoder in self.encoders:
            encoder.encoded.clear()
        return texts


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    model, source, out = write_model(tmp_path / "model"), write_shop(tmp_path / "shop"), tmp_path / "out"
    with stub_encoder() as encoders:
        build(build_config(model), source=source, out=out)
        shop = Shop(model, source, out, encoders)
        shop.encoded()
        yield shop


def found(engine: SearchEngine, query: str, **options: object) -> list[str]:
    return [hit.product_id for hit in engine.search(query, **options).hits]  # type: ignore[arg-type]


NEW = Product("p100", "purple chair", price=3.5, extra={"stock": 7})


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_an_upserted_product_is_found_at_once_shown_and_filtered(shop: Shop):
    engine = shop.open()
    done = engine.upsert([NEW])
    assert (done.sequence, done.products, done.new, done.encoded) == (1, 1, 1, 1)
    assert found(engine, "purple chair")[0] == "p100"
    assert engine.product("p100") == NEW
    assert engine.product_count == 13
    assert found(engine, "chair", k=20, filters=[("stock", "==", 7)]) == ["p100"]
    assert "p100" in [hit.product_id for hit in engine.similar("p011", k=12).hits]
    assert engine.similar("p100", k=3).hits[0].product_id != "p100"


def test_a_generation_is_named_by_the_last_record_on_top_of_its_version(shop: Shop):
    engine = shop.open()
    version = open_bundle(shop.out).manifest.version
    assert engine.generation == version
    assert engine.upsert([NEW]).generation == engine.generation == f"{version}+1"
    assert engine.delete(["p100"]).generation == f"{version}+2"
    assert engine.search("chair").generation == f"{version}+2"
    assert shop.open().generation == f"{version}+2"


def test_a_deleted_product_is_nowhere(shop: Shop):
    engine = shop.open()
    assert "p003" in found(engine, "red", k=20)
    done = engine.delete(["p003", "p004", "p003", "unheard"])
    assert (done.products, done.unknown) == (2, ("unheard",))
    for opened in (engine, shop.open()):
        assert opened.product_count == 10
        assert not {"p003", "p004"} & set(found(opened, "red mouse sofa", k=20))
        assert not {"p003", "p004"} & set(found(opened, "red", k=20, filters=[("price", ">", 0)]))
        with pytest.raises(KeyError):
            opened.product("p003")
        with pytest.raises(InvalidQuery, match="there is no product 'p003' among the 10"):
            opened.similar("p003")


def test_a_replaced_product_is_what_it_is_now_and_comes_once(shop: Shop):
    engine = shop.open()
    for title in ("purple chair", "green chair"):
        assert engine.upsert([Product("p000", title, price=1.0)]).new == 0
        hits = engine.search(title, k=20).hits
        assert [hit.product_id for hit in hits].count("p000") == 1
        assert next(hit for hit in hits if hit.product_id == "p000").product.title == title
    assert engine.product_count == 12
    assert engine.product("p000").extra == {"stock": None}


def test_a_deleted_product_returns_by_an_upsert(shop: Shop):
    engine = shop.open()
    engine.delete(["p003"])
    assert engine.upsert([Product("p003", "grey desk")]).new == 1
    for opened in (engine, shop.open()):
        assert found(opened, "grey desk")[0] == "p003"
        assert opened.product_count == 12


def test_a_shop_may_be_emptied_and_filled_again(shop: Shop):
    engine = shop.open()
    engine.delete([f"p{number:03d}" for number in range(12)])
    for opened in (engine, shop.open()):
        assert opened.product_count == 0
        assert found(opened, "red mouse") == []
        assert found(opened, "red mouse", filters=[("price", ">", 0.0)]) == []
    engine.upsert([NEW])
    assert found(engine, "red mouse") == ["p100"]


def test_nothing_to_change_writes_nothing(shop: Shop):
    engine = shop.open()
    assert (engine.upsert([]).sequence, engine.delete([]).sequence) == (0, 0)
    assert not (shop.out / "JOURNAL").exists()


def test_live_recall_is_not_held_against_products_that_are_gone(shop: Shop):
    engine = shop.open()
    engine.delete(["p000", "p001"])
    engine.upsert([NEW])
    with engine.watch_recall(sample=1.0, load=1.0) as watch:
        for query in ("red mouse", "purple chair", "sofa"):
            engine.search(query)
        assert watch.settle(10)
        assert (watch.state().checked, watch.state().mean) == (3, 1.0)


# --- what is encoded --------------------------------------------------------------------------------------------------


def test_a_new_price_or_stock_encodes_nothing_and_keeps_the_vector(shop: Shop):
    engine = shop.open()
    before = engine.search("red mouse", k=12).hits
    products = [engine.product(f"p{number:03d}") for number in range(12)]
    changed = [Product(p.product_id, p.title, price=9.0, extra={"stock": 99}) for p in products]
    assert engine.upsert(changed).encoded == 0
    assert shop.encoded() == []
    after = engine.search("red mouse", k=12).hits
    assert [(hit.product_id, hit.score, hit.stages) for hit in after] == [
        (hit.product_id, hit.score, hit.stages) for hit in before
    ]
    assert {hit.product.price for hit in after} == {9.0}


def test_a_text_that_is_stored_is_not_encoded_again_whoever_had_it(shop: Shop):
    engine = shop.open()
    title = engine.product("p001").title
    assert engine.upsert([Product("p200", title), Product("p201", title)]).encoded == 0
    assert engine.upsert([NEW, Product("p202", "purple chair"), Product("p203", "oak shelf")]).encoded == 2
    assert shop.encoded() == ["purple chair", "oak shelf"]
    assert engine.upsert([Product("p204", "oak shelf")]).encoded == 0
    assert shop.encoded() == []


def test_opening_encodes_nothing_of_what_the_journal_brings(shop: Shop):
    shop.open().upsert([NEW, Product("p000", "oak shelf")])
    shop.encoded()
    reopened = shop.open()
    assert found(reopened, "oak shelf")[0] == "p000"
    assert shop.encoded() == []


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "problem"),
    [
        (Product("bad", ""), r"'bad' \(title: empty\)"),
        (Product("bad", "t", price=-1), r"'bad' \(price: negative\)"),
        (Product("bad", "t", extra={"stock": "many"}), r"'bad' \(stock: the column holds number, got 'many'"),
        (Product("p100", "again"), r"'p100' \(product_id: duplicate\)"),
    ],
)
def test_a_bad_product_refuses_the_whole_call_by_its_id(shop: Shop, product: Product, problem: str):
    engine = shop.open()
    with pytest.raises(SourceDataError, match=rf"1 of 2 products break .* none was taken: {problem}"):
        engine.upsert([NEW, product])
    assert "p100" not in found(engine, "purple chair", k=20)
    assert Journal(shop.out).read() == []
    assert shop.encoded() == []


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ("p000", TypeError, "must be a list of strings, got the string 'p000'"),
        ([7], TypeError, "a product_id must be a string, got 7"),
        (["p000", " "], ValueError, "valid text that is not empty, got ' '"),
        (["\ud800"], ValueError, "valid text that is not empty"),
    ],
)
def test_ids_that_no_product_has_by_rule_are_refused(shop: Shop, ids: object, error: type, message: str):
    with pytest.raises(error, match=message):
        shop.open().delete(ids)  # type: ignore[arg-type]
    assert Journal(shop.out).read() == []


def test_vectors_for_a_bundle_with_an_encoder_are_refused(shop: Shop):
    with pytest.raises(ConfigError, match="this bundle's vectors are its encoder's"):
        shop.open().upsert([NEW], vectors=np.eye(1, DIM, dtype=np.float32))


def test_an_encoder_that_breaks_writes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    broken = np.full((1, DIM), np.nan, dtype=np.float32)
    monkeypatch.setattr(StubEncoder, "encode_products", lambda self, texts: broken)
    with pytest.raises(VectorError, match="row 0 is not finite"):
        shop.open().upsert([NEW])
    assert Journal(shop.out).read() == []


# --- other processes --------------------------------------------------------------------------------------------------


def test_what_cannot_be_applied_is_not_written(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    engine = shop.open()

    def breaks(_self: object, _products: object) -> None:
        raise RuntimeError("no room in the table")

    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "adding", breaks)
        with pytest.raises(RuntimeError, match="no room"):
            engine.upsert([NEW])
    assert Journal(shop.out).read() == []
    assert engine.upsert([NEW]).sequence == 1
    assert shop.open().product_count == 13


def test_what_another_process_writes_is_seen_at_the_next_look(shop: Shop):
    writer, reader = shop.open(), shop.open()
    writer.upsert([NEW])
    writer.delete(["p000"])
    assert "p100" not in found(reader, "purple chair", k=20)
    assert reader.follow()
    assert not reader.follow()
    assert found(reader, "purple chair")[0] == "p100"
    assert reader.generation == writer.generation
    assert reader.product_count == 12


def test_writers_see_each_other_before_they_write(shop: Shop):
    one, two = shop.open(), shop.open()
    one.upsert([NEW])
    assert two.upsert([Product("p101", "purple chair")]).encoded == 0  # the journal has its vector
    assert two.delete(["p100"]).products == 1
    assert one.delete(["p101"]).sequence == 4
    assert {one.product_count, shop.open().product_count} == {12}


def test_a_text_that_two_encode_at_once_has_one_vector(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    two, encode = shop.open(), StubEncoder.encode_products

    def meanwhile(self: StubEncoder, texts: Sequence[str], **options: object) -> object:
        two.upsert([Product("p101", "purple chair"), Product("p102", "steel lamp")])
        return encode(self, texts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(StubEncoder, "encode_products", meanwhile)
    one = shop.open()
    assert one.upsert([NEW]).sequence == 2  # alone in its batch, so the stub gave its text other last bits
    for opened in (one, shop.open()):
        scores = {hit.product_id: hit.stages["dense"] for hit in opened.search("purple chair", k=20).hits}
        assert scores["p100"] == scores["p101"]


def test_an_uncertain_write_is_told_and_shows_when_it_is_there(shop: Shop):
    class FailsToSyncTheFolder(FileSystem):
        renamed = False

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            self.renamed = True

        def fsync(self, descriptor: int) -> None:
            if self.renamed:
                raise OSError(5, os.strerror(5))
            super().fsync(descriptor)

    engine = shop.open()
    with storage.using(FailsToSyncTheFolder()), pytest.raises(CommitUncertain, match="000000000001-"):
        engine.upsert([NEW])
    assert "p100" not in found(engine, "purple chair", k=20)
    assert engine.follow()
    assert found(engine, "purple chair")[0] == "p100"


def test_a_journal_that_is_not_what_it_was_is_refused_and_what_answered_goes_on(shop: Shop):
    engine = shop.open()
    other = shop.open()
    other.upsert([NEW])
    (path,) = (shop.out / "JOURNAL").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b"purple", b"violet"))
    with pytest.raises(ArtifactCorrupt, match="was altered"):
        engine.follow()
    with pytest.raises(ArtifactCorrupt, match="was altered"):
        engine.delete(["p000"])
    assert engine.product_count == 12
    with pytest.raises(ArtifactCorrupt, match="was altered"):
        shop.open()


# --- versions ---------------------------------------------------------------------------------------------------------


def test_a_build_supersedes_upserts_and_says_so_and_deleted_products_stay_deleted(shop: Shop):
    engine = shop.open()
    engine.upsert([NEW])
    engine.delete(["p000"])
    report = build(build_config(shop.model), source=shop.source, out=shop.out)
    assert any("1 products were upserted since the version before" in warning for warning in report.warnings)
    reopened = shop.open()
    assert reopened.generation == report.version
    assert reopened.product_count == 11
    assert not {"p000", "p100"} & set(found(reopened, "red chair", k=20))


def test_what_happened_during_a_build_comes_on_top_of_it(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    engine = shop.open()
    save = StubEncoder.save

    def meanwhile(self: StubEncoder, folder: Path) -> None:
        engine.upsert([NEW])
        engine.delete(["p000"])
        save(self, folder)

    monkeypatch.setattr(StubEncoder, "save", meanwhile)
    report = build(build_config(shop.model), source=shop.source, out=shop.out)
    reopened = shop.open()
    assert reopened.generation == f"{report.version}+2"
    assert found(reopened, "purple chair")[0] == "p100"
    assert "p000" not in found(reopened, "red", k=20)


def test_a_restored_product_is_shown_by_the_version_that_brought_it_back(shop: Shop):
    engine = shop.open()
    engine.delete(["p000", "p001"])
    build(build_config(shop.model), source=shop.source, out=shop.out, restore_deleted=True)
    restored = shop.open()
    assert restored.product_count == 12
    assert restored.generation.endswith("+2")  # the restore itself came after the build began


def test_an_engine_on_an_older_version_shows_what_its_successor_restored_as_deleted(shop: Shop):
    engine = shop.open()
    engine.delete(["p000"])
    build(build_config(shop.model), source=shop.source, out=shop.out, restore_deleted=True)
    assert engine.follow()
    assert engine.product_count == 11


def test_a_version_with_another_template_renders_and_encodes_the_journal_s_products_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    engine = shop.open()
    save = StubEncoder.save

    def meanwhile(self: StubEncoder, folder: Path) -> None:
        engine.upsert([NEW])
        save(self, folder)

    monkeypatch.setattr(StubEncoder, "save", meanwhile)
    config = build_config(shop.model)
    config.text = TextConfig(fields=["title", "price"])
    build(config, source=shop.source, out=shop.out)
    shop.encoded()
    reopened = shop.open()
    assert shop.encoded() == ["purple chair. 3.5"]
    assert found(reopened, "purple chair")[0] == "p100"


def test_a_version_with_another_tower_encodes_the_journal_s_products_anew(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = shop.open()
    save = StubEncoder.save

    def meanwhile(self: StubEncoder, folder: Path) -> None:
        engine.upsert([NEW])
        save(self, folder)

    monkeypatch.setattr(StubEncoder, "save", meanwhile)
    build(build_config(write_model(tmp_path / "other", seed=1)), source=shop.source, out=shop.out)
    shop.encoded()
    assert found(shop.open(), "purple chair")[0] == "p100"
    assert shop.encoded() == ["purple chair"]


# --- vectors of one's own ---------------------------------------------------------------------------------------------


def unit(*numbers: int) -> np.ndarray:
    rows = np.stack([np.random.default_rng(number).standard_normal(4) for number in numbers]).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def build_brought(tmp_path: Path, matrix: np.ndarray) -> Path:
    """Build a version of five products on vectors that come with the catalogue, without an encoder."""
    source = tmp_path / f"vectors-{matrix.shape[1]}"
    source.mkdir()
    column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    ids = [f"v{number}" for number in range(5)]
    pq.write_table(
        pa.table({"product_id": ids, "title": [f"title {i}" for i in ids], "vector": column}),
        source / "products.parquet",
    )
    config = build_config(write_model(tmp_path / f"unused-{matrix.shape[1]}"))
    config.encoder.model = ""
    config.catalog = TabularCatalog(name="vectors", fields={"vector": "vector"})
    build(config, source=source, out=tmp_path / "brought")
    return tmp_path / "brought"


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    return build_brought(tmp_path, unit(*range(5)))


def test_brought_vectors_come_with_their_products_and_stay_while_the_text_does(brought: Path):
    engine = SearchEngine.open(brought)
    assert engine.upsert([Product("v9", "title 9")], vectors=unit(0) * np.float32(1.0)).encoded == 0
    assert engine.upsert([Product("v9", "title 9", price=5.0), Product("v1", "title v1", price=1.0)]).new == 0
    for opened in (engine, SearchEngine.open(brought)):
        (nearest, *_) = opened.similar("v0", k=5).hits
        assert (nearest.product_id, nearest.product.price) == ("v9", 5.0)
        assert nearest.score == pytest.approx(1.0, abs=1e-6)


def test_a_new_vector_for_an_old_text_is_taken(brought: Path):
    engine = SearchEngine.open(brought)
    engine.upsert([Product("v3", "title v3")], vectors=unit(0))
    for opened in (engine, SearchEngine.open(brought)):
        assert opened.similar("v0", k=1).hits[0].product_id == "v3"


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (None, r"1 products have new texts and no vector \('v9'\): .* pass vectors="),
        (unit(1, 2), "expected a vector for each of the 1 products, got 2"),
        (unit(1)[:, :3] / np.linalg.norm(unit(1)[:, :3]), "expected vectors of dimension 4, got 3"),
        (unit(1) * 2, "'v9' has length 2"),
        (unit(1) * np.nan, "'v9' is not finite"),
        (unit(1).astype(np.float64), "expected a float32 array"),
        (unit(1).tolist(), "expected a float32 array"),
    ],
)
def test_vectors_that_no_index_may_hold_are_refused_by_product_id(brought: Path, vectors: object, message: str):
    with pytest.raises(VectorError, match=message):
        SearchEngine.open(brought).upsert([Product("v9", "title 9")], vectors=vectors)  # type: ignore[arg-type]
    assert Journal(brought).read() == []


def test_journal_vectors_of_another_dimension_are_refused_with_what_to_do(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = SearchEngine.open(brought)
    engine.upsert([Product("v9", "title 9")], vectors=unit(0))
    folder = open_bundle(brought).folder
    (record,) = (brought / "JOURNAL").glob("*.json")
    values = json.loads(record.read_bytes())
    values["tower"] = "0" * 64
    record.unlink()
    content = json.dumps(values).encode()
    record.write_bytes(content)
    record.rename(record.with_name(f"000000000001-{storage.digest(record).sha256[:16]}.json"))
    with pytest.raises(
        FingerprintMismatch, match=f"holds vectors that are not those of {folder.name}.*'v9'.*upsert these"
    ):
        SearchEngine.open(brought)


def test_a_version_that_cannot_show_what_was_upserted_since_is_not_gone_back_to(brought: Path, tmp_path: Path):
    wider = np.pad(unit(*range(5)), ((0, 0), (0, 2)))
    build_brought(tmp_path, np.ascontiguousarray(wider))
    engine = SearchEngine.open(brought)
    engine.upsert([Product("v9", "title 9")], vectors=np.ascontiguousarray(wider[:1]))
    with pytest.raises(FingerprintMismatch, match=r"holds vectors that are not those of .*'v9'.*upsert these products"):
        rollback(brought)
    assert SearchEngine.open(brought).product_count == 6


def test_brought_vectors_that_the_live_version_could_not_show_are_refused_before_they_are_written(
    brought: Path, tmp_path: Path
):
    engine = SearchEngine.open(brought)
    engine.upsert([Product("v8", "title 8")], vectors=unit(0))
    build_brought(tmp_path, np.ascontiguousarray(np.pad(unit(*range(5)), ((0, 0), (0, 2)))))
    with pytest.raises(
        ConfigError, match=r"is live by now and has vectors of dimension 6, these have 4.*reload\(\) first"
    ):
        engine.upsert([Product("v9", "title 9")], vectors=unit(0))
    assert Journal(brought).last_seq() == 1
    assert SearchEngine.open(brought).product_count == 5
