"""Files that were written once and are opened by every later release: the same products, scores within 1e-5.

tools/regen_golden.py wrote them. They are never written again; a new format gets new folders beside these.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from indexing.faiss_index import open_index
from indexing.vectors import ArrayVectors
from shortlist import SearchEngine, probe
from shortlist.bundle import live_version
from shortlist.jobs.verify import verify
from shortlist.schemas import GROUPS
from tools.regen_golden import KINDS, LATER_KINDS, answers, main

HERE = Path(__file__).resolve().parent
BUNDLE = HERE / "bundle_v1"
MANIFEST_SHA256 = "8b3a458bf2bb1fd66aeed861fafb2c0579582bc3b2140daf089c45cf7128e081"
"""Of the bundle as it was committed: whoever writes it anew breaks the promise and finds this test."""


def test_the_bundle_is_the_one_that_was_committed():
    version, digest = live_version(BUNDLE)
    assert digest == MANIFEST_SHA256
    manifest = (BUNDLE / "versions" / version / "MANIFEST.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == digest
    assert json.loads(manifest)["format"] == 1


@pytest.fixture(scope="module")
def engine():
    with SearchEngine.open(BUNDLE, device="cpu", threads=1) as opened:
        yield opened


def test_a_bundle_of_format_1_gives_its_answers_of_then(engine: SearchEngine):
    then = json.loads((HERE / "bundle_v1.json").read_text(encoding="utf-8"))
    now = json.loads(json.dumps(answers(engine)))
    assert now.keys() == then.keys()
    for name, expected in then.items():
        if isinstance(expected, list):
            assert [hit["product_id"] for hit in now[name]] == [hit["product_id"] for hit in expected], name
            for hit, was in zip(now[name], expected, strict=True):
                assert hit["title"] == was["title"]
                assert hit["score"] == pytest.approx(was["score"], abs=1e-5), (name, was["product_id"])
                assert hit["stages"] == pytest.approx(was["stages"], abs=1e-5), (name, was["product_id"])
        else:
            assert now[name] == expected, name


def test_what_was_upserted_is_found_and_what_was_deleted_is_not(engine: SearchEngine):
    found = {hit.product_id for hit in engine.search("wireless steel lamp", k=12).hits}
    assert "g99" in found
    assert "g03" not in found


def test_a_bundle_of_format_1_is_whole_and_loads_in_a_child(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_passed", set())
    report = verify(BUNDLE, full=True)
    assert report.error is None, report.text()
    assert len(report.checks) == 8


def test_opening_leaves_a_bundle_as_it_was(engine: SearchEngine):
    names = {path.relative_to(BUNDLE).parts[0] for path in BUNDLE.rglob("*")}
    assert names == {"CURRENT", "JOURNAL", "vectors", "versions"}


FOLDERS = [("indexes_v1", kind) for kind in KINDS]
FOLDERS += [(f"indexes_v1_{name}", kind) for name, kinds in LATER_KINDS.items() for kind in kinds]


@pytest.mark.parametrize(("folder", "kind"), FOLDERS)
def test_an_index_of_format_1_finds_what_it_found_then(folder: str, kind: str):
    indexes = HERE / folder
    vectors = np.fromfile(indexes / "vectors.f32", dtype="<f4").reshape(-1, 8)
    queries = np.fromfile(indexes / "queries.f32", dtype="<f4").reshape(-1, 8)
    then = json.loads((indexes / "found.json").read_bytes())[kind]
    found = open_index(indexes / kind, ArrayVectors(vectors)).search(queries, 10)
    assert found.rows.tolist() == then["rows"]
    np.testing.assert_allclose(found.scores, then["scores"], atol=1e-5)


def test_what_was_written_once_is_not_written_again(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([])
    assert "bundle_v1 exists, and what was written once is kept" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--kinds", "codes"])
    assert "indexes_v1_codes exists, and what was written once is kept" in capsys.readouterr().err


def test_every_kind_of_index_has_a_file_that_is_kept():
    kept = {json.loads(path.read_bytes())["kind"] for path in HERE.glob("indexes_v1*/*/index.json")}
    assert kept == set(GROUPS["index"]) - {"auto"}
