"""Compaction: a version and its journal become a new version; answers stay, nothing is encoded, nothing is lost."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import storage
from indexing.errors import BuildLocked, SourceDataError
from retrieval.config import RuntimeConfig, TabularCatalog
from retrieval.records import Hit, Product
from shortlist import SearchEngine
from shortlist.building import compact as compact_module
from shortlist.building.compact import compact
from shortlist.building.job import build
from shortlist.building.report import BuildReport
from shortlist.bundle import list_versions, open_bundle
from shortlist.config import CompactConfig
from shortlist.living.journal import Journal
from shortlist.living.records import Checkpoint
from shortlist.versions import rollback
from tools.reliability.harness.shop import StubEncoder, build_config, stub_encoder, write_model, write_shop

QUERIES = ("red mouse", "purple chair", "oak shelf", "sofa", "red")


@pytest.fixture
def encoders() -> Iterator[list[StubEncoder]]:
    with stub_encoder() as opened:
        yield opened


@pytest.fixture
def out(tmp_path: Path, encoders: list[StubEncoder]) -> Path:
    model, source = write_model(tmp_path / "model"), write_shop(tmp_path / "shop")
    build(build_config(model), source=source, out=tmp_path / "out")
    return tmp_path / "out"


def rebuild(out: Path, **options: bool) -> BuildReport:
    return build(build_config(out.parent / "model"), source=out.parent / "shop", out=out, **options)


def compacted(out: Path, keep: int = 3) -> BuildReport:
    report = compact(CompactConfig(runtime=RuntimeConfig(device="cpu", threads=1), keep_versions=keep), root=out)
    assert report is not None
    return report


def answers(engine: SearchEngine) -> list[list[tuple[object, ...]]]:
    """All that an answer says of its hits; the columns of a product that have no value left aside."""
    return [[_shown(hit) for hit in engine.search(query, k=30).hits] for query in QUERIES]


def _shown(hit: Hit) -> tuple[object, ...]:
    extra = {name: value for name, value in hit.product.extra.items() if value is not None}
    return hit.product_id, hit.rank, hit.score, dict(hit.stages), hit.product.title, hit.product.price, extra


def change(engine: SearchEngine) -> None:
    engine.upsert([Product("p100", "purple chair", extra={"stock": 3, "new": True}), Product("p001", "oak shelf")])
    engine.delete(["p000", "p005"])


def test_answers_are_the_same_before_and_after_and_nothing_is_encoded(out: Path, encoders: list[StubEncoder]):
    engine = SearchEngine.open(out)
    change(engine)
    before = answers(engine)
    for encoder in encoders:
        encoder.encoded.clear()
    report = compacted(out)
    assert (report.products, report.encoded) == (11, 0)
    assert not any(encoder.encoded for encoder in encoders)
    after = SearchEngine.open(out)
    assert after.generation == report.version
    assert answers(after) == before == answers(engine)


def test_a_compacted_version_says_where_it_comes_from(out: Path):
    first = open_bundle(out).manifest
    change(SearchEngine.open(out))
    compacted(out)
    manifest = open_bundle(out).manifest
    assert manifest.journal_seq == 2
    assert manifest.catalogue["compacted"] == first.version
    assert manifest.catalogue["sources"] == first.catalogue["sources"]
    assert (manifest.catalogue["accepted"], manifest.fingerprint) == (11, first.fingerprint)
    encoder = "encoder/model.safetensors"
    assert (open_bundle(out).folder / encoder).samefile(out / "versions" / first.version / encoder)


def test_without_changes_there_is_nothing_to_compact(out: Path):
    assert compact(CompactConfig(runtime=RuntimeConfig(device="cpu")), root=out) is None
    change(SearchEngine.open(out))
    compacted(out)
    assert compact(CompactConfig(runtime=RuntimeConfig(device="cpu")), root=out) is None
    assert len(list_versions(out)) == 2


def test_what_happens_meanwhile_stays_on_top(out: Path, monkeypatch: pytest.MonkeyPatch):
    engine = SearchEngine.open(out)
    change(engine)
    run_build = compact_module.run_build

    def meanwhile(*arguments: object, **options: object) -> BuildReport:
        engine.upsert([Product("p200", "green lamp"), Product("p001", "purple lamp")])
        engine.delete(["p100"])
        return run_build(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(compact_module, "run_build", meanwhile)
    report = compacted(out)
    after = SearchEngine.open(out)
    assert after.generation == f"{report.version}+4"
    assert answers(after) == answers(engine)


def test_deleted_products_stay_deleted_through_compaction_build_and_rollback(out: Path):
    engine = SearchEngine.open(out)
    change(engine)
    compacted(out)
    rebuild(out)
    for version in list_versions(out):
        if not version.live:
            rollback(out, version.version)
        opened = SearchEngine.open(out)
        assert not {"p000", "p005"} & {hit.product_id for hit in opened.search("red", k=30).hits}, version.version


def test_a_rolled_back_version_has_the_upserts_that_its_successor_took_in(out: Path):
    engine = SearchEngine.open(out)
    change(engine)
    before = answers(engine)
    compacted(out)
    rollback(out)
    assert answers(SearchEngine.open(out)) == before


def test_an_emptied_shop_is_not_compacted(out: Path):
    SearchEngine.open(out).delete([f"p{number:03d}" for number in range(12)])
    with pytest.raises(SourceDataError, match="no product is left"):
        compacted(out)
    assert SearchEngine.open(out).product_count == 0


def test_a_compaction_during_a_build_is_turned_away(out: Path):
    change(SearchEngine.open(out))
    with storage.exclusive_lock(out / "LOCK", purpose="build elsewhere"), pytest.raises(BuildLocked, match="elsewhere"):
        compacted(out)


def test_an_interrupted_compaction_publishes_nothing_and_the_next_one_does(out: Path, monkeypatch: pytest.MonkeyPatch):
    engine = SearchEngine.open(out)
    change(engine)
    before, live = answers(engine), open_bundle(out).manifest.version

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StubEncoder, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compacted(out)
    assert open_bundle(out).manifest.version == live
    compacted(out)
    assert answers(SearchEngine.open(out)) == before


# --- folding ----------------------------------------------------------------------------------------------------------


def test_records_that_no_version_needs_are_folded_and_every_version_still_opens(out: Path):
    engine = SearchEngine.open(out)
    change(engine)
    compacted(out, keep=2)
    assert len(Journal(out).read()) == 2  # the first version needs them
    engine.follow()
    engine.upsert([Product("p300", "silver lamp")])
    del engine
    gc.collect()  # its lease kept the first version
    report = compacted(out, keep=2)
    records = Journal(out).read()
    assert [record.position.seq for record in records] == [2, 3]
    assert records[0].change == Checkpoint({"p000": 2, "p005": 2})
    after = answers(SearchEngine.open(out))
    rollback(out)
    older = SearchEngine.open(out)
    assert older.generation == open_bundle(out).manifest.version + "+3"
    assert answers(older) == after
    assert not any("journal" in warning for warning in report.warnings)


def test_a_build_leaves_products_out_whose_delete_was_folded(out: Path):
    engine = SearchEngine.open(out)
    change(engine)
    del engine
    gc.collect()
    compacted(out, keep=2)
    opened = SearchEngine.open(out)
    opened.delete(["p007"])
    del opened
    gc.collect()
    compacted(out, keep=2)
    assert any(isinstance(record.change, Checkpoint) for record in Journal(out).read())
    report = rebuild(out)
    assert (report.deleted, report.products) == (3, 9)
    assert rebuild(out, restore_deleted=True).products == 12
    assert SearchEngine.open(out).product_count == 12


def test_an_engine_that_slept_through_a_folding_catches_up(out: Path):
    sleeper = SearchEngine.open(out)
    change(SearchEngine.open(out))
    compacted(out, keep=2)
    awake = SearchEngine.open(out)
    awake.upsert([Product("p300", "silver lamp")])
    assert sleeper.follow()
    assert answers(sleeper) == answers(awake)


# --- commands ---------------------------------------------------------------------------------------------------------


def write_lines(folder: Path, products: Sequence[dict[str, object]]) -> Path:
    folder.mkdir()
    (folder / "products.jsonl").write_text("".join(f"{json.dumps(product)}\n" for product in products))
    return folder


JSONL = ("catalog=jsonl", "catalog.products=products.jsonl")


def test_a_catalogue_is_upserted_from_files_in_records_of_a_few_products(
    out: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
):
    lines = [{"product_id": f"n{n}", "title": f"purple thing {n}", "price": 1.5, "stock": n} for n in range(7)]
    source = write_lines(tmp_path / "today", [*lines, {"product_id": "p000", "title": "oak shelf"}])
    code, printed, _ = run("upsert", *JSONL, "--source", source, "--bundle", out, "batch_products=3", "--json")
    report = json.loads(printed)
    assert (code, report["records"], report["products"], report["new"], report["encoded"]) == (0, 3, 8, 7, 8)
    opened = SearchEngine.open(out)
    assert (opened.generation, opened.product_count) == (report["generation"], 19)
    assert opened.search("purple thing 3").hits[0].product_id == "n3"
    code, printed, _ = run("upsert", *JSONL, "--source", source, "--bundle", out)
    assert "8 products, 0 of them new, 0 texts encoded, 1 records written" in printed


@pytest.mark.parametrize(
    "bad", [{"product_id": "n9", "title": ""}, {"product_id": "n9", "title": "t", "stock": "many"}]
)
def test_a_bad_row_at_the_end_of_a_catalogue_writes_nothing(
    out: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]], bad: dict[str, object]
):
    lines = [{"product_id": f"n{n}", "title": f"thing {n}", "price": 1.5, "stock": n} for n in range(7)]
    source = write_lines(tmp_path / "today", [*lines, {"product_id": "n9", **bad}])
    code, _, err = run("upsert", *JSONL, "--source", source, "--bundle", out, "batch_products=3")
    assert code == 3
    assert "n9" in err or "row 8" in err
    assert Journal(out).read() == []


def test_products_are_deleted_by_words_and_from_a_file(
    out: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
):
    code, printed, _ = run("delete", "p000", "unheard", "--bundle", out)
    assert (code, printed.strip().partition(": ")[2]) == (0, "1 products deleted; 1 ids that no product had: 'unheard'")
    (tmp_path / "ids.txt").write_text("p001\n\n-p002\np000\n")
    code, printed, _ = run("delete", "--ids", tmp_path / "ids.txt", "--bundle", out, "--json")
    report = json.loads(printed)
    assert (code, report["products"], report["unknown"], report["sequence"]) == (0, 1, ["-p002", "p000"], 2)
    assert SearchEngine.open(out).product_count == 10


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "give the ids of the products to delete, or a file of them with --ids FILE"),
        (["--ids", "nowhere.txt"], 2, "could not read product ids from nowhere.txt"),
        ([" "], 2, "a product_id must be valid text that is not empty"),
    ],
)
def test_a_delete_of_nothing_is_refused(
    out: Path, run: Callable[..., tuple[int, str, str]], words: list[str], code: int, message: str
):
    found, _, err = run("delete", *words, "--bundle", out)
    assert (found, message in err) == (code, True)


def test_compact_and_verify_tell_what_the_journal_holds(out: Path, run: Callable[..., tuple[int, str, str]]):
    assert "nothing to compact" in run("compact", "--bundle", out)[1]
    change(SearchEngine.open(out))
    assert "journal               2 records, each with its digest" in run("verify", "--bundle", out)[1]
    code, printed, _ = run("compact", "--bundle", out, "runtime.threads=1")
    assert (code, "products  11;" in printed) == (0, True)
    (path, *_) = sorted((out / "JOURNAL").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b"purple", b"violet"))
    code, printed, _ = run("verify", "--bundle", out)
    assert (code, f"{path.name} was altered" in printed) == (3, True)


def test_a_compaction_keeps_brought_vectors(tmp_path: Path, encoders: list[StubEncoder]):
    source, unit = tmp_path / "source", np.eye(4, dtype=np.float32)
    source.mkdir()
    column = pa.FixedSizeListArray.from_arrays(pa.array(unit[:3].ravel()), 4)
    table = pa.table({"product_id": ["a", "b", "c"], "title": ["one", "two", "three"], "vector": column})
    pq.write_table(table, source / "products.parquet")
    config = build_config(write_model(tmp_path / "unused"))
    config.encoder.model, config.catalog = "", TabularCatalog(name="vectors", fields={"vector": "vector"})
    build(config, source=source, out=tmp_path / "out")
    engine = SearchEngine.open(tmp_path / "out")
    engine.upsert([Product("d", "four")], vectors=unit[3:])
    engine.upsert([Product("a", "one")], vectors=unit[3:])
    engine.delete(["b"])
    compacted(tmp_path / "out")
    for opened in (engine, SearchEngine.open(tmp_path / "out")):
        similar = [(hit.product_id, hit.score) for hit in opened.similar("a", k=5).hits]
        assert similar == [("d", 1.0), ("c", 0.0)]
    assert encoders == []
