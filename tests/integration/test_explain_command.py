"""`shortlist explain` on bundles from disk, with real (tiny) models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.config import BuildConfig

Run = Callable[..., tuple[int, str, str]]


def test_a_hit_is_explained_in_words_and_as_json(run: Run, reranked: Path):
    hit = SearchEngine.open(reranked).search("red wireless mouse", k=5).hits[1]
    code, out, _ = run("explain", "red wireless mouse", hit.product_id, "--bundle", reranked, "k=5")
    assert code == 0
    assert out.splitlines()[1].startswith("Shown: rank 2 of 60 (")
    assert [line.split()[0] for line in out.splitlines()[3:9]] == [
        "stage",
        "dense",
        "lexical",
        "fusion",
        "rerank",
        "answer",
    ]
    assert "\n  words     " in out
    assert "\n  nearest   " in out
    assert "\n  reranker  " in out
    code, out, _ = run("explain", "red wireless mouse", hit.product_id, "--bundle", reranked, "k=5", "--json")
    found = json.loads(out)
    assert (found["verdict"], found["rank"]) == ("shown", 2)
    scores = {stage["name"]: stage["score"] for stage in found["stages"]}
    assert {name: scores[name] for name in hit.stages} == pytest.approx(dict(hit.stages), abs=1e-5)
    assert scores["answer"] == pytest.approx(hit.score, abs=1e-5)


def test_every_product_of_a_bundle_is_explained_as_it_is_answered(reranked: Path):
    engine = SearchEngine.open(reranked)
    filters = [("price", "<", 300)]
    for query in ("couch", "norvik laptop"):
        ranks = {hit.product_id: hit.rank for hit in engine.search(query, k=8, depth=20, filters=filters).hits}
        for number in range(0, 60, 9):
            found = engine.explain(query, f"{number:04d}", k=8, depth=20, filters=filters)
            assert (found.rank if found.verdict == "shown" else None) == ranks.get(found.product_id)


def test_the_options_of_search_hold(run: Run, reranked: Path):
    words = ("explain", "mouse", "0000", "--bundle", reranked, "--filter", "attributes.colour=red", "--json")
    found = json.loads(run(*words)[1])
    assert (found["verdict"], found["otherwise"]["change"]) == ("filtered", "without the filter")
    assert found["headline"].startswith("filtered out: attributes.colour is 'black', the filter wants == 'red'; ")
    late = json.loads(run("explain", "mouse", "0000", "--bundle", reranked, "deadline_ms=0.000001", "--json")[1])
    assert next(s["note"] for s in late["stages"] if s["name"] == "rerank") == "skipped to keep the deadline"
    without = json.loads(run("explain", "mouse", "0000", "--bundle", reranked, "rerank=false", "--json")[1])
    assert without["attribution"] is None


def test_a_bundle_without_a_reranker_is_explained_too(run: Run, published: Path):
    code, out, _ = run("explain", "couch", "0045", "--bundle", published)
    assert code == 0
    assert "no reranker loaded" in out


def test_a_row_that_the_build_set_aside_is_found_with_its_problem(
    run: Run, tmp_path: Path, shop: Path, build_config: Callable[..., BuildConfig]
):
    source = tmp_path / "source"
    shutil.copytree(shop, source)
    table = pq.read_table(source / "products.parquet").to_pydict()
    table["title"][3] = ""
    table["attributes"] = pa.array(table["attributes"], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table(table), source / "products.parquet")
    build(build_config("catalog.on_bad_rows=quarantine"), source=source, out=tmp_path / "out")
    code, out, _ = run("explain", "mouse", "0003", "--bundle", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[1:] == [
        "Not in the catalogue: set aside when the bundle was built (products.parquet, row 4: title: empty)"
    ]


def test_a_deleted_product_is_told_from_one_that_never_was(
    run: Run, bundle: Path, shop: Path, build_config: Callable[..., BuildConfig]
):
    SearchEngine.open(bundle).delete(["0003", "0004"])
    said = "Not in the catalogue: deleted, by record 1 of the journal; an upsert brings it back"
    assert run("explain", "mouse", "0003", "--bundle", bundle)[1].splitlines()[1:] == [said]
    found = SearchEngine.open(bundle).explain("red wireless mouse", "0001")
    assert (found.verdict, found.stage("dense").of, found.stage("catalogue").of) == ("shown", 58, 58)
    build(build_config(), source=shop, out=bundle)  # leaves out what is deleted
    assert run("explain", "mouse", "0003", "--bundle", bundle)[1].splitlines()[1:] == [said]


def test_an_id_without_its_zeros_is_met_with_a_suggestion(run: Run, published: Path):
    code, out, _ = run("explain", "mouse", "7", "--bundle", published)
    assert code == 0
    assert out.splitlines()[1] == ("Not in the catalogue: none of its 60 products has this id; did you mean '0007'?")


def test_without_a_product_id_the_command_says_what_it_takes(run: Run, published: Path):
    code, _, err = run("explain", "mouse", "--bundle", published)
    assert code == 2
    assert "give the product_id as the second argument" in err
