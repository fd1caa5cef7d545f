"""The journal of a bundle: one immutable file per call, numbered, chained by digest, durable when the call returns.

::

    <root>/JOURNAL/LOCK                               held while a record is appended, a few milliseconds
    <root>/JOURNAL/000000000007-9f3c1a0b5d2e4f68.json record 7; the second part is the head of its SHA-256
    <root>/JOURNAL/checkpoint-000000000005-....json   what is left of records 1 to 5, which are removed

A record names the SHA-256 of the one before. So a changed byte, a lost file or a foreign one shows when the journal is
read, and a write that was cut off leaves a temporary file that nobody reads: there is no torn tail to repair.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound, ArtifactUntrusted
from shortlist.living.records import Change, Checkpoint, change_json, parse_change

JOURNAL = "JOURNAL"
FORMAT = 1
LOCK_WAIT_S = 10.0
"""Seconds to wait for another writer: an append takes milliseconds, a disk under load up to some seconds."""

_RECORD = re.compile(r"(checkpoint-)?(\d{12})-([0-9a-f]{16})\.json")
_LOCK = "LOCK"
_NAME_DIGITS = 16  # of the SHA-256 in a name: a chance of 5e-20 that other bytes fit it


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the journal.

    Attributes:
        seq: Number of a record, from 1; 0 before the first.
        sha256: Digest of that record's file, hexadecimal; empty before the first.
    """

    seq: int = 0
    sha256: str = ""


START = Position()


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was read and found to be in its place.

    Attributes:
        position: Where it stands; a checkpoint stands where the last record that it replaces stood.
        change: What it says.
    """

    position: Position
    change: Change


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    seq: int
    sha256_head: str
    is_checkpoint: bool


class Journal:
    """The journal of one bundle. Reading takes no lock and works on a read-only file system."""

    def __init__(self, root: Path) -> None:
        """Take the bundle directory; nothing is read or created yet."""
        self.folder = root / JOURNAL

    def read(self) -> list[Record]:
        """Return everything there is: a checkpoint, if records were folded, then every record since, in order.

        Raises:
            ArtifactCorrupt: A record was changed, cut off, lost or does not follow the one before; names the file.
            ArtifactUntrusted: The folder holds something that is never written there.
            ArtifactIncompatible: A record of another format.
            StorageError: It cannot be read.
        """
        return self._read(START)

    def since(self, position: Position) -> list[Record] | None:
        """Return the records after a position; ``None`` when they were folded, and all must be read again.

        Raises:
            ArtifactCorrupt: As `read`, or when the journal ends before the position: records were lost.
            ArtifactUntrusted, ArtifactIncompatible, StorageError: As `read`.
        """
        files = self._files()
        last = files[-1].seq if files else 0
        if last < position.seq:
            raise ArtifactCorrupt(
                f"{self.folder} ends at record {last}, but record {position.seq} was there before: restore it from a "
                "copy"
            )
        if files and files[0].is_checkpoint and files[0].seq > position.seq:
            return None
        records = self._read(position)
        folded = any(isinstance(record.change, Checkpoint) for record in records)  # meanwhile
        return None if folded else records

    def _read(self, after: Position) -> list[Record]:
        files = self._files()
        while True:
            records, position = list[Record](), after
            try:
                for file in files:
                    if file.seq > after.seq:
                        records.append(_read(file, position))
                        position = records[-1].position
            except ArtifactNotFound:
                before, files = files, self._files()
                if files == before:
                    raise
                continue  # it was folded between listing and reading: what is there now is read in its place
            return records

    def last_seq(self) -> int:
        """Return the number of the last record, 0 when there is none; from the names alone."""
        files = self._files()
        return files[-1].seq if files else 0

    @contextmanager
    def writing(self, purpose: str) -> Iterator["JournalWriter"]:
        """Keep other writers out for the length of a ``with`` block.

        Raises:
            BuildLocked: Another writer holds the lock for longer than `LOCK_WAIT_S`; the message names it.
            StorageError: The folder or the lock cannot be made.
        """
        storage.make_folder(self.folder)
        with storage.exclusive_lock(self.folder / _LOCK, purpose=purpose, wait_s=LOCK_WAIT_S):
            yield JournalWriter(self)

    def _files(self) -> list[_File]:
        """List the records in order; of those that a checkpoint stands for, leftovers included, only the checkpoint."""
        names = self._names()
        while True:
            try:
                return _in_order([_file(self.folder / name) for name in names])
            except ArtifactCorrupt:
                before, names = names, self._names()
                if names == before:  # otherwise files came or went under the listing, which may miss any of those
                    raise

    def _names(self) -> list[str]:
        try:
            names = storage.list_folder(self.folder)
        except ArtifactNotFound:
            return []
        return [name for name in names if name != _LOCK and not _is_temporary(name)]


class JournalWriter:
    """Appends to a journal that `Journal.writing` has locked."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def append(self, change: Change, *, after: Position) -> Position:
        """Write the next record, durable when this returns.

        Args:
            change: What it says.
            after: The last record there is, as read under this lock.

        Raises:
            StorageFull, StorageError: Nothing was written.
            CommitUncertain: It is visible, but may not survive a power cut; read the journal before trying again.
            ValueError: ``after`` is not the last record.
        """
        last = self._journal.last_seq()
        if last != after.seq:
            raise ValueError(f"expected to append after record {last}, the last one, got {after.seq}")
        return _write(self._journal.folder, "", change, seq=after.seq + 1, previous=after.sha256)

    def fold(self, *, upto: Position, deleted: dict[str, int]) -> None:
        """Replace the records up to a position by one that says which deletes stand.

        Killed anywhere, the journal says the same as before: readers skip what a checkpoint stands for.

        Args:
            upto: The last record that no version needs.
            deleted: What stands there: product_id -> sequence of its delete.

        Raises:
            StorageFull, StorageError, CommitUncertain: What is left over is removed by the next folding.
        """
        files = self._journal._files()
        if not (files and files[0].is_checkpoint and files[0].seq >= upto.seq):
            _write(self._journal.folder, "checkpoint-", Checkpoint(deleted), seq=upto.seq, previous=upto.sha256)
        for name in storage.list_folder(self._journal.folder):
            match = _RECORD.fullmatch(name)
            folded = match and int(match[2]) <= upto.seq - bool(match[1])  # never the checkpoint at ``upto`` itself
            if folded or _is_temporary(name):  # under the lock nobody else is writing one
                storage.remove_file(self._journal.folder / name)


def append_change(root: Path, change: Change, *, purpose: str) -> Position:
    """Append one record to the journal of a bundle, whatever was appended meanwhile.

    Raises:
        StorageError, ArtifactError: As `Journal.writing`, `Journal.read` and `JournalWriter.append`.
    """
    journal = Journal(root)
    with journal.writing(purpose) as writer:
        records = journal.read()
        return writer.append(change, after=records[-1].position if records else START)


def _write(folder: Path, prefix: str, change: Change, *, seq: int, previous: str) -> Position:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    values = {"format": FORMAT, "seq": seq, "previous": previous, "at": at, **change_json(change)}
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    content = f"{text}\n".encode()
    sha256 = hashlib.sha256(content).hexdigest()
    storage.create_bytes(folder / f"{prefix}{seq:012d}-{sha256[:_NAME_DIGITS]}.json", content)
    return Position(seq, sha256)


def _read(file: _File, before: Position) -> Record:
    """Read a record and hold it against its name and the record before it."""
    content = storage.read_bytes(file.path)
    sha256 = hashlib.sha256(content).hexdigest()
    if not sha256.startswith(file.sha256_head):
        raise ArtifactCorrupt(
            f"{file.path} was altered: its SHA-256 begins with {sha256[:_NAME_DIGITS]}; restore it from a copy"
        )
    values: Any = storage.parse_json(content, where=file.path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise ArtifactIncompatible(f"{file.path} has format {found!r}, this release reads {FORMAT}")
    rest = {name: value for name, value in values.items() if name not in ("format", "seq", "previous", "at")}
    previous = values.get("previous")
    if values.get("seq") != file.seq or not isinstance(previous, str):
        raise ArtifactCorrupt(f"{file.path} is not record {file.seq} of a journal; restore it from a copy")
    change = parse_change(rest, where=str(file.path))
    if isinstance(change, Checkpoint) != file.is_checkpoint:
        raise ArtifactCorrupt(f"{file.path} is named as what it is not; restore it from a copy")
    if file.is_checkpoint:
        return Record(Position(file.seq, previous), change)
    if previous != before.sha256:
        raise ArtifactCorrupt(
            f"{file.path} follows a record of SHA-256 {previous[:_NAME_DIGITS] or 'none'}, the one before it has "
            f"{before.sha256[:_NAME_DIGITS] or 'none'}: records were lost or exchanged; restore them from a copy"
        )
    return Record(Position(file.seq, sha256), change)


def _file(path: Path) -> _File:
    match = _RECORD.fullmatch(path.name)
    if match is None:
        raise ArtifactUntrusted(f"{path} is not in a journal as it is written; remove it")
    return _File(path, int(match[2]), match[3], bool(match[1]))


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _in_order(found: list[_File]) -> list[_File]:
    begin = max((file.seq for file in found if file.is_checkpoint), default=0)
    kept = [file for file in found if file.seq > begin or (file.is_checkpoint and file.seq == begin)]
    files = sorted(kept, key=lambda file: file.seq)
    for expected, file in enumerate(files, start=begin or 1):
        if file.seq != expected:
            raise ArtifactCorrupt(
                f"expected record {expected} in {file.path.parent}, found {file.path.name}: records were lost or came "
                "twice; restore them from a copy"
            )
    return files
