import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from indexing.errors import ConfigError
from retrieval.config import CatalogConfig, TabularCatalog
from shortlist.jobs.training import training_queries

SPLITS = {"q-mouse": "train", "q-couch": "train", "q-typo": "dev", "q-model": "test", "q-case": "test"}


@pytest.fixture
def split_shop(shop: Path, tmp_path: Path) -> Path:
    """The toy shop with two training, one dev and two test queries; the other five are in no split."""
    folder = tmp_path / "split"
    shutil.copytree(shop, folder)
    lines = ["query_id,split", *(f"{query_id},{split}" for query_id, split in SPLITS.items())]
    (folder / "splits.csv").write_text("\n".join(lines) + "\n")
    (folder / "all.csv").write_text("query,product_id,grade\nP200,0034,3\ncouch,0045,3\nheadphnes,0035,3\n")
    return folder


@pytest.fixture
def catalog() -> CatalogConfig:
    return TabularCatalog(name="toy")


def test_only_train_and_dev_queries_are_trained_on(split_shop: Path, catalog: CatalogConfig):
    queries, judgments, dev = training_queries(catalog, split_shop, None)
    assert {query.query_id for query in queries} == {judgment.query_id for judgment in judgments}
    assert {query.query_id for query in queries} == {"q-mouse", "q-couch", "q-typo"}
    assert dev == {"q-typo"}


def test_judgments_by_text_bring_no_test_query_into_training(split_shop: Path, catalog: CatalogConfig):
    queries, _, dev = training_queries(catalog, split_shop, split_shop / "all.csv")
    assert {query.query_id for query in queries} == {"q-couch", "q-typo"}
    assert dev == {"q-typo"}
    queries, _, _ = training_queries(replace(catalog, split="train"), split_shop, split_shop / "all.csv")
    assert {query.query_id for query in queries} == {"q-couch"}


def test_training_on_the_test_split_is_refused(split_shop: Path, catalog: CatalogConfig):
    with pytest.raises(ConfigError, match=r"catalog\.split=test is for evaluation; train on catalog\.split=train"):
        training_queries(replace(catalog, split="test"), split_shop, None)
