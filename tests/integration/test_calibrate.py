"""Weight and confidence of a bundle's cross-encoder, learned anew on held-out queries; nothing is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from indexing.errors import ConfigError, StorageError
from rerank.confidence import read_confidence
from rerank.config import CrossEncoderConfig
from rerank.final import Convex
from rerank.fusion import best_weight
from rerank.reranker import open_reranker
from retrieval.config import RuntimeConfig
from retrieval.records import Judgment, Product, Query
from shortlist.compose import load_config
from shortlist.jobs import calibrate
from shortlist.jobs.calibrate import run_calibrate
from shortlist.training_config import CalibrateConfig
from tests.integration.conftest import write_csv, write_shop

DEV = 24


@pytest.fixture
def config() -> CalibrateConfig:
    return load_config(CalibrateConfig, ["depth=20", "complete_grades=true", "confidence.precision=0.5"])


@pytest.fixture
def source(tmp_path: Path, tiny_products: tuple[Product, ...]) -> Path:
    """One query per product, its own title; the first 24 are held out, the rest were trained on."""
    queries = [Query(f"q{place:02d}", product.title) for place, product in enumerate(tiny_products)]
    judgments = [
        Judgment(query.query_id, product.product_id, 3) for query, product in zip(queries, tiny_products, strict=True)
    ]
    folder = write_shop(tmp_path / "titles", tiny_products, queries, judgments)
    splits = [(query.query_id, "dev" if place < DEV else "train") for place, query in enumerate(queries)]
    write_csv(folder / "splits.csv", [("query_id", "split"), *splits])
    return folder


def test_weight_and_confidence_come_from_the_dev_queries_alone_and_the_network_stays_as_it_was(
    source: Path, reranked: Path, config: CalibrateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[list[str]] = []

    def spy(held_out, **options):  # type: ignore[no-untyped-def]
        asked.append(sorted(product_id for query in held_out for product_id in query.grades))
        return best_weight(held_out, **options)

    monkeypatch.setattr(calibrate, "best_weight", spy)
    report = run_calibrate(config, source=source, bundle=reranked, out=tmp_path / "new")
    rows = (source / "judgments.csv").read_text().splitlines()[1:]
    assert asked == [sorted(row.split(",")[1] for row in rows[:DEV])]
    assert (report.weight_before, report.choice.queries, report.confidence.queries) == (0.5, DEV, DEV)
    stored = json.loads((tmp_path / "new" / "final_fusion.json").read_text())
    assert stored["weight"] == report.choice.weight
    assert report.confidence.first_stage is not None
    assert report.confidence.first_stage.answers == DEV  # a product is found by its own title
    assert read_confidence(tmp_path / "new").abstention is not None
    weights = "model.safetensors"
    before = next(reranked.glob(f"versions/*/reranker/{weights}"))
    assert (tmp_path / "new" / weights).read_bytes() == before.read_bytes()
    opened = open_reranker(CrossEncoderConfig(model=str(tmp_path / "new")), RuntimeConfig(device="cpu", threads=1))
    assert opened.fusion == Convex(report.choice.weight)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_command_prints_the_weight_and_what_was_learned(
    source: Path, reranked: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
):
    code, out, _ = run(
        "calibrate", "--source", source, "--bundle", reranked, "--out", tmp_path / "new", "depth=20",
        "complete_grades=true", "runtime.device=cpu",
    )  # fmt: skip
    assert code == 0
    assert f"chosen on {DEV} held-out queries" in out
    assert "weight 0.5 before" in out
    assert "no good match (first stage): AUC " in out


def test_without_a_dev_split_a_cross_encoder_or_an_empty_folder_nothing_is_calibrated(
    source: Path, reranked: Path, published: Path, shop: Path, config: CalibrateConfig, tmp_path: Path
):
    with pytest.raises(ConfigError, match=r"has no queries in a split named 'dev'.*splits\.csv"):
        run_calibrate(config, source=shop, bundle=reranked, out=tmp_path / "new")
    with pytest.raises(ConfigError, match=r"has no cross-encoder to calibrate; train one"):
        run_calibrate(config, source=source, bundle=published, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    with pytest.raises(StorageError, match="exists and is not empty"):
        run_calibrate(config, source=source, bundle=reranked, out=tmp_path / "full")
