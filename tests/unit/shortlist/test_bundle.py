import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactIncompatible,
    ArtifactNotFound,
    ArtifactUntrusted,
    StorageError,
)
from indexing.vectors import VectorStore
from shortlist.building.vectors import used_segments
from shortlist.bundle import list_versions, live_version, open_bundle, publish, verify_files
from shortlist.manifest import FORMAT, Manifest, store_name

VERSION = "2026-11-22T131200Z-9f3c1a"
FINGERPRINT = {"weights": "none"}
STORE = store_name(FINGERPRINT)
CANARY = {"file": "canary.json", "cosine": 0.999, "overlap": 1.0, "spread": 0.25}
NEXT = "2026-11-22T131300Z-000001"


def make_version(root: Path, version: str, *, content: bytes = b"rows of " + bytes(range(40))) -> Manifest:
    """Publish a version of two small files over a store of one segment of three vectors."""
    store = VectorStore.open(root / STORE, dim=4, create=True)
    if not store.segments:
        store.append([bytes([i]) * 16 for i in range(3)], np.eye(4, dtype=np.float32)[:3])
    staging = root / ".staging"
    storage.make_folder(staging / "index")
    files = {
        "rows": storage.write_bytes(staging / "rows", content),
        "canary.json": storage.write_json(staging / "canary.json", {}),
        "index/index.json": storage.write_json(staging / "index" / "index.json", {"kind": "flat"}),
    }
    manifest = Manifest(
        format=FORMAT,
        version=version,
        created={"at": "2026", "by": "a test", "seconds": {}},
        catalogue={"name": "toy", "accepted": 3, "rows": 3, "quarantined": 0, "sources": {}, "problems": {}},
        journal_seq=0,
        text={"kind": "text"},
        tokens={},
        encoder=None,
        fingerprint=FINGERPRINT,
        vectors={
            "store": STORE,
            "dim": 4,
            "segments": [asdict(segment) for segment in used_segments(store, np.arange(3))],
        },
        index={"kind": "flat", "config": {"kind": "flat"}},
        lexical={"kind": "bm25"},
        fusion={"kind": "rrf"},
        reranker={"kind": "none"},
        reranker_fingerprint={},
        canary=CANARY,
        files=files,
    )
    publish(root, staging, manifest)
    return manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "a shop, with = in it"
    storage.make_folder(folder)
    make_version(folder, VERSION)
    return folder


def test_a_published_version_opens_and_equals_what_was_published(root: Path):
    bundle = open_bundle(root)
    assert bundle.manifest == make_manifest_again(bundle.manifest)
    assert (bundle.folder / "rows").read_bytes().startswith(b"rows of ")
    assert live_version(root)[0] == VERSION


def make_manifest_again(manifest: Manifest) -> Manifest:
    from shortlist.manifest import parse_manifest

    return parse_manifest(json.loads(json.dumps(manifest.to_json())), where="memory")


def test_a_new_version_is_published_beside_the_old_one(root: Path):
    make_version(root, NEXT, content=b"other rows")
    assert open_bundle(root).manifest.version == NEXT
    assert [(v.version, v.live, v.products) for v in list_versions(root)] == [(NEXT, True, 3), (VERSION, False, 3)]


def test_a_version_is_never_published_twice_and_the_live_one_stays(root: Path):
    with pytest.raises(StorageError):
        make_version(root, VERSION, content=b"other rows")
    assert (open_bundle(root).folder / "rows").read_bytes().startswith(b"rows of ")


def every_file(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def test_every_flipped_byte_of_every_file_is_refused(root: Path):
    refused = flips = 0
    for path in every_file(root):
        original = path.read_bytes()
        for position in range(len(original)):
            flips += 1
            path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
            with pytest.raises(ArtifactError):
                open_bundle(root)
            refused += 1
        path.write_bytes(original)
    assert refused == flips > 1900
    verify_files(open_bundle(root))


def test_every_truncation_of_every_file_is_refused(root: Path):
    for path in every_file(root):
        original = path.read_bytes()
        for length in range(len(original)):
            path.write_bytes(original[:length])
            with pytest.raises(ArtifactError):
                open_bundle(root)
        path.write_bytes(original)


def test_an_altered_file_is_named_with_both_digests(root: Path):
    path = open_bundle(root).folder / "rows"
    path.write_bytes(b"rows of " + bytes(40))
    with pytest.raises(ArtifactCorrupt, match=r"rows was altered: SHA-256 is [0-9a-f]{16}\.\.\., the manifest says"):
        open_bundle(root)


def test_a_truncated_file_is_named_with_both_sizes(root: Path):
    path = open_bundle(root).folder / "rows"
    path.write_bytes(b"rows")
    with pytest.raises(ArtifactCorrupt, match="rows has 4 bytes, the manifest says 48"):
        open_bundle(root)


def test_a_missing_file_is_named(root: Path):
    (open_bundle(root).folder / "rows").unlink()
    with pytest.raises(ArtifactCorrupt, match="rows is missing"):
        open_bundle(root)


def test_an_added_file_is_refused(root: Path):
    (open_bundle(root).folder / "extra.pkl").write_bytes(b"x")
    with pytest.raises(ArtifactUntrusted, match=r"extra\.pkl is not in MANIFEST"):
        open_bundle(root)


def test_a_file_replaced_by_a_link_is_refused(root: Path, tmp_path: Path):
    path = open_bundle(root).folder / "rows"
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(path, elsewhere)
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(ArtifactCorrupt, match="not a plain file"):
        open_bundle(root)


def rewrite_manifest(root: Path, change: dict[str, Any]) -> None:
    """Alter the manifest and make CURRENT fit, as an attacker who can write both would."""
    version, _ = live_version(root)
    path = root / "versions" / version / "MANIFEST.json"
    values = json.loads(path.read_text()) | change
    digest = storage.replace_json(path, values)
    storage.replace_json(root / "CURRENT", {"manifest_sha256": digest.sha256, "version": version})


def test_another_format_version_is_refused_with_both_numbers(root: Path):
    rewrite_manifest(root, {"format": 99})
    with pytest.raises(ArtifactIncompatible, match=f"has format 99, this release reads {FORMAT}"):
        open_bundle(root)


def test_an_unknown_field_is_refused(root: Path):
    rewrite_manifest(root, {"_target_": "os.system"})
    with pytest.raises(ArtifactUntrusted, match=r"unknown fields \['_target_'\]"):
        open_bundle(root)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "a/../b", ".hidden", "a\\b", "", "x" * 200])
def test_a_file_name_that_could_leave_the_bundle_is_refused(root: Path, name: str):
    rewrite_manifest(root, {"files": {name: {"size_bytes": 1, "sha256": "0" * 64}}})
    with pytest.raises(ArtifactUntrusted, match="names must be relative"):
        open_bundle(root)


@pytest.mark.parametrize("name", ["weights.bin", "encoder/run.py", "encoder/pytorch_model.bin", "tools/config.json"])
def test_a_file_that_no_build_writes_is_refused_though_it_is_listed(root: Path, name: str):
    rewrite_manifest(root, {"files": {name: {"size_bytes": 1, "sha256": "0" * 64}}})
    with pytest.raises(ArtifactUntrusted, match=f"lists the file '{name}', which no build of this release writes"):
        open_bundle(root)


@pytest.mark.parametrize(
    "digest", [{"size_bytes": -1, "sha256": "0" * 64}, {"size_bytes": True, "sha256": "0" * 64},
               {"size_bytes": 1, "sha256": "0" * 63}, {"size_bytes": 1}, {"size_bytes": 2**80, "sha256": "0" * 64}, 7]
)  # fmt: skip
def test_a_digest_that_is_none_is_refused(root: Path, digest: object):
    rewrite_manifest(root, {"files": {"rows": digest}})
    with pytest.raises(ArtifactCorrupt):
        open_bundle(root)


def test_a_manifest_with_a_key_that_comes_twice_is_refused(root: Path):
    version, _ = live_version(root)
    path = root / "versions" / version / "MANIFEST.json"
    digest = storage.replace_bytes(path, path.read_bytes().replace(b"{", b'{"format": 1,', 1))
    storage.replace_json(root / "CURRENT", {"manifest_sha256": digest.sha256, "version": version})
    with pytest.raises(ArtifactCorrupt, match="the key 'format' comes twice"):
        open_bundle(root)


def test_a_current_of_a_megabyte_is_refused_before_it_is_read(root: Path):
    (root / "CURRENT").write_bytes(b" " * 2**20)
    with pytest.raises(ArtifactCorrupt, match=r"expected at most 4096 bytes in .*CURRENT, found 1048576"):
        open_bundle(root)


def test_a_version_that_cannot_be_read_is_listed_with_its_problem(root: Path):
    make_version(root, NEXT, content=b"other rows")
    (root / "versions" / VERSION / "MANIFEST.json").write_bytes(b"{")
    live, other = list_versions(root)
    assert (live.version, live.live, live.products, live.problem) == (NEXT, True, 3, "")
    assert (other.version, other.live) == (VERSION, False)
    assert "do not parse" in other.problem


def test_a_version_needs_only_the_segments_it_lists(root: Path):
    torn = root / STORE / "segment-000001.json"
    torn.write_bytes(b'{"format"')
    vectors = open_bundle(root).open_vectors()
    np.testing.assert_array_equal(vectors.view(np.arange(3)).take(np.arange(3)), np.eye(4, dtype=np.float32)[:3])


def test_a_version_name_that_no_build_writes_is_refused(root: Path):
    _, digest = live_version(root)
    storage.replace_json(root / "CURRENT", {"manifest_sha256": digest, "version": "../elsewhere"})
    with pytest.raises(ArtifactUntrusted, match=r"names version '\.\./elsewhere', which no build writes"):
        open_bundle(root)


def test_a_manifest_of_another_version_is_refused(root: Path):
    rewrite_manifest(root, {"version": NEXT})
    with pytest.raises(ArtifactUntrusted, match=f"is of version {NEXT}, but lies in {VERSION}"):
        open_bundle(root)


def test_a_directory_without_a_bundle_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ArtifactNotFound, match=r"no bundle at .*CURRENT is missing.*shortlist build --out"):
        open_bundle(tmp_path)


def test_a_path_that_does_not_exist_says_so(tmp_path: Path):
    with pytest.raises(ArtifactNotFound, match="the directory does not exist"):
        open_bundle(tmp_path / "nowhere")


def test_the_folder_of_a_version_points_to_its_bundle(root: Path):
    with pytest.raises(ArtifactNotFound, match="it lies in the bundle"):
        open_bundle(root / "versions" / VERSION)


def test_a_manifest_record_and_its_json_are_inverse(root: Path):
    manifest = open_bundle(root).manifest
    assert make_manifest_again(replace(manifest, version=NEXT)).version == NEXT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, "text must be an object, got NoneType"),
        ({"vectors": {"store": STORE, "dim": "x", "segments": []}}, r"vectors\.dim must be of type int, got 'x'"),
        ({"vectors": {"store": STORE, "dim": 4, "segments": []}}, "expected those of a store from its first on"),
        ({"vectors": {"store": "vectors/other", "dim": 4, "segments": []}}, "takes its vectors from 'vectors/other'"),
        ({"fingerprint": {"weights": "others"}}, "its fingerprint names"),
        ({"canary": CANARY | {"file": "../../x"}}, "has a canary among its files, canary.json, got '../../x'"),
        ({"canary": CANARY | {"file": ""}}, "has a canary among its files, canary.json, got ''"),
        ({"canary": {}}, r"canary\.file must be of type str, got None"),
        ({"canary": CANARY | {"cosine": 0.0}}, r"canary\.cosine must be in \(0, 1\], got 0\.0"),
        ({"canary": CANARY | {"overlap": 0.4}}, r"canary\.overlap must be in \[0\.5, 1\], got 0\.4"),
        ({"canary": CANARY | {"spread": -1.0}}, r"canary\.spread must be in \[0, 10\], got -1\.0"),
        ({"reranker_fingerprint": []}, "reranker_fingerprint must be an object, got list"),
        ({"version": 7}, "version a string"),
        ({"files": []}, "files must be an object"),
    ],
)
def test_a_manifest_of_another_shape_is_refused_with_the_field(root: Path, change: dict[str, Any], message: str):
    rewrite_manifest(root, change)
    with pytest.raises(ArtifactError, match=message):
        open_bundle(root)
