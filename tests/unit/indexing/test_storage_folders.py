"""Folders: made, published once, removed whole; and a disk without room is noticed before the work."""

import os

import pytest

from indexing import storage
from indexing.errors import ArtifactNotFound, ArtifactUntrusted, CommitUncertain, StorageError, StorageFull
from indexing.storage import FileSystem


def test_a_folder_is_made_with_those_above_it_and_may_exist(tmp_path):
    storage.make_folder(tmp_path / "a=b" / "c, d" / "e")
    storage.make_folder(tmp_path / "a=b" / "c, d" / "e")
    assert (tmp_path / "a=b" / "c, d" / "e").is_dir()


def test_a_folder_that_is_a_link_to_one_counts_as_made(tmp_path):
    (tmp_path / "other disk").mkdir()
    (tmp_path / "artifacts").symlink_to(tmp_path / "other disk")
    storage.make_folder(tmp_path / "artifacts" / "icecat")
    assert (tmp_path / "other disk" / "icecat").is_dir()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(StorageError, match=r"could not create .*out: File exists"):
        storage.make_folder(tmp_path / "out")


def test_listing_is_sorted_and_a_missing_folder_is_not_found(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / name).write_bytes(b"")
    assert storage.list_folder(tmp_path) == ["a", "b", "c"]
    with pytest.raises(ArtifactNotFound, match=r"there is no folder .*gone"):
        storage.list_folder(tmp_path / "gone")


def test_removing_takes_everything_below_but_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_bytes(b"x")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "kept")
    storage.remove_folder(tmp_path / "out")
    storage.remove_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "kept" / "file").exists()


def test_adopting_a_folder_names_every_file_below_it(tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "empty.txt").write_bytes(b"")
    digests = storage.adopt_folder(tmp_path)
    assert list(digests) == ["1_Pooling/config.json", "empty.txt", "model.safetensors"]
    assert digests["model.safetensors"] == storage.digest(tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_adopting_refuses_what_is_neither_folder_nor_file(tmp_path, kind):
    if kind == "link":
        (tmp_path / "odd").symlink_to("/etc/passwd")
    else:
        os.mkfifo(tmp_path / "odd")
    with pytest.raises(ArtifactUntrusted, match=r"found something else at .*odd"):
        storage.adopt_folder(tmp_path)


def test_publishing_moves_the_whole_folder_at_once(tmp_path):
    storage.make_folder(tmp_path / "staging" / "index")
    storage.write_bytes(tmp_path / "staging" / "index" / "faiss.index", b"x")
    storage.publish_folder(tmp_path / "staging", tmp_path / "final")
    assert (tmp_path / "final" / "index" / "faiss.index").read_bytes() == b"x"
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize("taken_by", ["folder", "file", "dangling link"])
def test_publishing_never_replaces_anything(tmp_path, taken_by):
    storage.make_folder(tmp_path / "staging")
    storage.write_bytes(tmp_path / "staging" / "x", b"x")
    if taken_by == "folder":
        (tmp_path / "final").mkdir()
    elif taken_by == "file":
        (tmp_path / "final").write_bytes(b"")
    else:
        (tmp_path / "final").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"could not publish .*final: it exists already"):
        storage.publish_folder(tmp_path / "staging", tmp_path / "final")
    assert (tmp_path / "staging" / "x").exists()


def test_every_folder_is_synced_before_the_rename_and_the_parent_after(tmp_path):
    class Recorder(FileSystem):
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

    parent = tmp_path / "versions"
    storage.make_folder(parent / "staging" / "index")
    with storage.using(Recorder()) as recorder:
        storage.write_bytes(parent / "staging" / "index" / "file", b"x")
        storage.publish_folder(parent / "staging", parent / "final")
    assert recorder.calls == [
        ("fsync", "file"),
        ("fsync", "index"),
        ("fsync", "staging"),
        ("rename", "final"),
        ("fsync", "versions"),
    ]


@pytest.mark.parametrize("operation", ["publish", "replace"])
def test_a_failing_sync_after_the_rename_says_that_the_commit_is_uncertain(tmp_path, operation):
    class FailsAfterRename(FileSystem):
        renamed = False

        def rename(self, source, target):
            super().rename(source, target)
            self.renamed = True

        def fsync(self, descriptor):
            if self.renamed:
                raise OSError(5, "Input/output error")
            super().fsync(descriptor)

    commits = {
        "publish": lambda: storage.publish_folder(tmp_path / "staging", tmp_path / "final"),
        "replace": lambda: storage.replace_bytes(tmp_path / "final", b"x"),
    }
    storage.make_folder(tmp_path / "staging")
    message = r"final is in place, .*not known: .*Input/output error"
    with storage.using(FailsAfterRename()), pytest.raises(CommitUncertain, match=message):
        commits[operation]()
    assert (tmp_path / "final").exists()


def test_room_is_measured_where_the_folder_will_be(tmp_path):
    class SmallDisk(FileSystem):
        def free_bytes(self, folder):
            assert folder == tmp_path
            return 3 * 2**20

    with storage.using(SmallDisk()):
        storage.require_space(tmp_path / "not" / "yet", 3 * 2**20)
        with pytest.raises(StorageFull, match=r"4\.0 MiB are needed in .*yet, its device has 3\.0 MiB left"):
            storage.require_space(tmp_path / "not" / "yet", 4 * 2**20)
