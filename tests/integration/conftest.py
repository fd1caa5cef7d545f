"""A toy shop on disk, and a bundle built from it once; tests that change a bundle copy it."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.records import Judgment, Product, Query
from shortlist.building.job import build
from shortlist.cli import main
from shortlist.compose import load_config
from shortlist.config import BuildConfig


def write_shop(
    folder: Path, products: Sequence[Product], queries: Sequence[Query] = (), judgments: Sequence[Judgment] = ()
) -> Path:
    """Write products.parquet, queries.csv and judgments.csv as `catalog=parquet` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "product_id": [p.product_id for p in products],
        "title": [p.title for p in products],
        "description": [p.description for p in products],
        "brand": [p.brand for p in products],
        "category": [p.category for p in products],
        "price": [p.price for p in products],
        "in_stock": [p.extra["in_stock"] for p in products],
        "attributes": pa.array([list(p.attributes.items()) for p in products], pa.map_(pa.string(), pa.string())),
    }
    pq.write_table(pa.table(columns), folder / "products.parquet")
    if queries:
        write_csv(folder / "queries.csv", [("query_id", "text"), *((q.query_id, q.text) for q in queries)])
    if judgments:
        rows = [(j.query_id, j.product_id, j.grade) for j in judgments]
        write_csv(folder / "judgments.csv", [("query_id", "product_id", "grade"), *rows])
    return folder


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="session")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_products: tuple[Product, ...],
    tiny_queries: tuple[Query, ...],
    tiny_judgments: tuple[Judgment, ...],
) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "a, b = c"
    return write_shop(folder, tiny_products, tiny_queries, tiny_judgments)


@pytest.fixture(scope="session")
def build_config(tiny_model_folder: Path) -> Callable[..., BuildConfig]:
    """Return a function that composes a build with the tiny encoder and further overrides."""

    def compose(*overrides: str) -> BuildConfig:
        config = load_config(BuildConfig, ["index=flat", "runtime=default", *overrides])
        if config.encoder.model == "minilm":
            config.encoder.model = str(tiny_model_folder)
        return config

    return compose


@pytest.fixture(scope="session")
def recipe_overrides(tiny_model_folder: Path) -> list[str]:
    """What every recipe over a toy shop is told: the tiny encoder on titles, in fp32 on one thread."""
    return [
        f"encoder.model={tiny_model_folder}",
        "text=title",
        "runtime.precision=fp32",
        "runtime.device=cpu",
        "runtime.threads=1",
    ]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, shop: Path, build_config: Callable[..., BuildConfig]) -> Path:
    """Return a bundle of the toy shop; not to be changed."""
    out = tmp_path_factory.mktemp("bundles") / "toy shop, v=1"
    build(build_config(), source=shop, out=out)
    return out


@pytest.fixture
def bundle(published: Path, tmp_path: Path) -> Path:
    """Return a copy of the toy bundle that a test may break."""
    shutil.copytree(published, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="session")
def reranked(
    tmp_path_factory: pytest.TempPathFactory,
    shop: Path,
    build_config: Callable[..., BuildConfig],
    tiny_cross_encoder_folder: Path,
) -> Path:
    """Return a bundle of the toy shop with a cross-encoder of weight one half; not to be changed."""
    out = tmp_path_factory.mktemp("reranked") / "bundle"
    chosen = build_config("reranker=cross_encoder", "reranker.model=x", "reranker.weight=0.5")
    chosen.reranker.model = str(tiny_cross_encoder_folder)  # type: ignore[attr-defined]
    build(chosen, source=shop, out=out)
    return out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line in this process: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
