"""``shortlist tune``: a curve, a point, and a version that has it. Builds use a stub encoder."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexing.config import FlatConfig, HnswSq8Config, IndexConfig
from indexing.storage import digest
from retrieval.config import RuntimeConfig
from shortlist import SearchEngine
from shortlist.building.compact import compact
from shortlist.building.job import build
from shortlist.bundle import list_versions, open_bundle
from shortlist.config import CompactConfig
from shortlist.jobs.verify import verify
from tools.reliability.harness.shop import StubEncoder, build_config, stub_encoder, write_model, write_shop

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def encoders() -> Iterator[list[StubEncoder]]:
    with stub_encoder() as opened:
        yield opened


@pytest.fixture
def build_with(tmp_path: Path) -> Callable[[IndexConfig], Path]:
    model, source = write_model(tmp_path / "model"), write_shop(tmp_path / "shop", products=400)

    def build_with(index: IndexConfig) -> Path:
        config = build_config(model, segment_texts=100)
        config.index = index
        build(config, source=source, out=tmp_path / "out")
        return tmp_path / "out"

    return build_with


@pytest.fixture
def root(build_with: Callable[[IndexConfig], Path]) -> Path:
    return build_with(HnswSq8Config(links=4, ef_construction=8, ef_search=3, recall_target=0.0, recall_k=10))


ASKED = ("runtime.threads=1", "index.recall_k=10", "index.recall_target=.9")


def test_a_tuned_version_is_published_with_the_files_of_the_one_before(root: Path, run: Run, tmp_path: Path):
    before = open_bundle(root)
    queries, plot = tmp_path / "queries.txt", tmp_path / "curve.svg"
    queries.write_text("red mouse\nblue sofa\n\nwireless lamp\n", encoding="utf-8")
    code, out, err = run("tune", "--bundle", root, "--queries", queries, "--plot", plot, *ASKED)
    assert code == 0, err
    after = open_bundle(root)
    assert after.manifest.version in out
    assert "3 queries (--queries), recall@10 of at least 0.9" in out
    assert "it was ef_search=3 refine_factor=1" in out
    changed = {name for name, made in after.manifest.files.items() if before.manifest.files.get(name) != made}
    assert changed == {"index/index.json", "canary.json"}
    for name in after.manifest.files.keys() - changed:
        assert (after.folder / name).stat().st_ino == (before.folder / name).stat().st_ino, name
    chosen = after.manifest.index["tuning"]["chosen"]
    record = json.loads((after.folder / "index" / "index.json").read_bytes())
    assert {name: record["parameters"][name] for name in chosen["parameters"]} == chosen["parameters"]
    assert chosen["recall"] >= 0.9
    assert after.manifest.index["recall"] == {
        "k": 10, "value": chosen["recall"], "queries": 3, "queries_from": "--queries",
    }  # fmt: skip
    ET.parse(plot)
    assert plot.read_text(encoding="utf-8").count('class="mark"') == len(after.manifest.index["tuning"]["points"])


def test_what_was_published_is_whole_answers_and_can_be_gone_back_from(root: Path, run: Run):
    before = open_bundle(root).manifest.version
    assert run("tune", "--bundle", root, *ASKED)[0] == 0
    report = verify(root, full=True)
    assert report.error is None, report.text()
    with SearchEngine.open(root, device="cpu", threads=1) as engine:
        assert len(engine.search("red mouse", k=10).hits) == 10
    assert run("rollback", "--bundle", root)[0] == 0
    assert next(version for version in list_versions(root) if version.live).version == before


def test_the_choice_outlives_a_compaction(root: Path, run: Run):
    assert run("tune", "--bundle", root, *ASKED)[0] == 0
    tuned = open_bundle(root).manifest.index
    assert run("delete", "p003", "--bundle", root)[0] == 0
    compact(CompactConfig(runtime=RuntimeConfig(device="cpu", threads=1)), root=root)
    compacted = open_bundle(root).manifest.index["config"]
    chosen = tuned["tuning"]["chosen"]["parameters"]
    assert {name: compacted[name] for name in chosen} == chosen


def test_a_dry_run_measures_and_publishes_nothing(root: Path, run: Run):
    current = digest(root / "CURRENT")
    code, out, _ = run("tune", "--bundle", root, "--dry-run", "--json", *ASKED)
    assert code == 0
    document = json.loads(out)
    assert document["version"] == ""
    assert document["tuning"]["chosen"]["recall"] >= 0.9
    assert {"parameters", "recall", "scans", "cost_us", "latency_us"} == document["tuning"]["points"][0].keys()
    assert digest(root / "CURRENT") == current
    assert len(list_versions(root)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "expected a query a line in .*, found none"), (b"\xff\xfe", "expected a query a line in UTF-8 in .*")],
)
def test_a_file_without_queries_is_refused(root: Path, run: Run, tmp_path: Path, content: bytes, message: str):
    (tmp_path / "queries").write_bytes(content)
    code, _, err = run("tune", "--bundle", root, "--queries", tmp_path / "queries", *ASKED)
    assert code == 3
    assert re.search(message, err)


def test_an_exact_index_has_nothing_to_tune(build_with: Callable[[IndexConfig], Path], run: Run):
    code, _, err = run("tune", "--bundle", build_with(FlatConfig()), *ASKED)
    assert code == 2
    assert "the index is of kind flat, which is exact and has nothing to tune" in err


def test_a_target_out_of_reach_fails_and_leaves_the_bundle_as_it_was(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("indexing.tuning._BEAMS", (1.0,))
    monkeypatch.setattr("indexing.tuning._REFINES", (1.0,))
    current = digest(root / "CURRENT")
    code, _, err = run("tune", "--bundle", root, "runtime.threads=1", "index.recall_k=30", "index.recall_target=1")
    assert code == 5
    assert "no search parameters of hnsw_sq8 reach recall@30 of 1.0: the best of" in err
    assert digest(root / "CURRENT") == current


def test_a_build_chooses_how_wide_an_index_is_searched_where_nobody_did(build_with: Callable[[IndexConfig], Path]):
    root = build_with(HnswSq8Config(links=8, recall_k=10, recall_target=0.9))
    index = open_bundle(root).manifest.index
    record = json.loads((open_bundle(root).folder / "index" / "index.json").read_bytes())
    assert index["tuning"]["chosen"]["parameters"]["ef_search"] == record["parameters"]["ef_search"]
    assert index["recall"]["value"] == index["tuning"]["chosen"]["recall"]
    assert index["config"]["ef_search"] == 0
    asked = build_with(HnswSq8Config(links=8, recall_k=10, recall_target=0.9, ef_search=77))
    assert "tuning" not in open_bundle(asked).manifest.index
