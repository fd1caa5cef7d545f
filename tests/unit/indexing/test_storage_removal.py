"""Removing folders whole, clearing away what killed writers left, and setting damaged segments aside."""

import os
import stat

import numpy as np
import pytest

from indexing import storage
from indexing.errors import ArtifactCorrupt, CommitUncertain, StorageError
from indexing.segments import mend
from indexing.storage import FileSystem
from indexing.vectors import VectorStore


class Recorder(FileSystem):
    """Notes syncs of folders, renames and removals in order."""

    def __init__(self):
        self.calls, self.names = [], {}

    def open(self, path, flags):
        descriptor = super().open(path, flags)
        self.names[descriptor] = path.name
        return descriptor

    def fsync(self, descriptor):
        self.calls.append(("fsync", self.names[descriptor]))
        super().fsync(descriptor)

    def rename(self, source, target):
        self.calls.append(("rename", target.name))
        super().rename(source, target)

    def unlink(self, path):
        self.calls.append(("unlink", path.name))
        super().unlink(path)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_renamed_and_the_rename_synced_before_its_first_file_goes(tmp_path):
    storage.make_folder(tmp_path / "versions" / "1")
    storage.write_bytes(tmp_path / "versions" / "1" / "rows", b"x")
    with storage.using(Recorder()) as recorder:
        storage.retire_folder(tmp_path / "versions" / "1")
    assert recorder.calls == [("rename", ".1.removed"), ("fsync", "versions"), ("unlink", "rows")]
    assert list((tmp_path / "versions").iterdir()) == []


def test_a_folder_whose_removal_could_not_be_made_durable_keeps_its_files(tmp_path):
    storage.make_folder(tmp_path / "versions" / "1")
    storage.write_bytes(tmp_path / "versions" / "1" / "rows", b"x")

    class FailsToSync(FileSystem):
        def fsync(self, descriptor):
            raise OSError(5, "Input/output error")

    with storage.using(FailsToSync()), pytest.raises(StorageError, match=r"could not sync .*Input/output error"):
        storage.retire_folder(tmp_path / "versions" / "1")
    assert (tmp_path / "versions" / ".1.removed" / "rows").read_bytes() == b"x"


def test_only_what_killed_writers_leave_is_cleared_away(tmp_path):
    kept = ["CURRENT", ".hidden", ".CURRENT.tmp", "x.7-0123abcd.tmp", "1.removed"]
    for name in [*kept, ".CURRENT.7-0123abcd.tmp"]:
        storage.write_bytes(tmp_path / name, b"x")
    storage.make_folder(tmp_path / ".1.removed" / "index")
    storage.write_bytes(tmp_path / ".1.removed" / "index" / "x", b"x")
    storage.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    storage.remove_leftovers(tmp_path / "nowhere")


def test_leftovers_are_what_a_killed_replacement_leaves(tmp_path):
    class Killed(BaseException):
        pass

    class KillsBeforeRename(FileSystem):
        def rename(self, source, target):
            raise Killed

    with storage.using(KillsBeforeRename()), pytest.raises(Killed):
        storage.replace_bytes(tmp_path / "CURRENT", b"x")
    assert len(list(tmp_path.iterdir())) == 1
    storage.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_synced_again_because_its_maker_may_have_been_killed(tmp_path):
    storage.make_folder(tmp_path / "out")
    with storage.using(Recorder()) as recorder:
        storage.make_folder(tmp_path / "out")
        storage.write_bytes(tmp_path / "out" / "x", b"")
        recorder.calls.clear()
        storage.make_folder(tmp_path / "out")
        assert recorder.calls == []
    (tmp_path / "out" / "x").unlink()
    with storage.using(Recorder()) as recorder:
        storage.make_folder(tmp_path / "out")
    assert recorder.calls == [("fsync", tmp_path.name)]


def test_an_empty_folder_in_a_folder_that_may_not_be_read_is_taken_as_it_is(tmp_path):
    class NotAllowed(FileSystem):
        def open(self, path, flags):
            raise PermissionError(13, "Permission denied")

    (tmp_path / "mounted").mkdir()
    with storage.using(NotAllowed()):
        storage.make_folder(tmp_path / "mounted")
    assert not any((tmp_path / "mounted").iterdir())


def test_a_folder_whose_name_could_not_be_synced_is_not_there_for_the_next_one_to_trust(tmp_path):
    class FailsToSync(FileSystem):
        def fsync(self, descriptor):
            raise OSError(5, "Input/output error")

    with storage.using(FailsToSync()), pytest.raises(StorageError, match="could not sync"):
        storage.make_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("umask", "before", "after"),
    [(0o022, 0o600, 0o644), (0o077, 0o600, 0o600), (0o027, 0o600, 0o640), (0o022, 0o755, 0o755)],
)
def test_an_adopted_file_can_be_read_by_whom_its_folder_can(tmp_path, umask, before, after):
    old = os.umask(umask)
    try:
        storage.make_folder(tmp_path / "version" / "encoder")
    finally:
        os.umask(old)
    path = tmp_path / "version" / "encoder" / "model.safetensors"
    path.write_bytes(b"weights")
    path.chmod(before)
    storage.adopt_folder(tmp_path / "version")
    assert stat.S_IMODE(path.stat().st_mode) == after


def test_a_rename_that_reports_failure_but_was_done_is_uncertain(tmp_path):
    class Lies(FileSystem):
        def rename(self, source, target):
            super().rename(source, target)
            raise OSError(5, "Input/output error")

    storage.write_bytes(tmp_path / "CURRENT", b"old")
    message = r"CURRENT may have been replaced: could not rename .*Input/output error.*; read it to find out"
    with storage.using(Lies()), pytest.raises(CommitUncertain, match=message):
        storage.replace_bytes(tmp_path / "CURRENT", b"new")
    assert (tmp_path / "CURRENT").read_bytes() == b"new"


# --- segments ---------------------------------------------------------------------------------------------------------


def keys(first, count):
    return [bytes([first + number]) * 16 for number in range(count)]


@pytest.fixture
def store(tmp_path):
    opened = VectorStore.open(tmp_path / "vectors" / "0123", dim=4, create=True)
    for segment in range(3):
        opened.append(keys(10 * segment, 2), np.eye(4, dtype=np.float32)[:2])
    return opened


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_whole_store_is_left_as_it_is(store):
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    assert mend(store.folder, dim=4) is None
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


@pytest.mark.parametrize("suffix", [".f32", ".keys", ".json"])
@pytest.mark.parametrize("how", [damage, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_segment_goes_with_those_after_it_and_those_before_it_stay(store, suffix, how):
    how(store.folder / f"segment-000001{suffix}")
    aside = mend(store.folder, dim=4)
    assert aside is not None
    assert "segment-000001" in aside.problem
    assert aside.folder.name.startswith("0123.damaged-")
    assert (aside.folder / "segment-000002.f32").is_file()
    opened = VectorStore.open(store.folder, dim=4)
    opened.verify()
    assert opened.find([*keys(0, 2), *keys(10, 2), *keys(20, 2)]).tolist() == [0, 1, -1, -1, -1, -1]
    opened.append(keys(10, 2), np.eye(4, dtype=np.float32)[:2])
    assert mend(store.folder, dim=4) is None


def test_a_store_is_one_at_every_moment_while_segments_are_set_aside(store):
    damage(store.folder / "segment-000001.f32")
    counts = []

    class Looks(FileSystem):
        def rename(self, source, target):
            super().rename(source, target)
            with storage.using(FileSystem()):
                counts.append(len(VectorStore.open(store.folder, dim=4).segments))

    with storage.using(Looks()):
        mend(store.folder, dim=4)
    assert counts == [2, 2, 2, 1, 1, 1]


def test_mending_clears_away_what_a_killed_append_left(store):
    storage.write_bytes(store.folder / ".segment-000003.json.7-0123abcd.tmp", b"{")
    mend(store.folder, dim=4)
    assert len(list(store.folder.iterdir())) == 9


def test_a_gap_in_the_numbers_is_corrupt_and_mended_to_what_comes_before_it(store):
    (store.folder / "segment-000001.json").unlink()
    with pytest.raises(ArtifactCorrupt, match=r"expected segment-000001\.json in .*, the next one is segment-000002"):
        VectorStore.open(store.folder, dim=4)
    assert mend(store.folder, dim=4) is not None
    assert VectorStore.open(store.folder, dim=4).count == 2
