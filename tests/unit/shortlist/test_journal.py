"""The journal on disk: what comes back, what is refused, and what a crash or a failing call leaves."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactIncompatible,
    ArtifactUntrusted,
    BuildLocked,
    CommitUncertain,
    StorageError,
)
from indexing.storage import FileSystem
from retrieval.records import Product
from shortlist.living import journal as journal_module
from shortlist.living.journal import START, Journal, Position
from shortlist.living.records import Change, Checkpoint, Delete, Restore, Upsert

KEY = bytes(range(16))
UPSERT = Upsert(
    tower="a" * 64,
    products=(
        Product(
            "p-1", "Ø mouse", attributes={"size": "4", "colour": "red"}, price=0.1, extra={"stock": 3, "new": True}
        ),
        Product("p-2", "lamp", brand="Acme", extra={"stock": None, "weight": 1e-300}),
    ),
    keys=(KEY, KEY),
    vectors={KEY: np.array([0.6, -0.8, 1e-30], dtype=np.float32)},
)
CHANGES: list[Change] = [UPSERT, Delete(("p-1", "unheard")), Restore(1, ("p-1",)), Delete(("p-2",))]


def append(root: Path, *changes: Change) -> list[Position]:
    """Append changes, each after reading what is there, as every writer does."""
    positions = []
    for change in changes:
        journal = Journal(root)
        with journal.writing("a test") as writer:
            records = journal.read()
            positions.append(writer.append(change, after=records[-1].position if records else START))
    return positions


def files(root: Path) -> list[Path]:
    return sorted(path for path in (root / "JOURNAL").iterdir() if path.name != "LOCK")


# --- what comes back --------------------------------------------------------------------------------------------------


def test_no_journal_says_nothing(tmp_path):
    assert (Journal(tmp_path).read(), Journal(tmp_path).last_seq()) == ([], 0)
    assert not (tmp_path / "JOURNAL").exists()


def test_every_record_comes_back_as_it_was_written(tmp_path):
    positions = append(tmp_path, *CHANGES)
    records = Journal(tmp_path).read()
    assert [record.position for record in records] == positions
    assert [record.position.seq for record in records] == [1, 2, 3, 4]
    assert [record.change for record in records[1:]] == CHANGES[1:]
    first = records[0].change
    assert isinstance(first, Upsert)
    assert (first.tower, first.products, first.keys) == (UPSERT.tower, UPSERT.products, UPSERT.keys)
    assert first.vectors[KEY].tobytes() == UPSERT.vectors[KEY].tobytes()
    assert list(first.products[0].attributes) == ["size", "colour"]  # a template may take the first few


def test_only_what_is_new_is_read_after_a_position(tmp_path):
    positions = append(tmp_path, *CHANGES)
    since = Journal(tmp_path).since(positions[1])
    assert since is not None
    assert [record.change for record in since] == CHANGES[2:]
    assert Journal(tmp_path).since(positions[3]) == []


def test_a_record_is_named_by_its_number_and_digest_and_names_the_one_before(tmp_path):
    append(tmp_path, *CHANGES[1:3])
    first, second = files(tmp_path)
    assert first.name == f"000000000001-{storage.digest(first).sha256[:16]}.json"
    assert json.loads(second.read_bytes())["previous"] == storage.digest(first).sha256
    assert json.loads(first.read_bytes())["previous"] == ""


def test_appending_after_another_record_than_the_last_is_refused(tmp_path):
    positions = append(tmp_path, *CHANGES[1:3])
    with (
        Journal(tmp_path).writing("a test") as writer,
        pytest.raises(ValueError, match="expected to append after record 2, the last one, got 1"),
    ):
        writer.append(CHANGES[1], after=positions[0])


# --- what is refused --------------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_every_record_is_refused_by_its_file(tmp_path):
    append(tmp_path, *CHANGES)
    refused = 0
    for path in files(tmp_path):
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(ArtifactCorrupt, match=f"{path.name} was altered"):
                Journal(tmp_path).read()
            refused += 1
        path.write_bytes(content)
    assert refused > 800
    assert len(Journal(tmp_path).read()) == 4


def test_every_truncation_is_refused(tmp_path):
    append(tmp_path, UPSERT)
    (path,) = files(tmp_path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactCorrupt, match=f"{path.name} was altered"):
            Journal(tmp_path).read()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_record_is_refused(tmp_path, lost):
    append(tmp_path, *CHANGES)
    files(tmp_path)[lost].unlink()
    with pytest.raises(ArtifactCorrupt, match=f"expected record {lost + 1} in .*: records were lost or came twice"):
        Journal(tmp_path).read()


def test_a_lost_last_record_is_refused_by_whoever_has_seen_it(tmp_path):
    positions = append(tmp_path, *CHANGES)
    files(tmp_path)[-1].unlink()
    with pytest.raises(ArtifactCorrupt, match="ends at record 3, but record 4 was there before"):
        Journal(tmp_path).since(positions[-1])


def test_a_record_of_another_journal_is_refused_although_its_own_digest_fits(tmp_path):
    append(tmp_path / "ours", *CHANGES)
    append(tmp_path / "theirs", CHANGES[3], *CHANGES[1:])
    files(tmp_path / "ours")[2].unlink()
    foreign = files(tmp_path / "theirs")[2]
    foreign.rename(tmp_path / "ours" / "JOURNAL" / foreign.name)
    with pytest.raises(ArtifactCorrupt, match=r"000000000003-.* follows a record of SHA-256 .* records were lost or"):
        Journal(tmp_path / "ours").read()


def test_two_records_of_one_number_are_refused(tmp_path):
    append(tmp_path / "ours", *CHANGES)
    append(tmp_path / "theirs", CHANGES[3])
    (extra,) = files(tmp_path / "theirs")
    extra.rename(tmp_path / "ours" / "JOURNAL" / extra.name)
    with pytest.raises(ArtifactCorrupt, match="came twice"):
        Journal(tmp_path / "ours").read()


def test_a_foreign_file_is_refused_and_what_a_killed_writer_left_is_not_read(tmp_path):
    append(tmp_path, *CHANGES)
    (tmp_path / "JOURNAL" / ".000000000005-0123456789abcdef.json.77-aabbccdd.tmp").write_bytes(b'{"half')
    assert len(Journal(tmp_path).read()) == 4
    (tmp_path / "JOURNAL" / "notes.txt").write_text("hello")
    with pytest.raises(ArtifactUntrusted, match=r"notes\.txt is not in a journal as it is written; remove it"):
        Journal(tmp_path).read()


def rewritten(root: Path, values: object) -> None:
    """Put a record in place of the only one, its name made to fit."""
    (path,) = files(root)
    path.unlink()
    content = values if isinstance(values, bytes) else json.dumps(values).encode()
    path.write_bytes(content)
    path.rename(path.with_name(f"{path.name[:12]}-{storage.digest(path).sha256[:16]}.json"))


def upsert_values(**changes: object) -> dict[str, object]:
    product = {"product_id": "p", "title": "t", "key": KEY.hex(), "attributes": []} | changes.pop("product", {})
    values = {"op": "upsert", "tower": "a", "products": [product], "vectors": {KEY.hex(): "AACAPw=="}}
    return {"format": 1, "seq": 1, "previous": "", "at": "", **values, **changes}


def test_what_is_rewritten_in_the_next_test_would_be_read_if_nothing_were_wrong(tmp_path):
    append(tmp_path, CHANGES[1])
    rewritten(tmp_path, upsert_values())
    (record,) = Journal(tmp_path).read()
    assert isinstance(record.change, Upsert)
    assert record.change.vectors[KEY].tolist() == [1.0]


@pytest.mark.parametrize(
    "values",
    [
        b"[1, 2",
        b"[]",
        b'"\xff"',
        upsert_values(format=2),
        upsert_values(seq=2),
        upsert_values(previous=None),
        upsert_values(previous="00"),
        upsert_values(op="become root"),
        upsert_values(op=["upsert"]),
        upsert_values(extra=1),
        upsert_values(vectors={}),
        upsert_values(vectors={KEY.hex(): "AACAPw"}),
        upsert_values(vectors={KEY.hex(): "AACAPwA="}),
        upsert_values(vectors={KEY.hex(): 7}),
        upsert_values(vectors={"00": "AACAPw=="}),
        upsert_values(vectors={KEY.hex(): "AACAPw==", "00" * 16: "AACAPwAAgD8="}),
        upsert_values(vectors=[]),
        upsert_values(products=7),
        upsert_values(products=[7]),
        upsert_values(product={"key": 7}),
        upsert_values(product={"title": " t"}),
        upsert_values(product={"title": ""}),
        upsert_values(product={"product_id": None}),
        upsert_values(product={"price": -1.0}),
        upsert_values(product={"attributes": [["a"]]}),
        upsert_values(product={"attributes": None}),
        upsert_values(product={"extra": {"tags": []}}),
        upsert_values(product={"_target_": "os.system"}),
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "delete", "product_ids": "p"},
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "delete", "product_ids": [7]},
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "delete"},
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "restore", "as_of": True, "product_ids": []},
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "restore", "as_of": -1, "product_ids": []},
        {"format": 1, "seq": 1, "previous": "", "at": "", "op": "checkpoint", "deleted": {"p": 1}},
        {"format": 1, "seq": 1, "previous": "", "at": ""},
    ],
)
def test_a_record_that_no_writer_writes_is_refused_although_its_digest_fits(tmp_path, values):
    append(tmp_path, CHANGES[1])
    rewritten(tmp_path, values)
    with pytest.raises((ArtifactCorrupt, ArtifactIncompatible), match="000000000001-"):
        Journal(tmp_path).read()


# --- folding ----------------------------------------------------------------------------------------------------------


def fold(root: Path, upto: Position, deleted: dict[str, int]) -> None:
    with Journal(root).writing("a test") as writer:
        writer.fold(upto=upto, deleted=deleted)


def test_folded_records_are_replaced_by_what_stands_and_the_chain_goes_on(tmp_path):
    positions = append(tmp_path, *CHANGES)
    fold(tmp_path, positions[1], {"p-1": 2, "unheard": 2})
    assert [path.name[:23] for path in files(tmp_path)][-1] == "checkpoint-000000000002"
    assert len(files(tmp_path)) == 3
    records = Journal(tmp_path).read()
    assert [record.position for record in records] == positions[1:]
    assert records[0].change == Checkpoint({"p-1": 2, "unheard": 2})
    (fifth,) = append(tmp_path, CHANGES[1])
    assert fifth.seq == 5
    assert Journal(tmp_path).since(positions[0]) is None
    since = Journal(tmp_path).since(positions[1])
    assert since is not None
    assert [record.position.seq for record in since] == [3, 4, 5]


def test_folding_again_replaces_the_checkpoint_and_folding_everything_keeps_the_number(tmp_path):
    positions = append(tmp_path, *CHANGES)
    fold(tmp_path, positions[1], {"p-1": 2})
    fold(tmp_path, positions[3], {"p-2": 4})
    fold(tmp_path, positions[1], {"wrong": 1})  # older than what is folded: nothing happens
    assert len(files(tmp_path)) == 1
    assert (Journal(tmp_path).last_seq(), Journal(tmp_path).read()[0].change) == (4, Checkpoint({"p-2": 4}))
    assert append(tmp_path, CHANGES[1])[0].seq == 5


def test_a_flipped_byte_of_a_checkpoint_is_refused(tmp_path):
    positions = append(tmp_path, *CHANGES)
    fold(tmp_path, positions[3], {"p-2": 4})
    (path,) = files(tmp_path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ArtifactCorrupt, match="was altered"):
            Journal(tmp_path).read()


def test_a_lost_checkpoint_is_refused(tmp_path):
    positions = append(tmp_path, *CHANGES)
    fold(tmp_path, positions[1], {})
    files(tmp_path)[-1].unlink()
    with pytest.raises(ArtifactCorrupt, match="expected record 1 in"):
        Journal(tmp_path).read()


# --- failing calls and power cuts -------------------------------------------------------------------------------------


class Unsynced(FileSystem):
    """Real syncs only take time where it is not what is tested."""

    def fsync(self, descriptor: int) -> None:
        pass


class Failing(Unsynced):
    """Lets the ``fail_at``-th call fail; with ``dies``, as if the process had been killed there."""

    def __init__(self, fail_at: int, error: BaseException) -> None:
        self.count, self.fail_at, self.error = 0, fail_at, error

    def check(self) -> None:
        self.count += 1
        dead = isinstance(self.error, KeyboardInterrupt) and self.count > self.fail_at
        if self.count == self.fail_at or dead:
            raise self.error


def _counted(name):
    def call(self, *arguments):
        if name == "close":  # also where it fails, and where the process has died
            Unsynced.close(self, *arguments)
        self.check()
        return getattr(Unsynced, name)(self, *arguments) if name != "close" else None

    return call


for _name in [name for name in vars(FileSystem) if not name.startswith("_")]:
    setattr(Failing, _name, _counted(_name))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EIO, "Input/output error")]
)
def test_whatever_call_fails_a_record_is_there_whole_or_not_at_all_and_the_next_append_works(tmp_path, error):
    for fail_at in range(1, 200):
        root, failure = tmp_path / str(fail_at), None
        append(root, CHANGES[1])
        failing = Failing(fail_at, error)
        with storage.using(failing):
            try:
                append(root, UPSERT)
            except StorageError as raised:
                failure = raised
        count = len(Journal(root).read())
        assert count == (2 if failure is None else count)
        if failure is not None and count == 2:
            assert isinstance(failure, CommitUncertain), f"call {fail_at} failed and left a record: {failure}"
        append(root, CHANGES[3])
        assert len(Journal(root).read()) == count + 1
        if failing.count < fail_at:
            assert fail_at > 25
            return
    raise AssertionError("the sweep does not end")


def test_a_writer_killed_at_any_call_leaves_a_journal_that_reads_and_takes_the_next_record(tmp_path):
    for kill_at in range(1, 200):
        root = tmp_path / str(kill_at)
        append(root, CHANGES[1])
        failing = Failing(kill_at, KeyboardInterrupt())
        finished = True
        with storage.using(failing):
            try:
                append(root, UPSERT)
            except KeyboardInterrupt:
                finished = False
        count = len(Journal(root).read())
        assert count == 2 if finished else count in (1, 2)
        append(root, CHANGES[3])
        assert len(Journal(root).read()) == count + 1
        if finished:
            return
    raise AssertionError("the sweep does not end")


def test_a_folding_killed_at_any_call_changes_nothing_of_what_the_journal_says(tmp_path):
    for kill_at in range(1, 200):
        root = tmp_path / str(kill_at)
        positions = append(root, *CHANGES)
        finished = True
        with storage.using(Failing(kill_at, KeyboardInterrupt())):
            try:
                fold(root, positions[2], {"p-1": 2})
            except KeyboardInterrupt:
                finished = False
        records = Journal(root).read()
        assert records[-1].position == positions[3]
        assert len(records) in (2, 4)
        assert append(root, CHANGES[1])[0].seq == 5
        fold(root, positions[2], {"p-1": 2})
        assert len(files(root)) == 3
        if finished:
            assert kill_at > 20
            return
    raise AssertionError("the sweep does not end")


class PowerCut(FileSystem):
    """Remembers what was synced; `cut` takes away from a folder what was not, as a power cut may.

    A file that was not synced loses its content, a name made after its folder's last sync is gone.
    """

    def __init__(self) -> None:
        self.paths: dict[int, Path] = {}
        self.unsynced: set[Path] = set()
        self.unnamed: set[Path] = set()

    def open(self, path: Path, flags: int) -> int:
        descriptor = super().open(path, flags)
        self.paths[descriptor] = path
        if flags & os.O_EXCL:
            self.unnamed.add(path)
        return descriptor

    def write(self, descriptor: int, content: memoryview) -> int:
        self.unsynced.add(self.paths[descriptor])
        return super().write(descriptor, content)

    def fsync(self, descriptor: int) -> None:
        path = self.paths[descriptor]
        self.unsynced.discard(path)
        self.unnamed = {named for named in self.unnamed if named.parent != path}

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        for paths in (self.unsynced, self.unnamed):
            if source in paths:
                paths.remove(source)
                paths.add(target)
        self.unnamed.add(target)

    def cut(self, folder: Path) -> None:
        for path in folder.iterdir():
            if path in self.unnamed:
                path.unlink()
            elif path in self.unsynced:
                path.write_bytes(b"")


def test_a_record_survives_a_power_cut_right_after_the_call_has_returned(tmp_path):
    disk = PowerCut()
    with storage.using(disk):
        positions = append(tmp_path, *CHANGES)
    disk.cut(tmp_path / "JOURNAL")
    assert [record.position for record in Journal(tmp_path).read()] == positions


def test_a_checkpoint_survives_a_power_cut_that_undoes_or_keeps_the_removals(tmp_path):
    positions = append(tmp_path, *CHANGES)
    kept = {path: path.read_bytes() for path in files(tmp_path)}
    disk = PowerCut()
    with storage.using(disk):
        fold(tmp_path, positions[2], {"p-1": 2})
    disk.cut(tmp_path / "JOURNAL")
    assert [record.position for record in Journal(tmp_path).read()] == positions[2:]
    for path, content in kept.items():
        path.write_bytes(content)
    assert [record.position for record in Journal(tmp_path).read()] == positions[2:]


# --- several at a time ------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from shortlist.living.journal import START, Journal
from shortlist.living.records import Delete

root, name = Path(sys.argv[1]), sys.argv[2]
for number in range(25):
    journal = Journal(root)
    with journal.writing(name) as writer:
        records = journal.read()
        writer.append(Delete((f"{name}-{number}",)), after=records[-1].position if records else START)
"""


def test_writers_of_several_processes_take_turns_and_no_record_is_lost(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in ("one", "two", "three")]
    read = 0
    while any(writer.poll() is None for writer in writers):  # a reader meanwhile never sees a gap
        count = len(Journal(tmp_path).read())
        assert count >= read
        read = count
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 3
    records = Journal(tmp_path).read()
    assert len(records) == 75
    deleted = [record.change.product_ids[0] for record in records if isinstance(record.change, Delete)]
    for name in ("one", "two", "three"):
        assert [pid for pid in deleted if pid.startswith(name)] == [f"{name}-{number}" for number in range(25)]


def test_a_writer_waits_briefly_and_then_names_the_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "LOCK_WAIT_S", 0.02)
    with (
        Journal(tmp_path).writing("upsert of the nightly job"),
        pytest.raises(BuildLocked, match="upsert of the nightly job"),
        Journal(tmp_path).writing("another"),
    ):
        pass


def test_a_reader_that_meets_a_folding_reads_what_is_there_then(tmp_path):
    positions = append(tmp_path, *CHANGES)

    class FoldsUnderneath(FileSystem):
        done = False

        def open(self, path: Path, flags: int) -> int:
            if path.name.startswith("000000000002") and not self.done:
                self.done = True
                fold(tmp_path, positions[2], {"p-1": 2})
            return super().open(path, flags)

    with storage.using(FoldsUnderneath()):
        records = Journal(tmp_path).read()
    assert [record.position for record in records] == positions[2:]
    assert not isinstance(records[1].change, Checkpoint)


def test_a_missing_file_is_an_error_of_the_artefact(tmp_path):
    append(tmp_path, CHANGES[1])
    (path,) = files(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArtifactError):
        Journal(tmp_path).read()
