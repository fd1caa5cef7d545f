"""The second stage of a recipe: a cross-encoder kept when it helps, a student of it, and how far both are trusted."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerank.confidence import read_confidence
from rerank.config import CrossEncoderConfig
from rerank.final import Convex
from rerank.reranker import open_reranker
from retrieval.config import RuntimeConfig
from shortlist.compose import load_config
from shortlist.jobs.train.recipe import run_recipe
from shortlist.training_config import TrainConfig

GRADES = {"sofa": "3", "office chair": "2"}
SPLITS = ["train"] * 26 + ["dev"] * 24 + ["test"] * 10


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def source(tmp_path_factory, tiny_products):
    """60 queries that all want something to sit on, which no product says of itself: a random first stage guesses."""
    folder = tmp_path_factory.mktemp("seats")
    columns = {name: [getattr(product, name) for product in tiny_products] for name in ("product_id", "title")}
    pq.write_table(pa.table(columns), folder / "products.parquet")
    queries = [(f"q{place:02d}", f"seat {product.product_id}") for place, product in enumerate(tiny_products)]
    good = [(p.product_id, GRADES[p.attributes["type"]]) for p in tiny_products if p.attributes["type"] in GRADES]
    write_csv(folder / "queries.csv", ["query_id", "text"], queries)
    judged = [(query_id, *graded) for query_id, _ in queries for graded in good]
    write_csv(folder / "judgments.csv", ["query_id", "product_id", "grade"], judged)
    splits = [(query_id, split) for (query_id, _), split in zip(queries, SPLITS, strict=True)]
    write_csv(folder / "splits.csv", ["query_id", "split"], splits)
    return folder


@pytest.fixture(scope="module")
def run(source, recipe_overrides, tiny_model_folder, tmp_path_factory):
    settings = {
        "reranker.base": tiny_model_folder,
        "reranker.epochs": 4,
        "reranker.learning_rate": "3e-3",
        "reranker.max_per_grade": 8,
        "reranker.freeze_embeddings": "false",
        "reranker.max_tokens": 32,
        "reranker.complete_grades": "true",
        "student_layers": 1,
        "depth": 60,
        "confidence.precision": 0.5,
        "distillation.epochs": 2,
        "distillation.learning_rate": "3e-3",
        "retriever.precision": "fp32",
        "retriever.freeze_embeddings": "false",
        "steps": "[reranker,student,confidence,distil]",
    }
    config = load_config(TrainConfig, [*recipe_overrides, *(f"{key}={value}" for key, value in settings.items())])
    out = tmp_path_factory.mktemp("recipes") / "run"
    return out, config, run_recipe(config, source=source, out=out)


def test_a_cross_encoder_that_helps_is_kept_and_beats_the_first_stage_on_the_scored_queries(run):
    _, _, report = run
    untrained, reranker, student, confidence, _ = report.rows
    assert (reranker.step, reranker.kept, student.kept, confidence.kept) == ("reranker", True, True, True)
    fusions = {"hybrid", "hybrid, rrf", "hybrid, zscore", "hybrid, convex"}
    assert set(untrained.scored) == {"bm25", "dense", *fusions}
    assert untrained.scored["hybrid, zscore"] == untrained.scored["hybrid"]
    means = {system: of.means["nDCG@10"] for system, of in student.scored.items()}
    assert set(means) == {"bm25", "dense", "hybrid", "hybrid_rerank", "hybrid_student"}
    assert means["hybrid_rerank"] > means["hybrid"] + 0.2
    assert means["hybrid_student"] > means["hybrid"] + 0.2
    assert reranker.record["choice"]["weight"] > 0
    assert reranker.record["choice"]["nested_gain"] > 0.1
    assert student.record["training"]["grades"]["-1"] > 0


def test_what_is_left_is_ready_for_a_build_with_its_weight_and_its_confidence(run):
    out, _, report = run
    assert set(report.artefacts) - {"encoder"} == {"reranker", "student", "confidence"}
    folder = out / "models" / "reranker"
    reranker = open_reranker(CrossEncoderConfig(model=str(folder)), RuntimeConfig(device="cpu", threads=1))
    assert reranker.fusion == Convex(report.rows[1].record["choice"]["weight"])
    confidence = read_confidence(folder)
    assert confidence.calibration is not None
    assert confidence.abstention is not None
    evidence = report.rows[3].record["confidence"]
    assert evidence["queries"] == SPLITS.count("dev")
    assert evidence["pairs"]["skill"] > 0.3
    assert (evidence["reranked"]["answers"], evidence["reranked"]["misses"]) == (24, 48)
    assert not (out / "steps" / "03-confidence" / "products.parquet").exists()
    card = (folder / "README.md").read_text()
    assert "| hybrid_rerank | nDCG@10 |" in card
    assert "- confidence: seed 7" in card
    small = open_reranker(CrossEncoderConfig(model=str(out / "models" / "student")), RuntimeConfig(device="cpu"))
    assert small.layers == 1


def test_an_interrupted_recipe_goes_on_with_what_was_learned(run, source):
    out, config, report = run
    again = run_recipe(config, source=source, out=out)
    assert again.artefacts == report.artefacts
    assert [row.scored.keys() for row in again.rows] == [row.scored.keys() for row in report.rows]
    assert json.loads((out / "report.json").read_text())["rows"][3]["step"] == "confidence"


def test_a_dual_encoder_is_taught_by_the_cross_encoder_and_kept_when_it_finds_more(run):
    _, _, report = run
    reranker, distilled = report.rows[1], report.rows[4]
    assert distilled.step == "distil"
    training = distilled.record["training"]
    assert training["lists"] == SPLITS.count("train")
    assert 16 * training["lists"] < training["pairs"] <= 26 * training["lists"]  # its candidates and ten judged ones
    assert training["loss"][1] < training["loss"][0]
    assert distilled.scored["dense"].means["nDCG@10"] > reranker.scored["dense"].means["nDCG@10"] + 0.2
    assert distilled.kept == ("encoder" in report.artefacts)
    assert distilled.kept
