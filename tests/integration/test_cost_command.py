"""``evaluate cost=...`` on a toy shop: what is measured, what is left out aloud, and what the report holds of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rerank.final import Convex
from retrieval.config import Precision, RuntimeConfig
from retrieval.records import Query
from shortlist.bundle import open_bundle
from shortlist.compose import load_config
from shortlist.config import EvaluateConfig, System
from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost import ways as ways_module
from shortlist.evaluation.cost.bench import Bench, open_bench
from shortlist.evaluation.cost.ways import Way, answers, every_way, pairs_to_score
from shortlist.loading import load_generation

Run = Callable[..., tuple[int, str, str]]

SMALL = [
    "cost=quick", "depth=20", "cost.kinds=[hnsw,ivf_pq]", "cost.ef_search=[20]", "cost.index_k=20", "cost.repeats=1",
    "cost.depths=[10,20]", "cost.layers=[1,0,4]", "cost.timed_queries=4", "cost.index_queries=5", "runtime.threads=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(reranked: Path, tiny_queries: tuple[Query, ...]) -> Bench:
    config = load_config(EvaluateConfig, SMALL)
    config.systems = list(System)
    return open_bench(config, open_bundle(reranked), {query.query_id: query.text for query in tiny_queries})


# --- the command ------------------------------------------------------------------------------------------------------


def test_cost_is_measured_told_and_written(run: Run, shop: Path, reranked: Path, tmp_path: Path):
    words = ["evaluate", "--source", shop, "--bundle", reranked, "--out", tmp_path / "out", *SMALL]
    code, out, err = run(*words, "cost.price_per_hour=7.2")
    assert code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    cost = report["cost"]

    assert [(curve["kind"], curve["own"]) for curve in cost["indexes"]] == [("flat", True), ("hnsw", False)]
    assert cost["indexes"][0]["points"][0]["recall"] == 1.0
    assert [point["value"] for point in cost["indexes"][1]["points"]] == [20, 400]
    assert cost["indexes"][1]["points"][0]["latency"]["calls"] == 5
    assert all(point["recall"] == 1.0 for point in cost["selectivity"])
    assert all(point["violations"] == point["short"] == 0 for point in cost["selectivity"])
    assert {point["filter"] for point in cost["selectivity"]} == {"random", "category"}
    assert {point["eligible"] for point in cost["selectivity"]} == {60, 5, 1}

    points = {point["name"]: point for point in cost["frontier"]["points"]}
    precisions = sorted({point["precision"] for point in points.values()} - {""})
    assert len(points) == 1 + len(precisions) * (2 * 2 + 2 * 2)
    for system in ("bm25", "dense flat fp32", "hybrid flat fp32"):
        expected = report["systems"][system.split()[0]]["nDCG@10"]
        assert points[system]["quality"]["mean"] == pytest.approx(expected)
    whole = points["hybrid_rerank flat depth 20 layers 2/2 fp32"]
    assert whole["quality"]["mean"] == pytest.approx(report["systems"]["hybrid_rerank"]["nDCG@10"])
    assert any(point["optimal"] for point in points.values())
    assert whole["latency"]["calls"] == 4
    assert whole["cost_per_million"] == pytest.approx(whole["machine_s"] * 1e6 / 3600 * 7.2 / 0.5)

    parts = {part["name"]: part["anonymous_bytes"] for part in cost["memory"]["parts"]}
    assert list(parts) == [
        "libraries", "encoder", "products", "vectors", "index", "lexical", "canary", "reranker", "answering",
    ]  # fmt: skip
    assert parts["libraries"] > 100 * 2**20  # torch alone takes more
    assert points["bm25"]["memory_bytes"] < whole["memory_bytes"] <= cost["memory"]["total_bytes"]

    skipped = {skip["what"]: skip["why"] for skip in cost["skipped"]}
    assert "at least 256 distinct vectors" in skipped["index ivf_pq"]
    assert skipped["4 layers"] == "the cross-encoder has 2"
    for line in ("hybrid_rerank flat depth 10 layers 1/2 fp32", "recall@20 against exact search, 5 queries", "7.2 USD"):
        assert line in out
    assert "skipped: index ivf_pq: index=ivf_pq needs at least 256" in out
    assert "weighing the bundle" in err


def test_what_a_bundle_or_a_processor_lacks_is_skipped_aloud(
    run: Run, shop: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ways_module, "has_bf16", lambda device: False)
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "out", *SMALL]
    code, out, _ = run(*words, "cost.memory=false", "cost.kinds=[]", "--json")
    assert code == 0
    cost = json.loads(out)["cost"]
    assert [point["name"] for point in cost["frontier"]["points"]] == ["bm25", "dense flat fp32", "hybrid flat fp32"]
    assert {skip["what"]: skip["why"] for skip in cost["skipped"]} == {
        "memory": "cost.memory=false",
        "precision bf16": "cpu has no bfloat16 instructions here: it would be right, and slower than fp32",
        "hybrid_rerank": "the bundle has no reranker",
    }
    assert cost["memory"] is None
    assert cost["frontier"]["points"][0]["memory_bytes"] is None


def test_a_convention_that_ranks_judged_products_alone_has_no_frontier(
    run: Run, shop: Path, published: Path, tmp_path: Path
):
    (tmp_path / "qrels.txt").write_text("q-mouse 0 0000 100\nq-mouse 0 0007 1\n")
    code, out, _ = run(
        "evaluate", "--source", shop, "--bundle", published, "--judgments", tmp_path / "qrels.txt",
        "--out", tmp_path / "out", *SMALL, "cost.memory=false", "convention=esci_paper",
    )  # fmt: skip
    assert code == 0
    assert "skipped: frontier: convention=esci_paper ranks judged products alone" in out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["cost"]["frontier"] is None


def test_without_being_asked_nothing_is_measured(run: Run, shop: Path, published: Path, tmp_path: Path):
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "out", "systems=[bm25]"]
    code, out, _ = run(*words)
    assert code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["cost"] is None
    assert "control" not in out


def test_run_files_alone_have_no_cost(run: Run, shop: Path, tmp_path: Path):
    (tmp_path / "their.trec").write_text("q-mouse Q0 0000 1 2 t\n")
    code, out, err = run(
        "evaluate", "--source", shop, "--run", tmp_path / "their.trec", "--out", tmp_path / "out", "cost=quick"
    )
    assert (code, out) == (2, "")
    assert "cost is measured by searching, and run files cannot be searched: give a bundle (--bundle DIR)" in err
    assert not (tmp_path / "out").exists()


# --- the ways ---------------------------------------------------------------------------------------------------------


def every(bench: Bench) -> list[Way]:
    return every_way(bench.sweep, list(System), bench.generation, [bench.own], depth=20)[0]


def test_quality_is_measured_on_what_each_way_answers(bench: Bench):
    found = every(bench)
    assert len({way.name for way in found}) == len(found)
    scored = []
    runs = {way.name: run for way, run in answers(found, bench.texts, scored=scored.append)}
    for way in found:
        for query_id, text in bench.texts.items():
            (alone,) = way.answer(way.generation, [text])
            together = runs[way.name].get(query_id, [])
            near = 0.1 if way.precision == "bf16" else 1e-4  # a batch of another width rounds otherwise
            assert [score for _, score in together] == pytest.approx([score for _, score in alone], abs=near)
            if way.precision != "bf16":
                assert [product_id for product_id, _ in together] == [product_id for product_id, _ in alone]
    # Ten queries, twenty products, and a cross-encoder for every number of layers and precision.
    variants = len({id(way.generation.reranker) for way in found if way.all_layers})
    assert sum(scored) == pairs_to_score(found, len(bench.texts)) == 10 * 20 * variants


def test_the_ways_differ_in_what_they_are_named_after(bench: Bench):
    found = {way.name: way for way in every(bench)}
    shallow, deep = (found[f"hybrid_rerank flat depth 20 layers {layers}/2 fp32"] for layers in (1, 2))
    pair = ("wireless mouse", ["Acme red sofa"])
    assert shallow.generation.reranker.score(*pair) != deep.generation.reranker.score(*pair)
    assert shallow.dropped_bytes > 0 == deep.dropped_bytes
    (few,) = found["hybrid_rerank flat depth 10 layers 2/2 fp32"].answer(deep.generation, ["wireless mouse"])
    (many,) = deep.answer(deep.generation, ["wireless mouse"])
    assert (len(few), len(many)) == (10, 20)
    (words,) = found["bm25"].answer(bench.generation, ["headphnes"])
    assert words == []


@pytest.mark.skipif(not ways_module.has_bf16("cpu"), reason="this processor has no bfloat16 instructions")
def test_precision_reaches_the_query_tower(bench: Bench):
    found = {way.name: way for way in every(bench)}
    vectors = [found[f"dense flat {name}"].generation.tower.encode_queries(["sofa"]) for name in ("fp32", "bf16")]
    assert 1e-5 < np.abs(vectors[0] - vectors[1]).max() < 0.1


def test_a_reranker_that_weighs_nothing_is_left_out_aloud(bench: Bench, reranked: Path):
    generation = load_generation(open_bundle(reranked), runtime=RuntimeConfig(device="cpu", threads=1))
    generation.reranker.fusion = Convex(0.0)
    sweep = CostSweepConfig(precisions=[Precision.fp32])
    found, skipped = every_way(sweep, list(System), generation, [bench.own], depth=20)
    assert [way.name for way in found] == ["bm25", "dense flat fp32", "hybrid flat fp32"]
    assert [skip.why for skip in skipped] == ["the reranker weighs 0 in the final fusion: it is never asked"]


def test_the_queries_that_are_timed_are_a_seeded_draw_in_order(bench: Bench):
    drawn = bench.drawn(4)
    texts = list(bench.texts.values())
    assert drawn == bench.drawn(4)
    assert [texts.index(text) for text in drawn] == sorted(texts.index(text) for text in drawn)
    assert drawn != texts[:4]
    assert bench.drawn(99) == texts


def test_the_help_of_evaluate_lists_cost_among_the_groups_and_not_among_the_settings(run: Run):
    code, out, _ = run("evaluate", "--help")
    assert code == 0
    groups, settings = out.split("settings:")
    assert "cost: none, quick, standard" in groups
    assert "cost.timed_queries" in groups
    assert "cost" not in settings
