"""A bundle whose cross-encoder brings trees: built, opened, answered by, and refused when they were altered."""

import json
import shutil

import pytest

from indexing.errors import ArtifactError
from rerank.corrected import TREES_FILE, Corrected, write_trees
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.folder import FUSION_FILE
from rerank.trees import LEAF, read_trees
from shortlist.building.job import build
from shortlist.engine import SearchEngine

STUMP = {"feature": [FEATURES.index("title_words"), LEAF, LEAF], "threshold": [0.9, 0, 0], "left": [1, 1, 2]}
STUMP |= {"right": [2, 1, 2], "value": [0.0, -1.0, 9.0]}


@pytest.fixture(scope="module")
def bundle(shop, build_config, tiny_cross_encoder_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    cross = shutil.copytree(tiny_cross_encoder_folder, folder / "cross")
    (cross / FUSION_FILE).write_text(json.dumps({"weight": 0.0}))
    write_trees(cross, Corrected(Convex(0.0), read_trees([STUMP], features=len(FEATURES))), {})
    chosen = build_config("reranker=cross_encoder", "reranker.model=x")
    chosen.reranker.model = str(cross)
    build(chosen, source=shop, out=folder / "bundle")
    return folder / "bundle"


def test_a_bundle_answers_by_its_trees_and_names_them_in_its_fingerprint(bundle, tiny_products):
    with SearchEngine.open(bundle, device="cpu", threads=1) as engine:
        wanted = tiny_products[7]
        found = engine.search(wanted.title, k=3, depth=60)
        assert wanted.product_id in {hit.product_id for hit in found.hits}
        assert found.hits[0].score > 5
        assert found.reranked == (60, 60)
        fingerprint = engine.bundle.manifest.reranker_fingerprint
        assert fingerprint["final_weight"].startswith("0 and trees ")
        assert f"reranker/{TREES_FILE}" in engine.bundle.manifest.files
        assert engine.explain(wanted.title, wanted.product_id, depth=60).parts["trees.title_words"] == 9


def test_trees_that_were_altered_are_refused_before_a_query_meets_them(bundle, tmp_path):
    root = shutil.copytree(bundle, tmp_path / "bundle")
    (path,) = root.glob(f"versions/*/reranker/{TREES_FILE}")
    found = json.loads(path.read_text())
    found["trees"][0]["value"][2] = 8.0
    path.unlink()
    path.write_text(json.dumps(found))
    with pytest.raises(ArtifactError, match=TREES_FILE):
        SearchEngine.open(root, device="cpu", threads=1)
