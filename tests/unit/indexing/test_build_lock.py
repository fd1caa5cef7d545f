"""One builder at a time: the second is told who is first, and a dead one is no obstacle."""

import json
import os
import signal
import subprocess
import sys

import pytest

from indexing import storage
from indexing.errors import BuildLocked

HOLDER = """
import sys, time
from pathlib import Path
from indexing import storage
with storage.exclusive_lock(Path(sys.argv[1]), purpose="build icecat"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    path = tmp_path / "a=b, c" / "LOCK"
    path.parent.mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process, path
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_builder_is_told_who_holds_the_lock(holder):
    process, path = holder
    message = rf"LOCK is held by pid {process.pid} on \S+ since \d{{4}}-\S+\+00:00 \(build icecat\); wait for it"
    with pytest.raises(BuildLocked, match=message), storage.exclusive_lock(path, purpose="build again"):
        pass


def test_a_holder_that_was_killed_is_no_obstacle(holder):
    process, path = holder
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with storage.exclusive_lock(path, purpose="build again"):
        assert json.loads(path.read_bytes())["purpose"] == "build again"


def test_the_lock_is_free_again_after_the_block_even_when_it_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"), storage.exclusive_lock(tmp_path / "LOCK", purpose="build"):
            raise RuntimeError("boom")
    assert (tmp_path / "LOCK").read_bytes() == b""


def test_the_same_process_cannot_take_it_twice(tmp_path):
    with (
        storage.exclusive_lock(tmp_path / "LOCK", purpose="first"),
        pytest.raises(BuildLocked, match=rf"pid {os.getpid()} .*\(first\)"),
        storage.exclusive_lock(tmp_path / "LOCK", purpose="second"),
    ):
        pass


def test_a_holder_without_a_readable_note_is_another_process(tmp_path):
    with storage.exclusive_lock(tmp_path / "LOCK", purpose="first"):
        (tmp_path / "LOCK").write_bytes(b"[1]")
        with (
            pytest.raises(BuildLocked, match="is held by another process"),
            storage.exclusive_lock(tmp_path / "LOCK", purpose="second"),
        ):
            pass


def test_a_note_left_by_a_killed_holder_is_not_taken_for_the_present_one(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with storage.exclusive_lock(tmp_path / "LOCK", purpose="first"):
        note = json.loads((tmp_path / "LOCK").read_bytes())
        (tmp_path / "LOCK").write_text(json.dumps({**note, "pid": dead.pid}))
        with (
            pytest.raises(BuildLocked, match="is held by another process"),
            storage.exclusive_lock(tmp_path / "LOCK", purpose="second"),
        ):
            pass


def test_a_note_is_written_whole_by_a_file_system_that_takes_little_at_a_time(tmp_path):
    class Stingy(storage.FileSystem):
        def write(self, descriptor, content):
            return super().write(descriptor, content[:3])

    with storage.using(Stingy()), storage.exclusive_lock(tmp_path / "LOCK", purpose="build"):
        assert json.loads((tmp_path / "LOCK").read_bytes())["pid"] == os.getpid()


def test_a_child_that_inherited_the_lock_does_not_keep_it(tmp_path):
    with storage.exclusive_lock(tmp_path / "LOCK", purpose="build"):
        child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    try:
        with storage.exclusive_lock(tmp_path / "LOCK", purpose="build again"):
            assert json.loads((tmp_path / "LOCK").read_bytes())["purpose"] == "build again"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
