"""The n-th system call fails, for every n: a typed error, the old state or the new one, and nothing half-visible."""

import errno
import os

import numpy as np
import pytest

from indexing import storage
from indexing.errors import CommitUncertain, StorageError, StorageFull
from indexing.storage import FileSystem
from indexing.vectors import VectorStore


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk():
    """What is synced when is tested elsewhere; thousands of real syncs would only take time."""
    with storage.using(UnsyncedFileSystem()):
        yield


class UnsyncedFileSystem(FileSystem):
    def fsync(self, descriptor):
        pass


CALLS = [name for name in vars(FileSystem) if not name.startswith("_")]


class FailingFileSystem(UnsyncedFileSystem):
    """Counts calls and lets the ``fail_at``-th fail; ``persistent``: all later ones that need room fail too."""

    def __init__(self, fail_at, number, *, persistent=False):
        self.count, self.fail_at, self.number, self.persistent = 0, fail_at, number, persistent

    def check(self, name):
        self.count += 1
        later = self.persistent and self.count > self.fail_at and name in ("write", "fsync", "mkdir", "link")
        if self.count == self.fail_at or later:
            raise OSError(self.number, os.strerror(self.number))


def _counted(name):
    def call(self, *arguments):
        if name == "close":  # a failing close still closes
            UnsyncedFileSystem.close(self, *arguments)
            return self.check(name)
        self.check(name)
        return getattr(UnsyncedFileSystem, name)(self, *arguments)

    return call


for _name in CALLS:
    setattr(FailingFileSystem, _name, _counted(_name))


def sweep(prepare, act, check, *, number, persistent=False):
    """Let call 1, 2, ... of ``act`` fail until it succeeds; return how many points there were."""
    for fail_at in range(1, 200):
        state, failure = prepare(fail_at), None
        failing = FailingFileSystem(fail_at, number, persistent=persistent)
        with storage.using(failing):
            try:
                act(state)
            except StorageError as error:
                failure = error
        if failing.count < fail_at:
            assert failure is None
            return fail_at - 1
        if failure is not None:
            expected = StorageFull if number in (errno.ENOSPC, errno.EDQUOT) else StorageError
            assert isinstance(failure, expected | CommitUncertain), failure
            assert os.strerror(number) in str(failure)
        check(state, failure)  # no failure: the call was one that does not matter, such as closing a folder
    raise AssertionError("the sweep does not end")


NUMBERS = [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EDQUOT, errno.EROFS]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("persistent", [False, True])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, number, persistent):
    def check(path, error):
        if error is None:
            assert path.read_bytes() == b"content"
        elif path.exists():  # only the removal itself may fail, and only if everything does
            assert persistent

    points = sweep(
        lambda n: tmp_path / str(n),
        lambda path: storage.write_bytes(path, b"content"),
        check,
        number=number,
        persistent=persistent,
    )
    assert points == 5  # open, write, fsync, stat, close


@pytest.mark.parametrize("number", NUMBERS)
def test_a_replaced_file_is_the_old_or_the_new_one_and_leaves_nothing_beside(tmp_path, number):
    def prepare(n):
        storage.make_folder(tmp_path / str(n))
        storage.write_bytes(tmp_path / str(n) / "CURRENT", b"old")
        return tmp_path / str(n) / "CURRENT"

    def check(path, error):
        is_new = error is None or isinstance(error, CommitUncertain)
        assert path.read_bytes() == (b"new" if is_new else b"old")
        assert [entry.name for entry in path.parent.iterdir()] == ["CURRENT"]

    points = sweep(prepare, lambda path: storage.replace_bytes(path, b"new"), check, number=number)
    assert points == 9


@pytest.mark.parametrize("number", NUMBERS)
def test_a_published_folder_is_there_whole_or_not_at_all(tmp_path, number):
    def prepare(n):
        root = tmp_path / str(n)
        storage.make_folder(root / "staging" / "index")
        storage.write_bytes(root / "staging" / "index" / "x", b"content")
        return root

    def check(root, error):
        if error is None or isinstance(error, CommitUncertain):
            assert (root / "final" / "index" / "x").read_bytes() == b"content"
        else:
            assert not (root / "final").exists()
            assert (root / "staging" / "index" / "x").exists()

    points = sweep(prepare, lambda root: storage.publish_folder(root / "staging", root / "final"), check, number=number)
    assert points > 10


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("persistent", [False, True])
def test_a_segment_is_appended_whole_or_not_at_all_and_the_next_append_works(tmp_path, number, persistent):
    keys = [bytes([n]) * 16 for n in range(3)]
    vectors = np.eye(3, 4, dtype=np.float32)

    def prepare(n):
        VectorStore.open(tmp_path / str(n), dim=4, create=True).append(keys[:1], vectors[:1])
        return tmp_path / str(n)

    def append_rest(folder):
        store = VectorStore.open(folder, dim=4)
        assert store.append(keys[1:], vectors[1:]).tolist() == [1, 2]

    def check(folder, error):
        store = VectorStore.open(folder, dim=4)
        store.verify()
        if store.count == 1:  # not added: then adding it again must work
            assert store.find(keys).tolist() == [0, -1, -1]
            store.append(keys[1:], vectors[1:])
        assert store.find(keys).tolist() == [0, 1, 2]
        assert np.array_equal(store.view(np.arange(3)).take(np.arange(3)), vectors)
        VectorStore.open(folder, dim=4).verify()

    points = sweep(prepare, append_rest, check, number=number, persistent=persistent)
    assert points > 30


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("removable", [True, False])
def test_an_append_whose_last_sync_failed_is_taken_back_or_never_overwritten(tmp_path, number, removable):
    class FailsAfterRename(FileSystem):
        renamed = False

        def rename(self, source, target):
            super().rename(source, target)
            self.renamed = True

        def fsync(self, descriptor):
            if self.renamed:
                raise OSError(number, os.strerror(number))
            super().fsync(descriptor)

        def unlink(self, path):
            if self.renamed and not removable:
                raise OSError(number, os.strerror(number))
            super().unlink(path)

    store = VectorStore.open(tmp_path, dim=4, create=True)
    vectors = np.eye(2, 4, dtype=np.float32)
    expected = StorageError if removable else CommitUncertain
    message = r"segment-000000 was not added to " if removable else r"segment-000000\.json is in place, but whether"
    with storage.using(FailsAfterRename()), pytest.raises(expected, match=message):
        store.append([b"a" * 16], vectors[:1])
    if removable:
        assert store.append([b"b" * 16], vectors[1:]).tolist() == [0]
    else:
        with pytest.raises(StorageError, match=r"segment-000000 appeared in .* meanwhile: another process appends"):
            store.append([b"b" * 16], vectors[1:])
    found = VectorStore.open(tmp_path, dim=4).find([b"a" * 16, b"b" * 16]).tolist()
    assert found == ([-1, 0] if removable else [0, -1])
