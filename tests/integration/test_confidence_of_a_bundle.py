"""Confidence travels with the cross-encoder: through a build, into answers, and never unverified."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from indexing.errors import ArtifactCorrupt
from rerank.abstention import Abstention, AnswerModel
from rerank.calibration import Calibration
from rerank.confidence import CONFIDENCE_FILE, Confidence, write_confidence
from retrieval.records import Judgment, Product, Query
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from shortlist.jobs.training import run_train_reranker
from shortlist.training_config import TrainRerankerConfig

WORDS = AnswerModel(("words_best",), (0.5,), (0.1,), (2.0,), 0.0, 0.5)
CONFIDENCE = Confidence(Calibration("platt", 2, slope=1.0), Abstention(2, 0.9, 0.2, WORDS, WORDS))


@pytest.fixture
def sure_folder(tiny_cross_encoder_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "sure"
    shutil.copytree(tiny_cross_encoder_folder, folder)
    write_confidence(folder, CONFIDENCE, {})
    return folder


@pytest.fixture
def sure_config(build_config: Callable[..., BuildConfig], sure_folder: Path) -> BuildConfig:
    chosen = build_config("reranker=cross_encoder", "reranker.model=x", "reranker.weight=0.5")
    chosen.reranker.model = str(sure_folder)  # type: ignore[attr-defined]
    return chosen


def test_a_bundle_answers_with_the_confidence_that_its_cross_encoder_came_with(
    sure_config: BuildConfig, shop: Path, tmp_path: Path
):
    build(sure_config, source=shop, out=tmp_path / "bundle")
    engine = SearchEngine.open(tmp_path / "bundle", device="cpu")
    assert f"reranker/{CONFIDENCE_FILE}" in engine.bundle.manifest.files
    good, bad = engine.search("wireless mouse", k=3), engine.search("grand piano", k=3)
    assert (good.abstained, bad.abstained) == (False, True)
    calibration = CONFIDENCE.calibration
    assert calibration is not None
    for hit in good.hits:
        assert hit.probability == pytest.approx(float(calibration.apply([hit.stages["rerank"]])[0]))
    bare = SearchEngine.open(tmp_path / "bundle", device="cpu", rerank=False)
    assert bare.search("grand piano").abstained
    assert bare.search("grand piano").hits[0].probability is None


def test_an_altered_confidence_is_refused_with_the_other_files_of_the_version(
    sure_config: BuildConfig, shop: Path, tmp_path: Path
):
    build(sure_config, source=shop, out=tmp_path / "bundle")
    path = next((tmp_path / "bundle").glob(f"versions/*/reranker/{CONFIDENCE_FILE}"))
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"slope": 1.0', '"slope": 9.0'))
    with pytest.raises(ArtifactCorrupt, match=rf"{CONFIDENCE_FILE} was altered"):
        SearchEngine.open(tmp_path / "bundle", device="cpu")


def test_a_confidence_that_no_training_wrote_is_refused_before_anything_is_built(
    sure_config: BuildConfig, sure_folder: Path, shop: Path, tmp_path: Path
):
    values = json.loads((sure_folder / CONFIDENCE_FILE).read_text())
    values["abstention"]["first_stage"]["features"] = ["margin"]
    (sure_folder / CONFIDENCE_FILE).write_text(json.dumps(values))
    with pytest.raises(ArtifactCorrupt, match="unknown feature 'margin'"):
        build(sure_config, source=shop, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.fixture
def many_queries(tiny_products: tuple[Product, ...]) -> tuple[list[Query], list[Judgment]]:
    """One query per product, its own title, and the products of the same category as fair ones."""
    queries = [Query(f"q{place:02d}", product.title) for place, product in enumerate(tiny_products)]
    return queries, [
        Judgment(query.query_id, other.product_id, 3 if other is product else 1)
        for query, product in zip(queries, tiny_products, strict=True)
        for other in tiny_products
        if other.category == product.category
    ]


def test_training_a_cross_encoder_learns_confidence_on_the_queries_it_was_not_fitted_on(
    published: Path,
    tiny_model_folder: Path,
    tiny_products: tuple[Product, ...],
    many_queries: tuple[list[Query], list[Judgment]],
    tmp_path: Path,
):
    from tests.integration.conftest import write_shop

    queries, judgments = many_queries
    source = write_shop(tmp_path / "shop", tiny_products, queries, judgments)
    config = load_config(
        TrainRerankerConfig,
        ["trainer.dev_share=0.5", "trainer.complete_grades=true", "depth=20", "confidence.precision=0.5"],
    )
    config = replace(config, trainer=replace(config.trainer, base=str(tiny_model_folder), max_tokens=32))
    report = run_train_reranker(config, source=source, bundle=published, out=tmp_path / "reranker")
    assert report.confidence is not None
    assert report.confidence.queries == report.dev_queries == len(queries) // 2
    assert report.confidence.first_stage is not None
    assert report.confidence.first_stage.answers == report.dev_queries  # its own title: the product is always there
    assert report.confidence.first_stage.misses == 3 * report.dev_queries  # without its good, graded, like products
    written = json.loads((tmp_path / "reranker" / CONFIDENCE_FILE).read_text())
    assert written["evidence"]["queries"] == report.dev_queries
    assert (written["calibration"] is None) == (report.choice is None or report.choice.weight == 0)
