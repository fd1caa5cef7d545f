"""A bundle built with ``runtime.precision=auto``, from its report to its canary."""

import json
from pathlib import Path

import pytest

from indexing.errors import FingerprintMismatch
from retrieval.config import Precision
from retrieval.runtime import has_bf16, has_int8
from shortlist import SearchEngine
from shortlist.building import precision as module
from shortlist.building.job import build
from shortlist.bundle import open_bundle

pytestmark = pytest.mark.skipif(
    not (has_int8() and has_bf16("cpu")), reason="this processor has no int8 or bfloat16 instructions"
)


@pytest.fixture
def _quality_alone(monkeypatch):
    """Let no clock decide, and let a random network of 32 dimensions lose more than a real one."""
    monkeypatch.setattr(module, "_timed", lambda tower, texts: (tower.encode_products(texts), 1.0))
    monkeypatch.setattr(module, "COSINE", {Precision.int8: 0.9, Precision.bf16: 0.9})
    monkeypatch.setattr(module, "OVERLAP", 0.5)


@pytest.mark.usefixtures("_quality_alone")
def test_auto_is_chosen_told_recorded_and_opened_again(shop: Path, build_config, tmp_path: Path, capsys):
    config = build_config("runtime.precision=auto", "runtime.device=cpu")
    report = build(config, source=shop, out=tmp_path / "bundle")
    assert report.precision["kind"] == "int8"
    assert [trial["precision"] for trial in report.precision["trials"]] == ["fp32", "int8"]
    assert "precision: int8 (on 60 products and 10 queries: cosine to fp32 at least" in capsys.readouterr().err
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.created["precision"] == json.loads(json.dumps(report.precision))
    assert manifest.canary["cosine"] == 0.9
    with SearchEngine.open(tmp_path / "bundle", device="cpu", precision="auto", probe=False) as engine:
        assert engine._generation.tower.precision is Precision.int8
        fast = [hit.product_id for hit in engine.search("red wireless mouse", k=5).hits]
    with SearchEngine.open(
        tmp_path / "bundle", device="cpu", probe=False
    ) as engine:  # queries in fp32, within tolerance
        assert engine._generation.tower.precision is Precision.fp32
        assert len(set(fast) & {hit.product_id for hit in engine.search("red wireless mouse", k=5).hits}) >= 4


@pytest.mark.usefixtures("_quality_alone")
def test_an_interrupted_build_in_int8_goes_on_to_the_same_bytes(shop: Path, build_config, tmp_path: Path):
    config = build_config("runtime.precision=int8", "runtime.device=cpu", "segment_texts=16")
    build(config, source=shop, out=tmp_path / "whole")
    build(config, source=shop, out=tmp_path / "again")
    (one,) = (tmp_path / "whole" / "vectors").iterdir()
    (two,) = (tmp_path / "again" / "vectors").iterdir()
    names = sorted(path.name for path in one.glob("*.f32"))
    assert len(names) == 4
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_int8_queries_over_fp32_products_are_refused_where_the_canary_says_so(shop: Path, build_config, tmp_path: Path):
    build(build_config("canary_cosine=0.999999"), source=shop, out=tmp_path / "bundle")
    with pytest.raises(FingerprintMismatch, match=r"does not reproduce .* at least 0\.999999 expected"):
        SearchEngine.open(tmp_path / "bundle", device="cpu", precision="int8", probe=False)
