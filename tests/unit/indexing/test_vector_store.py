"""The vector store: append-only, found by key, read in any order, and honest about what lies on disk."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound, VectorError
from indexing.storage import FileSystem
from indexing.vectors import VectorStore


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_keys(count, seed=0):
    return [key.tobytes() for key in np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)]


@pytest.fixture
def filled(tmp_path):
    """A store of three segments with 5, 1 and 14 vectors."""
    keys, vectors = make_keys(20), unit_rows(20, 8)
    store = VectorStore.open(tmp_path / "a=b, c", dim=8, create=True)
    for first, last in ((0, 5), (5, 6), (6, 20)):
        assert store.append(keys[first:last], vectors[first:last]).tolist() == list(range(first, last))
    return store, keys, vectors


def test_what_was_appended_is_found_after_reopening(filled, tmp_path):
    _, keys, vectors = filled
    store = VectorStore.open(tmp_path / "a=b, c", dim=8)
    assert (store.count, store.dim) == (20, 8)
    assert [(s.name, s.first_row, s.count) for s in store.segments] == [
        ("segment-000000", 0, 5),
        ("segment-000001", 5, 1),
        ("segment-000002", 6, 14),
    ]
    order = [7, 19, 0, 5, 4, 7]
    assert store.find([keys[n] for n in order]).tolist() == order
    assert np.array_equal(store.view(np.array(order)).take(np.arange(6)), vectors[order])
    store.verify()


def test_the_files_are_raw_little_endian_and_described_beside(filled, tmp_path):
    _, keys, vectors = filled
    folder = tmp_path / "a=b, c"
    assert (folder / "segment-000000.f32").read_bytes() == vectors[:5].astype("<f4").tobytes()
    assert (folder / "segment-000000.keys").read_bytes() == b"".join(keys[:5])
    described = json.loads((folder / "segment-000000.json").read_text())
    assert (described["format"], described["count"], described["dim"]) == (1, 5, 8)
    assert described["vectors"]["size_bytes"] == 5 * 8 * 4
    assert sorted(path.suffix for path in folder.iterdir()) == [".f32"] * 3 + [".json"] * 3 + [".keys"] * 3


def test_unknown_keys_are_not_found_even_when_they_nearly_match(filled):
    store, keys, _ = filled
    near = keys[3][:15] + bytes([keys[3][15] ^ 1])
    zeros_differ = [b"a" + bytes(15), b"a" * 16]
    assert store.find([near, bytes(16), b"\xff" * 16, keys[3], *zeros_differ]).tolist() == [-1, -1, -1, 3, -1, -1]
    assert store.find([]).tolist() == []


def test_an_empty_store_finds_nothing_and_views_nothing(tmp_path):
    store = VectorStore.open(tmp_path / "new", dim=4, create=True)
    assert (store.count, store.segments) == (0, ())
    assert store.find([b"a" * 16]).tolist() == [-1]
    assert store.append([], np.empty((0, 4), np.float32)).tolist() == []
    assert list((tmp_path / "new").iterdir()) == []
    view = store.view(np.empty(0, np.int64))
    assert (view.count, list(view.blocks(10))) == (0, [])


def test_blocks_follow_the_order_of_the_view_across_segments(filled):
    store, _, vectors = filled
    rows = np.array([3, 4, 5, 6, 7, 19, 0, 1, 2])
    blocks = list(store.view(rows).blocks(4))
    assert [first for first, _ in blocks] == [0, 4, 8]
    assert np.array_equal(np.concatenate([block for _, block in blocks]), vectors[rows])


def test_a_contiguous_run_is_read_without_a_copy(filled):
    store, _, vectors = filled
    (_, first), (_, second) = store.view(np.arange(7, 15)).blocks(4)
    for block, expected in ((first, vectors[7:11]), (second, vectors[11:15])):
        assert np.array_equal(block, expected)
        assert not block.flags.owndata
        assert not block.flags.writeable


def test_a_run_in_falling_order_or_with_repeats_is_not_taken_for_contiguous(filled):
    store, _, vectors = filled
    for rows in ([9, 8, 7], [7, 7, 7], [7, 9, 8]):
        ((_, block),) = store.view(np.array(rows)).blocks(3)
        assert np.array_equal(block, vectors[rows])


def test_a_view_does_not_change_when_the_store_grows(filled):
    store, _, vectors = filled
    view = store.view(np.arange(20))
    store.append(make_keys(3, seed=9), unit_rows(3, 8, seed=9))
    assert view.count == 20
    assert np.array_equal(view.take(np.arange(20)), vectors)


@pytest.mark.parametrize("row", [-1, 20])
def test_a_view_of_a_row_that_is_not_stored_is_refused(filled, row):
    store, _, _ = filled
    with pytest.raises(
        ValueError, match=rf"1 of 2 rows are not in the store of 20 .* the first is row {row} at place 1"
    ):
        store.view(np.array([3, row]))


def test_keys_that_are_stored_already_or_come_twice_are_refused(filled):
    store, keys, _ = filled
    fresh = make_keys(2, seed=5)
    with pytest.raises(ValueError, match=f"1 of 2 keys are stored already; the first is {keys[2].hex()}"):
        store.append([fresh[0], keys[2]], unit_rows(2, 8))
    with pytest.raises(ValueError, match=f"1 of 3 keys come twice; the first is {fresh[0].hex()}"):
        store.append([fresh[0], fresh[1], fresh[0]], unit_rows(3, 8))
    assert store.count == 20


def test_keys_and_vectors_are_checked_before_anything_is_written(tmp_path):
    store = VectorStore.open(tmp_path, dim=8, create=True)
    with pytest.raises(ValueError, match=r"expected keys of 16 bytes, got lengths \[3, 16\]"):
        store.append([b"abc", b"a" * 16], unit_rows(2, 8))
    with pytest.raises(ValueError, match="expected one key per vector, got 1 keys and 2 vectors"):
        store.append([b"a" * 16], unit_rows(2, 8))
    with pytest.raises(VectorError, match="row 1 is not finite"):
        store.append(make_keys(2), np.array([[1] + [0] * 7, [np.nan] * 8], np.float32))
    with pytest.raises(VectorError, match="expected vectors of dimension 8, got 4"):
        store.append(make_keys(2), unit_rows(2, 4))
    assert list(tmp_path.iterdir()) == []


def test_a_segment_without_its_json_does_not_exist_and_is_overwritten(filled, tmp_path):
    _, keys, vectors = filled
    folder = tmp_path / "a=b, c"
    (folder / "segment-000002.json").unlink()
    (folder / "segment-000002.f32").write_bytes(b"half")
    store = VectorStore.open(folder, dim=8)
    assert store.count == 6
    assert store.append(keys[10:], vectors[10:]).tolist() == list(range(6, 16))
    store = VectorStore.open(folder, dim=8)
    store.verify()
    assert store.find(keys).tolist() == [*range(6), -1, -1, -1, -1, *range(6, 16)]


def test_a_gap_between_segments_is_corrupt(filled, tmp_path):
    (tmp_path / "a=b, c" / "segment-000001.json").unlink()
    with pytest.raises(
        ArtifactCorrupt, match=r"expected segment-000001\.json in .*, the next one is segment-000002\.json"
    ):
        VectorStore.open(tmp_path / "a=b, c", dim=8)


def test_a_missing_store_is_not_found_unless_it_may_be_made(tmp_path):
    with pytest.raises(ArtifactNotFound, match=r"there is no folder .*gone"):
        VectorStore.open(tmp_path / "gone", dim=8)


def test_another_dimension_or_format_is_incompatible(filled, tmp_path):
    folder = tmp_path / "a=b, c"
    with pytest.raises(ArtifactIncompatible, match=r"segment-000000\.json has dim 8, expected 384"):
        VectorStore.open(folder, dim=384)
    described = json.loads((folder / "segment-000000.json").read_text())
    (folder / "segment-000000.json").write_text(json.dumps({**described, "format": 2}))
    with pytest.raises(ArtifactIncompatible, match=r"segment-000000\.json has format 2, this release reads 1"):
        VectorStore.open(folder, dim=8)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1}'])
def test_a_description_that_lacks_something_is_corrupt(filled, tmp_path, content):
    (tmp_path / "a=b, c" / "segment-000001.json").write_text(content)
    with pytest.raises(
        ArtifactCorrupt, match=r"expected format, count, dim, vectors and keys in .*segment-000001\.json"
    ):
        VectorStore.open(tmp_path / "a=b, c", dim=8)


def test_a_description_with_an_unreadable_value_is_corrupt(filled, tmp_path):
    path = tmp_path / "a=b, c" / "segment-000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "count": "many"}))
    with pytest.raises(ArtifactCorrupt, match=r"segment-000001\.json has no count, size or digest that can be read"):
        VectorStore.open(tmp_path / "a=b, c", dim=8)


def test_truncated_vectors_are_noticed_at_open(filled, tmp_path):
    path = tmp_path / "a=b, c" / "segment-000002.f32"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt, match=re.escape("expected 448 bytes (float32 [14, 8]) in ")):
        VectorStore.open(tmp_path / "a=b, c", dim=8)


def test_truncated_keys_are_noticed_when_they_are_read(filled, tmp_path):
    path = tmp_path / "a=b, c" / "segment-000002.keys"
    path.write_bytes(path.read_bytes()[:-1])
    store = VectorStore.open(tmp_path / "a=b, c", dim=8)
    for _ in range(2):  # the second time as well: nothing half read may say that a stored text is new
        with pytest.raises(ArtifactCorrupt, match=r"expected 224 bytes .* in .*segment-000002\.keys, found 223"):
            store.find([b"a" * 16])


@pytest.mark.parametrize("suffix", [".f32", ".keys"])
def test_a_flipped_bit_is_found_by_verify(filled, tmp_path, suffix):
    path = tmp_path / "a=b, c" / f"segment-000001{suffix}"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    store = VectorStore.open(tmp_path / "a=b, c", dim=8)
    with pytest.raises(ArtifactCorrupt, match=rf"expected .*sha256.* of .*segment-000001\{suffix}, found"):
        store.verify()


def test_many_keys_are_found_at_once_in_many_segments(tmp_path):
    keys, vectors = make_keys(5000), unit_rows(5000, 2)
    store = VectorStore.open(tmp_path, dim=2, create=True)
    for first in range(0, 5000, 500):
        store.append(keys[first : first + 500], vectors[first : first + 500])
    shuffled = np.random.default_rng(1).permutation(5000)
    for opened in (store, VectorStore.open(tmp_path, dim=2)):
        assert np.array_equal(opened.find([keys[n] for n in shuffled]), shuffled)


def test_the_description_gets_its_name_only_when_everything_it_describes_is_durable(tmp_path):
    class Recorder(FileSystem):
        def __init__(self):
            self.calls, self.names = [], {}

        def open(self, path, flags):
            descriptor = super().open(path, flags)
            self.names[descriptor] = path.suffix or "folder"
            return descriptor

        def fsync(self, descriptor):
            self.calls.append(f"fsync {self.names[descriptor]}")
            super().fsync(descriptor)

        def rename(self, source, target):
            self.calls.append(f"rename {target.suffix}")
            super().rename(source, target)

    store = VectorStore.open(tmp_path / "store", dim=8, create=True)
    with storage.using(Recorder()) as recorder:
        store.append(make_keys(3), unit_rows(3, 8))
    syncs = ["fsync .f32", "fsync .keys", "fsync folder", "fsync .tmp"]
    assert recorder.calls == [*syncs, "rename .json", "fsync folder"]


def test_rows_of_many_segments_are_gathered_in_any_order_as_from_one_array(tmp_path):
    rng = np.random.default_rng(5)
    keys, vectors = make_keys(300), unit_rows(300, 12)
    store = VectorStore.open(tmp_path / "store", dim=12, create=True)
    cuts = [0, *np.sort(rng.choice(np.arange(1, 300), 30, replace=False)).tolist(), 300]
    for first, last in pairwise(cuts):
        store.append(keys[first:last], vectors[first:last])
    order = rng.permutation(300)
    view = store.view(order)
    del store  # a view keeps what it reads
    for rows in (np.arange(300), rng.integers(0, 300, 1_000), np.array([299, 0, 299]), np.empty(0, np.int64)):
        assert np.array_equal(view.take(rows), vectors[order][rows])


def test_what_was_gathered_is_a_copy_that_may_be_changed(filled):
    store, _, vectors = filled
    view = store.view(np.arange(20))
    view.take(np.array([3, 7]))[:] = 0
    assert np.array_equal(view.take(np.array([3, 7])), vectors[[3, 7]])
