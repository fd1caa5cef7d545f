"""Holding a file: many at once or one alone, given back by whoever ends, however it ends."""

import errno
import gc
import os
import signal
import subprocess
import sys

import pytest

from indexing import storage
from indexing.errors import ArtifactNotFound, ArtifactUntrusted, StorageError
from indexing.storage import FileSystem

READER = """
import sys, time
from pathlib import Path
from indexing import storage
held = storage.hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    storage.write_bytes(tmp_path / "MANIFEST.json", b"{}")
    return tmp_path / "MANIFEST.json"


def test_many_hold_a_file_but_nobody_alone_beside_them(path):
    with storage.hold(path), storage.hold(path):
        assert storage.hold(path, alone=True) is None
    with storage.hold(path, alone=True):
        assert storage.hold(path) is None
        assert storage.hold(path, alone=True) is None
    assert storage.hold(path) is not None


@pytest.fixture
def reader(path):
    """Return a process that holds the file."""
    with subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_counts_and_when_it_is_killed_its_hold_is_gone(path, reader):
    assert storage.hold(path, alone=True) is None
    os.kill(reader.pid, signal.SIGKILL)
    reader.wait()
    assert storage.hold(path, alone=True) is not None


def test_a_hold_that_nobody_refers_to_is_given_back(path):
    held = storage.hold(path)
    assert held is not None
    held.close()
    held.close()
    other = storage.hold(path)
    assert storage.hold(path, alone=True) is None
    del other
    gc.collect()
    assert storage.hold(path, alone=True) is not None


def test_a_file_that_is_only_readable_can_be_held(path):
    path.chmod(0o444)
    with storage.hold(path):
        assert storage.hold(path, alone=True) is None


def test_a_forked_child_that_ends_does_not_give_back_what_its_parent_holds(path):
    code = """
import os, sys
from pathlib import Path
from indexing import storage
path = Path(sys.argv[1])
held = storage.hold(path)
child = os.fork()
if child == 0:
    held.close()
    os._exit(0)
os.waitpid(child, 0)
print(storage.hold(path, alone=True) is None)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"


@pytest.mark.parametrize("alone", [False, True])
def test_a_file_that_was_moved_away_between_opening_and_locking_is_not_held(path, alone):
    class MovesAway(FileSystem):
        def lock(self, descriptor):
            path.rename(path.with_name("removed"))
            super().lock(descriptor)

        lock_shared = lock

    with storage.using(MovesAway()):
        assert storage.hold(path, alone=alone) is None
    with pytest.raises(ArtifactNotFound, match=r"there is no file .*MANIFEST\.json"):
        storage.hold(path, alone=alone)


def test_a_file_that_was_replaced_meanwhile_is_not_held(path):
    class Replaces(FileSystem):
        def lock_shared(self, descriptor):
            super().lock_shared(descriptor)
            storage.replace_bytes(path, b"another")

    with storage.using(Replaces()):
        assert storage.hold(path) is None


def test_without_locks_everybody_may_read_and_nobody_may_remove(path):
    class NoLocks(FileSystem):
        def lock(self, descriptor):
            raise OSError(errno.ENOLCK, "No locks available")

        lock_shared = lock

    with storage.using(NoLocks()):
        assert storage.hold(path) is not None
        assert storage.hold(path, alone=True) is None


def test_any_other_trouble_is_an_error_and_closes_the_file(path):
    class Broken(FileSystem):
        closed = 0

        def lock_shared(self, descriptor):
            raise OSError(errno.EIO, "Input/output error")

        def close(self, descriptor):
            self.closed += 1
            super().close(descriptor)

    with storage.using(Broken()) as broken, pytest.raises(StorageError, match=r"could not lock .*Input/output error"):
        storage.hold(path)
    assert broken.closed == 1


def test_a_pipe_cannot_be_held(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactUntrusted, match=r"expected a regular file at .*pipe"):
        storage.hold(tmp_path / "pipe")
