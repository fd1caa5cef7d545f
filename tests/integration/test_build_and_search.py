import asyncio
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactUntrusted,
    BuildLocked,
    ConfigError,
    FingerprintMismatch,
    GateFailed,
    InvalidQuery,
    QueryTooLong,
    SourceDataError,
    StorageFull,
    VectorError,
)
from indexing.faiss_index import FaissIndex
from indexing.types import FloatMatrix, Neighbors
from indexing.vectors import VectorStore
from retrieval.config import EncoderConfig, RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.records import Product
from shortlist import CacheConfig, SearchEngine
from shortlist.building.job import build
from shortlist.bundle import list_versions, open_bundle
from shortlist.config import BuildConfig, System

Compose = Callable[..., BuildConfig]


@pytest.fixture(scope="module")
def engine(published: Path) -> SearchEngine:
    return SearchEngine.open(published)


@pytest.fixture(scope="module")
def reranking(reranked: Path) -> SearchEngine:
    return SearchEngine.open(reranked)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_holds_k_hits_ranked_from_one_with_products_scores_and_timings(engine: SearchEngine, published: Path):
    result = engine.search("wireless mouse", k=5)
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4, 5]
    assert all("wireless mouse" in hit.product.title for hit in result.hits[:3])
    assert all(above.score >= below.score for above, below in zip(result.hits, result.hits[1:], strict=False))
    assert set(result.hits[0].stages) == {"dense", "lexical", "fusion"}
    assert result.generation == open_bundle(published).manifest.version
    assert {"encode", "total"} <= set(result.timings_ms)
    assert result.degraded == ()


def test_the_product_of_a_hit_is_the_catalogue_s(engine: SearchEngine, tiny_products: tuple[Product, ...]):
    by_id = {product.product_id: product for product in tiny_products}
    for hit in engine.search("acme office chair", k=10).hits:
        original = by_id[hit.product_id]
        assert (hit.product.title, hit.product.price) == (original.title, original.price)
        assert dict(hit.product.attributes) == dict(original.attributes)
        assert hit.product.extra["in_stock"] == original.extra["in_stock"]


def test_more_hits_than_products_are_no_error(engine: SearchEngine):
    result = engine.search("phone", k=1000)
    assert len({hit.product_id for hit in result.hits}) == len(result.hits) == 60


def test_search_many_is_one_batch_and_equals_search(published: Path, monkeypatch: pytest.MonkeyPatch):
    engine = SearchEngine.open(published, cache=CacheConfig.off())
    queries = ["couch", "red wireless mouse", "P200"]
    singly = [engine.search(query) for query in queries]
    batches = []
    encode = DualEncoder.encode_queries

    def counted(self: DualEncoder, texts: Sequence[str]) -> np.ndarray:
        batches.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(DualEncoder, "encode_queries", counted)
    together = engine.search_many(queries)
    assert batches == [3]
    for one, many in zip(singly, together, strict=True):
        assert (many.query, many.generation) == (one.query, one.generation)
        assert [hit.product_id for hit in many.hits] == [hit.product_id for hit in one.hits]
        np.testing.assert_allclose([hit.score for hit in many.hits], [hit.score for hit in one.hits], atol=1e-5)


def test_search_many_of_nothing_is_nothing(engine: SearchEngine):
    assert engine.search_many([]) == []


def test_one_bad_query_of_many_is_refused_before_any_is_answered(engine: SearchEngine):
    with pytest.raises(InvalidQuery):
        engine.search_many(["couch", ""])


def test_asearch_equals_search(engine: SearchEngine):
    assert asyncio.run(engine.asearch("couch", k=3)).hits == engine.search("couch", k=3).hits


def test_threads_get_the_answers_of_a_serial_run(engine: SearchEngine):
    queries = ["couch", "red wireless mouse", "P200", "phone case", "a much longer query about a black laptop"] * 8
    serial = [engine.search(query, k=7).hits for query in queries]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda query: engine.search(query, k=7).hits, queries))
    assert threaded == serial


def test_an_answer_does_not_depend_on_k(engine: SearchEngine):
    long = engine.search("black running shoes", k=30, depth=60).hits
    assert engine.search("black running shoes", k=5, depth=60).hits == long[:5]


def test_similar_returns_neighbours_without_the_product_itself(engine: SearchEngine):
    hits = engine.similar("0000", k=5).hits
    assert len(hits) == 5
    assert "0000" not in {hit.product_id for hit in hits}
    assert all("dense" in hit.stages for hit in hits)


def test_similar_to_an_unknown_product_is_refused(engine: SearchEngine):
    with pytest.raises(InvalidQuery, match="there is no product '9999' among the 60"):
        engine.similar("9999")


# --- filters ----------------------------------------------------------------------------------------------------------


def test_every_hit_fulfils_the_filters_and_none_is_missed(engine: SearchEngine, tiny_products: tuple[Product, ...]):
    hits = engine.search("mouse", k=60, filters=[("price", "<", 50.0), ("attributes.colour", "==", "black")]).hits
    expected = {p.product_id for p in tiny_products if p.price < 50 and p.attributes["colour"] == "black"}
    assert {hit.product_id for hit in hits} == expected


def test_a_filter_on_a_column_that_does_not_exist_is_refused_with_a_suggestion(engine: SearchEngine):
    with pytest.raises(InvalidQuery, match=r"pric.*did you mean 'price'"):
        engine.search("mouse", filters=[("pric", "<", 50.0)])


def test_a_filter_that_nothing_fulfils_gives_no_hits(engine: SearchEngine):
    assert engine.search("mouse", filters=[("price", "<", 0.0)]).hits == ()


# --- bad queries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "   ", "\u200b\x00", None, 7, b"mouse"])
def test_a_query_without_text_is_refused(engine: SearchEngine, query: object):
    with pytest.raises(InvalidQuery):
        engine.search(query)  # type: ignore[arg-type]


def test_a_query_of_a_megabyte_is_refused_before_any_tokenizer_sees_it(engine: SearchEngine):
    with pytest.raises(QueryTooLong):
        engine.search("a" * 1_000_000)


def test_lone_surrogates_are_answered(engine: SearchEngine):
    assert len(engine.search("mouse \ud800", k=3).hits) == 3


@pytest.mark.parametrize("number", [1.5, "3", True])
def test_a_k_that_is_no_whole_number_is_refused(engine: SearchEngine, number: object):
    with pytest.raises(TypeError, match="k must be an int, got"):
        engine.search("mouse", k=number)  # type: ignore[arg-type]


def test_one_string_is_not_a_list_of_queries(engine: SearchEngine):
    with pytest.raises(TypeError, match=r"queries must be a list of strings, got 'usb' \(str\)"):
        engine.search_many("usb")


@pytest.mark.parametrize(("k", "depth"), [(10, 5), (0, None), (-1, None), (1, 0)])
def test_k_above_depth_and_numbers_below_one_are_refused(engine: SearchEngine, k: int, depth: int | None):
    with pytest.raises(ValueError, match=r"depth=.* is below k=|k must be at least 1|depth must be at least 1"):
        engine.search("mouse", k=k, depth=depth)


# --- the second stage -------------------------------------------------------------------------------------------------


def test_reranked_hits_carry_the_cross_encoder_s_score_and_time(reranking: SearchEngine):
    result = reranking.search("wireless mouse", k=5)
    assert all("rerank" in hit.stages for hit in result.hits)
    assert result.timings_ms["rerank"] > 0


def test_rerank_false_gives_the_first_stage_s_order(reranking: SearchEngine, engine: SearchEngine):
    first = reranking.search("wireless mouse", k=20, rerank=False)
    assert [hit.product_id for hit in first.hits] == [h.product_id for h in engine.search("wireless mouse", k=20).hits]
    assert "rerank" not in first.timings_ms


def test_reranking_changes_the_order_somewhere(reranking: SearchEngine, engine: SearchEngine):
    queries = ["wireless mouse", "couch", "phone case", "acme office chair"]
    assert any(
        [h.product_id for h in reranking.search(q, k=20).hits] != [h.product_id for h in engine.search(q, k=20).hits]
        for q in queries
    )


def test_a_stage_that_would_miss_the_deadline_is_skipped_visibly(reranking: SearchEngine):
    result = reranking.search("wireless mouse", k=5, deadline_ms=1e-6)
    assert result.degraded == ("rerank",)
    assert result.hits == reranking.search("wireless mouse", k=5, rerank=False).hits


def test_a_deadline_of_zero_skips_the_reranker_and_one_that_is_no_time_is_refused(reranking: SearchEngine):
    assert reranking.search("mouse", deadline_ms=0).degraded == ("rerank",)
    assert asyncio.run(reranking.asearch("mouse", deadline_ms=0)).degraded == ("rerank",)
    for deadline_ms in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="deadline_ms must be finite and at least 0"):
            reranking.search("mouse", deadline_ms=deadline_ms)
        with pytest.raises(ValueError, match="deadline_ms must be finite and at least 0"):
            asyncio.run(reranking.asearch("mouse", deadline_ms=deadline_ms))


def test_a_function_that_returns_too_few_vectors_is_refused(published: Path, tiny_model_folder: Path):
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RuntimeConfig(device="cpu"))
    kept: list[int] = []

    def encode(texts: Sequence[str]) -> FloatMatrix:
        return encoder.encode_queries(texts)[: len(texts) - len(kept)]

    engine = SearchEngine.open(published, encoder=encode)
    kept.append(1)
    with pytest.raises(VectorError, match=r"expected a vector for each of 2 queries, got 1 from encoder="):
        engine.search_many(["mouse", "sofa"])


@pytest.mark.parametrize("product_id", [["0003"], None, 3, pytest.param(10**5_000, id="5,000 digits")])
def test_what_is_no_product_id_is_unknown_to_product_and_refused_by_similar(engine: SearchEngine, product_id: object):
    with pytest.raises(KeyError, match=f"a product_id is a string, got {type(product_id).__name__}"):
        engine.product(product_id)  # type: ignore[arg-type]
    with pytest.raises(InvalidQuery, match="a product_id is a string, got"):
        engine.similar(product_id)  # type: ignore[arg-type]


def test_messages_about_a_megabyte_stay_short(engine: SearchEngine):
    with pytest.raises(InvalidQuery, match="there is no product 'xxx") as caught:
        engine.similar("x" * 1_000_000)
    assert len(str(caught.value)) < 200
    with pytest.raises(InvalidQuery, match="a column's name may have up to 1000 characters, got 1000000"):
        engine.search("mouse", filters=[("x" * 1_000_000, "==", 1)])


def test_a_deadline_with_room_changes_nothing(reranking: SearchEngine):
    result = reranking.search("wireless mouse", k=5, deadline_ms=1e9)
    assert result.degraded == ()
    assert result.hits == reranking.search("wireless mouse", k=5).hits


def test_a_run_is_as_deep_as_asked_and_reranks_only_the_top(reranking: SearchEngine):
    first, _ = reranking.run("wireless mouse", System.hybrid, depth=10, run_depth=60)
    both, elapsed_ms = reranking.run("wireless mouse", System.hybrid_rerank, depth=10, run_depth=60)
    assert [product_id for product_id, _ in both[10:]] == [product_id for product_id, _ in first[10:]]
    assert {product_id for product_id, _ in both[:10]} == {product_id for product_id, _ in first[:10]}
    assert elapsed_ms > 0


def test_the_systems_ask_the_sources_they_name(engine: SearchEngine):
    lexical, _ = engine.run("wireless mouse", System.bm25, depth=60, run_depth=60)
    dense, _ = engine.run("wireless mouse", System.dense, depth=60, run_depth=60)
    assert 0 < len(lexical) < len(dense) == 60


# --- building ---------------------------------------------------------------------------------------------------------


def test_the_manifest_tells_what_was_built(published: Path):
    manifest = open_bundle(published).manifest
    assert manifest.catalogue["rows"] == manifest.catalogue["accepted"] == 60
    assert manifest.index["kind"] == "flat"
    assert manifest.index["recall"]["value"] == 1.0
    assert manifest.index["recall"]["queries_from"] == "the catalogue's queries"
    assert manifest.tokens["texts"] == 60
    assert manifest.fingerprint["dimension"] == "32"
    assert {"rows", "products.parquet", "canary.json", "index/faiss.index"} <= set(manifest.files)


def test_a_second_build_publishes_beside_the_first_and_encodes_nothing(bundle: Path, shop: Path, build_config: Compose):
    report = build(build_config(), source=shop, out=bundle)
    assert (report.encoded, report.reused) == (0, 60)
    versions = list_versions(bundle)
    assert [version.live for version in versions] == [True, False]


def test_equal_builds_have_equal_files_and_share_them(bundle: Path, shop: Path, build_config: Compose):
    before = open_bundle(bundle)
    build(build_config(), source=shop, out=bundle)
    after = open_bundle(bundle)
    assert dict(after.manifest.files) == dict(before.manifest.files)
    weights = "encoder/model.safetensors"
    assert os.stat(after.folder / weights).st_ino == os.stat(before.folder / weights).st_ino  # noqa: PTH116


def test_changing_one_title_encodes_one_text(bundle: Path, tmp_path: Path, shop: Path, build_config: Compose):
    changed = tmp_path / "changed"
    shutil.copytree(shop, changed)
    table = pq.read_table(changed / "products.parquet").to_pydict()
    table["title"][7] = "Something new"
    table["price"][9] = 1.0
    table["attributes"] = pa.array(table["attributes"], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table(table), changed / "products.parquet")
    report = build(build_config(), source=changed, out=bundle)
    assert (report.encoded, report.reused) == (1, 59)
    assert SearchEngine.open(bundle).search("something new", k=1).hits[0].product_id == table["product_id"][7]


def test_an_interrupted_build_publishes_nothing_and_the_next_one_continues(
    tmp_path: Path, shop: Path, build_config: Compose, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    calls = 0
    encode = DualEncoder.encode_products

    def interrupted(self: DualEncoder, texts: Sequence[str], **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return encode(self, texts, **options)  # type: ignore[arg-type]

    config = build_config("segment_texts=10")
    with monkeypatch.context() as patch:
        patch.setattr(DualEncoder, "encode_products", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(config, source=shop, out=out)
    assert not (out / "CURRENT").exists()
    assert not (out / ".staging").exists()
    report = build(config, source=shop, out=out)
    assert (report.encoded, report.reused) == (40, 20)


def test_a_build_below_its_recall_gate_leaves_the_live_version_serving(
    bundle: Path, shop: Path, build_config: Compose, monkeypatch: pytest.MonkeyPatch
):
    before = open_bundle(bundle).manifest.version
    search = FaissIndex.search

    def forgetful(self: FaissIndex, queries: np.ndarray, k: int, **options: object) -> Neighbors:
        found = search(self, queries, k, **options)  # type: ignore[arg-type]
        return Neighbors(
            np.where(np.arange(k) < k // 2, found.scores, -np.inf), np.where(np.arange(k) < k // 2, found.rows, -1)
        )

    monkeypatch.setattr(FaissIndex, "search", forgetful)
    message = r"recall@100 of flat is 0\.5000, below index\.recall_target=0\.95; nothing was published"
    with pytest.raises(GateFailed, match=message):
        build(build_config(), source=shop, out=bundle)
    assert open_bundle(bundle).manifest.version == before
    assert not (bundle / ".staging").exists()


def test_a_second_builder_is_turned_away_and_told_who_builds(bundle: Path, shop: Path, build_config: Compose):
    with (
        storage.exclusive_lock(bundle / "LOCK", purpose="build elsewhere"),
        pytest.raises(BuildLocked, match="build elsewhere"),
    ):
        build(build_config(), source=shop, out=bundle)


def test_a_disk_without_room_is_refused_before_anything_is_encoded(
    bundle: Path, shop: Path, build_config: Compose, monkeypatch: pytest.MonkeyPatch
):
    before = open_bundle(bundle).manifest.version
    monkeypatch.setattr(storage.FileSystem, "free_bytes", lambda self, path: 1000)
    monkeypatch.setattr(DualEncoder, "encode_products", lambda *a, **k: pytest.fail("encoded without room"))
    with pytest.raises(StorageFull, match="free some space"):
        build(build_config("text=title"), source=shop, out=bundle)
    assert open_bundle(bundle).manifest.version == before


def test_bad_rows_are_set_aside_and_accounted_for(tmp_path: Path, shop: Path, build_config: Compose):
    source = tmp_path / "bad"
    shutil.copytree(shop, source)
    table = pq.read_table(source / "products.parquet").to_pydict()
    table["title"][3] = ""
    table["product_id"][5] = table["product_id"][4]
    table["attributes"] = pa.array(table["attributes"], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table(table), source / "products.parquet")
    with pytest.raises(SourceDataError, match="product_id"):
        build(build_config(), source=source, out=tmp_path / "out")
    report = build(build_config("catalog.on_bad_rows=quarantine"), source=source, out=tmp_path / "out")
    assert (report.products, report.quarantined) == (58, 2)
    opened = open_bundle(tmp_path / "out")
    rows = [json.loads(line) for line in (opened.folder / "quarantine.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == [4, 6]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_sq8", "auto"])  # ivf_pq needs 256 products: tests/congruence
def test_every_kind_of_index_gives_the_answers_of_exact_search_on_a_small_shop(
    kind: str, tmp_path: Path, shop: Path, build_config: Compose, engine: SearchEngine
):
    build(build_config(f"index={kind}", "index.recall_target=0.99"), source=shop, out=tmp_path / "out")
    other = SearchEngine.open(tmp_path / "out")
    for query in ("couch", "red wireless mouse", "phone case"):
        assert other.search(query, k=10).hits == engine.search(query, k=10).hits


# --- the right encoder ------------------------------------------------------------------------------------------------


def test_the_same_encoder_in_another_folder_is_accepted(published: Path, tiny_model_folder: Path, engine: SearchEngine):
    other = SearchEngine.open(published, encoder=tiny_model_folder)
    assert other.search("couch").hits == engine.search("couch").hits


def test_another_encoder_is_refused_with_the_field_named(published: Path, tmp_path: Path, tiny_model_folder: Path):
    folder = tmp_path / "other"
    shutil.copytree(tiny_model_folder, folder)
    pooling = next(folder.glob("*Pooling/config.json"))
    config = json.loads(pooling.read_text())
    config["pooling_mode"] = "cls"
    pooling.write_text(json.dumps({k: v for k, v in config.items() if not k.startswith("pooling_mode_")}))
    with pytest.raises(FingerprintMismatch, match=r"pooling: mean.* in the index, cls.* in the folder"):
        SearchEngine.open(published, encoder=folder)


def test_a_function_may_stand_in_for_the_encoder(published: Path, tiny_model_folder: Path, engine: SearchEngine):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model_folder), device="cpu")
    other = SearchEngine.open(
        published, encoder=lambda texts: model.encode_query(list(texts), normalize_embeddings=True)
    )
    ours, theirs = engine.search("couch", k=5).hits, other.search("couch", k=5).hits
    assert [hit.product_id for hit in theirs] == [hit.product_id for hit in ours]


def test_a_function_that_encodes_otherwise_is_refused(published: Path):
    def wrong(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 32), dtype=np.float32)
        vectors[:, 0] = 1.0
        return vectors

    with pytest.raises(FingerprintMismatch, match="does not reproduce the bundle's stored queries: smallest cosine"):
        SearchEngine.open(published, encoder=wrong)


def test_bf16_stays_within_the_canary_s_tolerance(published: Path):
    assert len(SearchEngine.open(published, precision="bf16").search("couch").hits) == 10


def test_an_unknown_precision_is_refused(published: Path):
    with pytest.raises(ValueError, match="precision must be one of auto, fp32, bf16, int8, got 'int3'"):
        SearchEngine.open(published, precision="int3")


def test_an_altered_bundle_is_refused(bundle: Path):
    path = open_bundle(bundle).folder / "index" / "faiss.index"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactCorrupt, match=r"faiss\.index was altered"):
        SearchEngine.open(bundle)


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.digest_cache.SETTLED_S", -1.0)


def test_cached_digests_are_used_where_they_are_asked_for_and_nowhere_else(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    """Somebody who may write the cache can vouch for an altered file; the default does not ask the cache."""
    settled(monkeypatch)
    path = open_bundle(bundle).folder / "products.parquet"
    SearchEngine.open(bundle, trust="cached-digests")
    right = storage.digest(path).sha256
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactCorrupt, match=r"products\.parquet was altered"):
        SearchEngine.open(bundle, trust="cached-digests")
    status = path.stat()
    key = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    storage.replace_json(bundle / "cache" / "digests.json", {"format": 1, "digests": {key: right}})
    open_bundle(bundle, cached=True)
    with pytest.raises(ArtifactCorrupt, match=r"products\.parquet was altered"):
        SearchEngine.open(bundle)


def test_an_unknown_trust_is_refused(published: Path):
    with pytest.raises(ValueError, match="trust must be one of digests, cached-digests, got 'everything'"):
        SearchEngine.open(published, trust="everything")


def test_a_version_that_lies_elsewhere_is_refused(bundle: Path, tmp_path: Path):
    folder = open_bundle(bundle).folder
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactUntrusted, match=r"leads to .*elsewhere, which is outside the bundle"):
        SearchEngine.open(bundle)


def test_an_altered_vector_segment_is_refused(bundle: Path):
    path = next(bundle.glob("vectors/*/segment-000000.f32"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ArtifactCorrupt, match=r"segment-000000\.f32 has \d+ bytes"):
        SearchEngine.open(bundle)


# --- vectors of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture
def shop_with_vectors(tmp_path: Path, shop: Path, published: Path) -> Path:
    """The toy shop with the encoder's own vectors in a column."""
    folder = tmp_path / "with vectors"
    shutil.copytree(shop, folder)
    bundle = open_bundle(published)
    rows = np.fromfile(bundle.folder / "rows", dtype="<i8")
    vectors = VectorStore.open(bundle.store_folder, dim=32).view(rows).take(np.arange(60))
    table = pq.read_table(folder / "products.parquet")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 32)
    pq.write_table(table.append_column("vector", column), folder / "products.parquet")
    return folder


def test_brought_vectors_stand_in_for_the_product_side(
    shop_with_vectors: Path, tmp_path: Path, build_config: Compose, engine: SearchEngine
):
    report = build(build_config(), source=shop_with_vectors, out=tmp_path / "out")
    assert report.encoded == 0
    hits = SearchEngine.open(tmp_path / "out").search("couch", k=10).hits
    assert [hit.product_id for hit in hits] == [hit.product_id for hit in engine.search("couch", k=10).hits]


def test_brought_vectors_without_an_encoder_need_a_function_for_queries(
    shop_with_vectors: Path, tmp_path: Path, build_config: Compose, tiny_model_folder: Path, engine: SearchEngine
):
    build(build_config("encoder=none"), source=shop_with_vectors, out=tmp_path / "out")
    without = SearchEngine.open(tmp_path / "out")
    with pytest.raises(InvalidQuery, match="built on brought vectors without an encoder"):
        without.search("couch")
    assert len(without.similar("0000", k=3).hits) == 3
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model_folder), device="cpu")
    with_function = SearchEngine.open(tmp_path / "out", encoder=lambda texts: model.encode_query(list(texts)))
    hits = with_function.search("couch", k=5).hits
    assert [hit.product_id for hit in hits] == [hit.product_id for hit in engine.search("couch", k=5).hits]


def test_brought_vectors_of_another_model_are_refused(tmp_path: Path, shop: Path, build_config: Compose):
    folder = tmp_path / "foreign"
    shutil.copytree(shop, folder)
    vectors = np.random.default_rng(5).normal(size=(60, 32)).astype(np.float32)
    table = pq.read_table(folder / "products.parquet")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 32)
    pq.write_table(table.append_column("vector", column), folder / "products.parquet")
    with pytest.raises(ConfigError, match=r"vectors are not this encoder's: mean cosine -?0\.\d\d on 60 products"):
        build(build_config(), source=folder, out=tmp_path / "out")


def test_no_encoder_and_no_vectors_is_refused(tmp_path: Path, shop: Path, build_config: Compose):
    with pytest.raises(ConfigError, match="encoder=none needs a catalogue with vectors"):
        build(build_config("encoder=none"), source=shop, out=tmp_path / "out")


@pytest.mark.parametrize("suffix", [".f32", ".keys"])
def test_a_damaged_store_is_set_aside_and_its_texts_are_encoded_again(
    bundle: Path, shop: Path, build_config: Compose, suffix: str, engine: SearchEngine
):
    path = next(bundle.glob(f"vectors/*/segment-000000{suffix}"))
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 2 :] + content[: len(content) // 2])
    report = build(build_config(), source=shop, out=bundle)
    assert (report.encoded, report.reused) == (60, 0)
    assert len(list(bundle.glob("vectors/*.damaged-*"))) == 1
    assert SearchEngine.open(bundle).search("couch").hits == engine.search("couch").hits


def test_the_profile_decides_how_many_threads_a_call_may_use_unless_a_number_is_given(published: Path):
    def threads(**options: Any) -> int:
        with SearchEngine.open(published, probe=False, **options) as opened:
            return opened._opening.runtime.threads

    assert [threads(), threads(profile="latency"), threads(profile="latency", threads=2)] == [0, 1, 2]
    with pytest.raises(ValueError, match="profile must be one of throughput, latency, got 'fast'"):
        SearchEngine.open(published, profile="fast")
