"""Index files: they come back as they went, and whatever was done to them in between is noticed."""

import errno
import json
import os

import numpy as np
import pytest

from indexing import build_index, open_index, storage
from indexing.config import FlatConfig, HnswConfig, IvfPqConfig, IvfSq8Config
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactIncompatible,
    ArtifactNotFound,
    ArtifactUntrusted,
    StorageFull,
)
from indexing.storage import FileSystem
from indexing.vectors import ArrayVectors

KINDS = {"flat": FlatConfig(), "hnsw": HnswConfig(), "ivf_sq8": IvfSq8Config(), "ivf_pq": IvfPqConfig()}


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


VECTORS = ArrayVectors(np.concatenate([unit_rows(300, 16), unit_rows(300, 16)[:20]]))


@pytest.fixture(params=KINDS)
def written(request, tmp_path):
    """An index on disk, and its answers before it was written."""
    folder = tmp_path / "a=b, c" / "index"
    index = build_index(KINDS[request.param], VECTORS)
    digests = index.write(folder)
    return folder, digests, index.search(unit_rows(9, 16, seed=1), 30)


def test_an_opened_index_answers_as_the_one_that_was_built(written):
    folder, digests, expected = written
    assert digests == {name: storage.digest(folder / name) for name in ("faiss.index", "distinct.i64", "index.json")}
    found = open_index(folder, VECTORS).search(unit_rows(9, 16, seed=1), 30)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)


def test_the_ties_may_be_ordered_anew_at_open(written):
    folder, _, _ = written
    falling = np.arange(320)[::-1].copy()
    found = open_index(folder, VECTORS, tie_rank=falling).search(VECTORS.matrix[:1], 2)
    assert found.rows.tolist() == [[300, 0]]


@pytest.mark.parametrize("name", ["faiss.index", "distinct.i64"])
def test_a_flipped_bit_is_noticed_wherever_it_is(written, name):
    folder, _, _ = written
    content = (folder / name).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 10):
        broken = bytearray(content)
        broken[place] ^= 1
        (folder / name).write_bytes(broken)
        with pytest.raises(
            ArtifactCorrupt, match=rf"expected FileDigest\(.*\) of .*{name}, found .*build the index again"
        ):
            open_index(folder, VECTORS)


@pytest.mark.parametrize("name", ["faiss.index", "distinct.i64"])
@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b + b"x"])
def test_a_shortened_or_lengthened_file_is_noticed(written, name, change):
    folder, _, _ = written
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(ArtifactCorrupt, match=name):
        open_index(folder, VECTORS)


def test_even_unverified_a_truncated_index_is_an_error_and_not_a_crash(written):
    folder, _, _ = written
    content = (folder / "faiss.index").read_bytes()
    (folder / "faiss.index").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactCorrupt, match=r"FAISS cannot read .*faiss\.index: .*; build the index again"):
        open_index(folder, VECTORS, verify=False)


@pytest.mark.parametrize("name", ["faiss.index", "distinct.i64", "index.json"])
def test_a_missing_file_is_not_found(written, name):
    folder, _, _ = written
    (folder / name).unlink()
    with pytest.raises(ArtifactNotFound, match=rf"there is no file .*{name}"):
        open_index(folder, VECTORS)


def test_other_vectors_are_noticed(written):
    folder, _, _ = written
    changed = VECTORS.matrix.copy()
    changed[[5, 6]] = changed[[6, 5]]
    with pytest.raises(ArtifactCorrupt, match=r"the index in .* was built from vectors of SHA-256 \w+, got others"):
        open_index(folder, ArrayVectors(changed))
    with pytest.raises(ArtifactCorrupt, match="is about 320 vectors of dimension 16, got 300 of 16"):
        open_index(folder, ArrayVectors(VECTORS.matrix[:300]))


def rewrite(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_format_is_incompatible(written):
    folder, _, _ = written
    rewrite(folder, format=2)
    with pytest.raises(ArtifactIncompatible, match=r"index\.json has format 2, this release reads 1"):
        open_index(folder, VECTORS)
    (folder / "index.json").write_text("[]")
    with pytest.raises(ArtifactIncompatible, match="has format None"):
        open_index(folder, VECTORS)


@pytest.mark.parametrize(
    "changes", [{"kind": "ivf_disk"}, {"parameters": {"probes": 3}}, {"parameters": []}, {"files": {}}]
)
def test_a_record_that_makes_no_sense_is_corrupt(written, changes):
    folder, _, _ = written
    rewrite(folder, **changes)
    with pytest.raises(ArtifactCorrupt, match=r"index\.json is not complete: .*; build the index again"):
        open_index(folder, VECTORS)


def test_a_file_of_another_kind_is_untrusted_even_if_the_digest_says_otherwise(written):
    folder, _, _ = written
    content = (folder / "faiss.index").read_bytes()
    (folder / "faiss.index").write_bytes(b"IxPT" + content[4:])
    with pytest.raises(ArtifactUntrusted, match=r"expected the FAISS type \w+ in .*, found b'IxPT'"):
        open_index(folder, VECTORS, verify=False)


def test_lists_that_lie_in_another_file_are_untrusted_and_faiss_never_sees_them(tmp_path, monkeypatch):
    import faiss

    folder = tmp_path / "index"
    build_index(IvfSq8Config(), VECTORS).write(folder)
    index = faiss.read_index(str(folder / "faiss.index"))
    elsewhere = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(tmp_path / "elsewhere"))
    elsewhere.merge_from_1(index.invlists)
    index.replace_invlists(elsewhere, False)
    faiss.write_index(index, str(folder / "faiss.index"))
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("FAISS was given the file"))
    with pytest.raises(ArtifactUntrusted, match=r"expected the FAISS type ilar in .*, found b'ilod'"):
        open_index(folder, VECTORS, verify=False)


@pytest.mark.parametrize("numbers", [[0] * 320, [-1] + [0] * 319, [*range(299), 300, *range(20), 299]])
def test_numbers_that_do_not_fit_the_record_are_corrupt(written, numbers):
    folder, _, _ = written
    (folder / "distinct.i64").write_bytes(np.array(numbers[:320], "<i8").tobytes())
    with pytest.raises(ArtifactCorrupt, match=r"distinct\.i64 does not number 300 vectors; build it again"):
        open_index(folder, VECTORS, verify=False)


def test_writing_never_overwrites(written):
    folder, _, _ = written
    from indexing.errors import StorageError

    with pytest.raises(StorageError, match=r"could not create .*faiss\.index: File exists"):
        build_index(FlatConfig(), VECTORS).write(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_an_error_and_leaves_no_half_index(kind, tmp_path):
    class SmallDisk(FileSystem):
        room = 1500

        def write(self, descriptor, content):
            if self.room == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken = super().write(descriptor, content[: self.room])
            self.room -= taken
            return taken

    index = build_index(KINDS[kind], VECTORS)
    with (
        storage.using(SmallDisk()),
        pytest.raises(StorageFull, match=r"could not write .*faiss\.index: No space left on device; free some space"),
    ):
        index.write(tmp_path / "index")
    assert list((tmp_path / "index").iterdir()) == []


def test_importing_the_package_or_an_error_does_not_load_faiss():
    import subprocess
    import sys

    probe = "import sys, indexing, indexing.errors, indexing.storage; print('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout == "False\n"


def test_every_public_name_can_be_imported_and_others_cannot():
    import indexing

    assert len(indexing.__all__) == 10
    for name in indexing.__all__:
        assert getattr(indexing, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'indexing' has no attribute 'Index'"):
        _ = indexing.Index
