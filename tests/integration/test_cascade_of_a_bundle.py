"""A bundle with a student in front of its cross-encoder: both stored, proven, and asked."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from indexing.errors import FingerprintMismatch
from rerank.folder import FUSION_FILE
from retrieval.config import RuntimeConfig
from shortlist.building.job import build
from shortlist.bundle import open_bundle
from shortlist.engine import SearchEngine
from shortlist.loading import load_generation


@pytest.fixture(scope="module")
def bundle(shop, build_config, tiny_cross_encoder_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cascade")
    student = shutil.copytree(tiny_cross_encoder_folder, folder / "student")
    (student / FUSION_FILE).write_text(json.dumps({"weight": 0.5}))
    tensors = load_file(student / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(1)
    save_file(tensors, student / "model.safetensors", metadata={"format": "pt"})
    chosen = build_config("reranker=cross_encoder", "reranker.model=x", "reranker.weight=0.5", "reranker.passes=12")
    chosen.reranker.model, chosen.reranker.student = str(tiny_cross_encoder_folder), str(student)
    build(chosen, source=shop, out=folder / "bundle")
    return folder / "bundle"


def test_a_bundle_stores_both_models_and_asks_both(bundle):
    with SearchEngine.open(bundle, device="cpu", threads=1) as engine:
        found = engine.search("red mouse", k=12, depth=30)
        assert found.reranked == (12, 12)
        assert all({"student", "rerank"} <= hit.stages.keys() for hit in found.hits)
        assert all(hit.stages["student"] == pytest.approx(hit.stages["rerank"] + 1, abs=1e-4) for hit in found.hits)
        assert engine.search("red mouse", k=12, depth=30, deadline_ms=60_000).hits == found.hits
        manifest = engine.bundle.manifest
        assert (manifest.reranker["student"], manifest.reranker["passes"]) == ("student", 12)
        assert manifest.reranker_fingerprint["student_weights"] != manifest.reranker_fingerprint["weights"]
        assert "student/model.safetensors" in manifest.files


def test_a_generation_beside_it_shares_both_and_another_student_is_refused(bundle):
    runtime = RuntimeConfig(device="cpu", threads=1)
    opened = open_bundle(bundle)
    one = load_generation(opened, runtime=runtime, probing=False)
    other = load_generation(opened, runtime=runtime, probing=False, beside=one)
    assert (other.reranker, other.student) == (one.reranker, one.student)
    assert other.student.cost.lane is other.cost.lane
    assert load_generation(opened, runtime=runtime, probing=False, reranking=False).student is None
    opened.manifest.reranker_fingerprint["student_weights"] = "another"
    with pytest.raises(FingerprintMismatch, match="student_weights"):
        load_generation(opened, runtime=runtime, probing=False)
