"""The states in which a power cut can leave a disk, for a log of calls: what was not synced is lost, in part or whole.

The model is that of LevelDB's fault injection and of ALICE (Pillai et al., OSDI 2014), for a file system that promises
no more than POSIX: bytes written to a file are on the disk for certain once the file is synced; before that the file
may be as it was, empty, half as long, full of zeros, or whole. A name made, moved or removed in a folder is on the disk
for certain once that folder is synced, and both when it moves between two; before that any subset of the changes may
be, in any order, except that one rename happens entirely or not at all.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tools.reliability.harness.disk import Change, Disk, Operation

Check = Callable[[Disk, str], str]
"""Given a disk after a power cut and the moment (the last mark), says what is wrong with it; empty when nothing is."""

DRAWN = 3
"""Random subsets of the pending names at each moment, beside the systematic ones."""


@dataclass(slots=True)
class States:
    """What an enumeration came to.

    Attributes:
        combinations: Moments times subsets times fates of unsynced bytes.
        different: States among them that a reader could tell apart.
        bad: Moment and what was wrong.
    """

    combinations: int = 0
    different: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Pending:
    """A change of names, and the folders that have to be synced before it is certain."""

    changes: tuple[Change, ...]
    unsynced: set[int]


class PowerCuts:
    """Makes every state that a reader could tell from the others; what lies at a hidden path, nobody reads."""

    def __init__(
        self, start: Disk, log: list[Operation], check: Check, *, is_hidden: Callable[[str], bool], seed: int = 7
    ) -> None:
        """Take a disk that is certain, what happened then, what is right, and which paths nobody reads."""
        self._start = start
        self._log = log
        self._check = check
        self._is_hidden = is_hidden
        self._random = random.Random(seed)
        self._known: dict[tuple[int, str], str] = {}

    def all_states(self, *, without: frozenset[int] = frozenset(), first: int = 0, stop_at_bad: bool = False) -> States:
        """Cut the power after every call.

        Args:
            without: Places in the log of syncs that are left out.
            first: Cut only from this place on.
            stop_at_bad: One bad state is enough to know.
        """
        states, seen = States(), set[tuple[int, str]]()
        for moment, where, disk in self._cuts(without, first):
            states.combinations += 1
            key = hash(tuple(self._visible(disk))), moment
            if key in seen:
                continue
            seen.add(key)
            states.different += 1
            if key not in self._known:
                self._known[key] = self._check(disk, moment)
            if self._known[key]:
                states.bad.append(f"power cut after {where}: {self._known[key]}")
                if stop_at_bad:
                    break
        return states

    def visible_at_the_end(self) -> set[int]:
        """Return the files and folders that a reader finds when everything was done and put on the disk."""
        disk = self._start.copy()
        for operation in self._log:
            if operation.made >= 0:
                _make(disk, operation)
            disk.apply(operation.changes)
        return {number for path, number in disk.entries() if not self._is_hidden(path)}

    def _cuts(self, without: frozenset[int], first: int) -> Iterator[tuple[str, str, Disk]]:
        """Yield moment, last call and disk for every state."""
        certain, now, pending, dirty, moment = self._start.copy(), self._start.copy(), list[_Pending](), set[int](), ""
        for place, operation in enumerate(self._log):
            if operation.kind == "mark":
                moment = operation.what
            elif operation.kind == "names":
                if operation.made >= 0:
                    for disk in (certain, now):
                        _make(disk, operation)
                now.apply(operation.changes)
                pending.append(_Pending(operation.changes, {folder for folder, _, _ in operation.changes}))
            elif operation.kind == "bytes":
                now.files[operation.target] = operation.content
                dirty.add(operation.target)
            elif operation.kind == "sync" and place not in without:
                pending = _synced(certain, now, pending, dirty, operation.target)
            if place >= first:
                for disk in self._fates(certain, now, pending, dirty):
                    yield moment, f"{operation.what or operation.kind} (call {place})", disk

    def _fates(self, certain: Disk, now: Disk, pending: list[_Pending], dirty: set[int]) -> Iterator[Disk]:
        """Yield the disks that may be found: subsets of the pending names, each with fates of the unsynced bytes."""
        hidden = {number for path, number in now.entries() if number in now.folders and self._is_hidden(path)}
        matter = [n for n, change in enumerate(pending) if not {folder for folder, _, _ in change.changes} <= hidden]
        for subset in self._subsets(len(matter)):
            lost = set(matter) - {matter[n] for n in subset}
            names = certain.copy()
            for number, change in enumerate(pending):
                if number not in lost:
                    names.apply(change.changes)
            yield from _with_bytes(names, now, dirty)

    def _subsets(self, size: int) -> Iterable[frozenset[int]]:
        """Return all, none, each without one, each alone, every prefix, and some at random; all 2^n when n is small."""
        everything = range(size)
        if size <= 5:
            return [frozenset(n for n in everything if mask >> n & 1) for mask in range(1 << size)]
        found = [frozenset(everything), frozenset[int]()]
        found += [frozenset(everything) - {n} for n in everything]
        found += [frozenset({n}) for n in everything]
        found += [frozenset(range(n)) for n in everything]
        found += [frozenset(n for n in everything if self._random.random() < 0.5) for _ in range(DRAWN)]
        return dict.fromkeys(found)

    def _visible(self, disk: Disk) -> Iterator[tuple[str, bytes | None]]:
        for path, content in disk.walk():
            if not self._is_hidden(path):
                yield path, content


def syncs(log: list[Operation]) -> dict[int, str]:
    """Return place and words of every sync that had something to put on the disk."""
    found, unsynced = {}, set[int]()
    for place, operation in enumerate(log):
        unsynced |= {operation.target} if operation.kind == "bytes" else {folder for folder, _, _ in operation.changes}
        if operation.kind == "sync" and operation.target in unsynced:
            found[place] = operation.what
            unsynced.discard(operation.target)
    return found


def _make(disk: Disk, operation: Operation) -> None:
    if operation.is_folder:
        disk.folders.setdefault(operation.made, {})
    else:
        disk.files.setdefault(operation.made, b"")


def _synced(certain: Disk, now: Disk, pending: list[_Pending], dirty: set[int], target: int) -> list[_Pending]:
    """Put a file's bytes, or the names of a folder, on the disk; return what is pending still."""
    if target in now.files:
        certain.files[target] = now.files[target]
        dirty.discard(target)
        return pending
    left = []
    for change in pending:
        unsynced = change.unsynced - {target}
        if unsynced:
            left.append(replace(change, unsynced=unsynced))
        else:
            certain.apply(change.changes)
    return left


def _with_bytes(names: Disk, now: Disk, dirty: set[int]) -> Iterator[Disk]:
    """Yield a disk with the unsynced bytes kept, lost, halved and zeroed; each file's fate is the same."""
    for fate in ("kept", "lost", "empty", "half", "zeros") if dirty else ("kept",):
        disk = Disk(names.root, names.folders, dict(names.files))
        for number in dirty:
            written = now.files[number]
            kept = {
                "kept": written,
                "lost": names.files.get(number, b""),
                "empty": b"",
                "half": written[: len(written) // 2],
                "zeros": bytes(len(written)),
            }
            disk.files[number] = kept[fate]
        yield disk
