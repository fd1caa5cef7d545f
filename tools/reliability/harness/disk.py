"""A disk in memory, and a file system that writes down every change, so that `harness.power` can lose some of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeAlias

from indexing.storage import FileSystem

Change: TypeAlias = tuple[int, str, int | None]
"""Folder, name, and what the name leads to from now on."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that changed something.

    Attributes:
        kind: ``names``, ``bytes``, ``sync`` or ``mark``.
        target: File or folder that was written or synced; -1 for names.
        changes: Names that changed, as one.
        content: The file's bytes after the call.
        what: In words, for messages.
        made: A file or folder that came into being.
        is_folder: Whether that is a folder.
    """

    kind: str
    target: int = -1
    changes: tuple[Change, ...] = ()
    content: bytes = b""
    what: str = ""
    made: int = -1
    is_folder: bool = False

    def syncs(self, target: int) -> bool:
        """Whether this puts a file or folder on the disk."""
        return self.kind == "sync" and self.target == target


@dataclass(slots=True)
class Disk:
    """Files and folders by number.

    Attributes:
        root: Number of the topmost folder.
        folders: Folder -> name -> number.
        files: File -> bytes.
    """

    root: int = 0
    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Change names."""
        for folder, name, target in changes:
            if target is None:
                self.folders[folder].pop(name, None)
            else:
                self.folders[folder][name] = target

    def copy(self) -> "Disk":
        """Return a disk of its own."""
        return Disk(self.root, {number: dict(names) for number, names in self.folders.items()}, dict(self.files))

    def walk(self, folder: int | None = None, path: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Yield path and bytes of everything below a folder, ``None`` for folders; paths are relative."""
        for name, number in sorted(self.folders[self.root if folder is None else folder].items()):
            if number in self.folders:
                yield f"{path}{name}", None
                yield from self.walk(number, f"{path}{name}/")
            else:
                yield f"{path}{name}", self.files[number]

    def entries(self, folder: int | None = None, path: str = "") -> Iterator[tuple[str, int]]:
        """Yield path and number of everything below a folder."""
        for name, number in self.folders[self.root if folder is None else folder].items():
            yield f"{path}{name}", number
            if number in self.folders:
                yield from self.entries(number, f"{path}{name}/")

    def write(self, top: Path) -> None:
        """Write everything into a folder of the real file system."""
        for path, content in self.walk():
            if content is None:
                (top / path).mkdir()
            else:
                (top / path).write_bytes(content)

    def find(self, path: str) -> int | None:
        """Return what a relative path leads to."""
        number: int | None = self.root
        for name in path.split("/") if path not in ("", ".") else ():
            number = self.folders.get(number, {}).get(name) if number is not None else None
        return number


class Killed(BaseException):
    """The process ends here; nothing that runs after it may change the disk."""


class RecordingFileSystem(FileSystem):
    """Does every call on the real file system and writes down what it changed below one folder.

    Attributes:
        disk: What was there at the beginning, taken to be on the disk for certain.
        log: What happened.
    """

    def __init__(self, top: Path, *, kill_at: int = 0) -> None:
        """Begin with what lies below ``top``; at the change numbered ``kill_at`` the process is dead to the disk."""
        self._top = top
        self._numbers: dict[tuple[int, int], int] = {}
        self._next = count(1)
        self._now = Disk()
        self._changes_left = kill_at or -1
        self._dead = False
        self._load(top, 0)
        self.disk = self._now.copy()
        self.log: list[Operation] = []

    def revive(self) -> None:
        """Let another process go on where the killed one was."""
        self._dead, self._changes_left = False, -1

    def mark(self, what: str) -> None:
        """Note a moment in the log."""
        self.log.append(Operation("mark", what=what))

    # --- calls that change something ----------------------------------------------------------------------------------

    def open(self, path: Path, flags: int) -> int:
        """Open; a file that this creates is a new name."""
        creates = bool(flags & os.O_CREAT) and not path.exists()
        if creates:
            self._alive()
        descriptor = super().open(path, flags)
        if not creates and path.is_file() and self._below_top(path) and _identity(path.stat()) not in self._numbers:
            self._found(path)
        if creates:
            number = self._register(os.fstat(descriptor))
            self._now.files[number] = b""
            self._names(((*self._place(path), number),), f"create {path.name}", made=number)
        return descriptor

    def write(self, descriptor: int, content: memoryview) -> int:
        """Write."""
        self._alive()
        written = super().write(descriptor, content)
        self._bytes(descriptor, f"write {written} bytes")
        return written

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Truncate."""
        self._alive()
        super().truncate(descriptor, size_bytes)
        self._bytes(descriptor, "truncate")

    def fsync(self, descriptor: int) -> None:
        """Note the sync instead of doing it: the model decides what is on the disk."""
        self._alive()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        number = self._numbers.get(_identity(os.fstat(descriptor)))
        if number is None:  # a folder above
            return
        self.log.append(Operation("sync", number, what=f"sync {path.relative_to(self._top.resolve().parent)}"))

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        self._alive()
        super().rename(source, target)
        (before, old), (after, new) = self._place(source), self._place(target)
        number = self._now.folders[before][old]
        self._names(((before, old, None), (after, new, number)), f"rename {source.name} to {target.name}")

    def link(self, source: Path, target: Path) -> None:
        """Link."""
        self._alive()
        super().link(source, target)
        folder, name = self._place(source)
        number = self._now.folders[folder][name]
        self._names(((*self._place(target), number),), f"link {target.name}")

    def mkdir(self, path: Path) -> None:
        """Make a folder."""
        self._alive()
        super().mkdir(path)
        number = self._register(path.stat())
        self._now.folders[number] = {}
        self._names(((*self._place(path), number),), f"mkdir {path.name}", made=number, is_folder=True)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self._alive()
        super().unlink(path)
        self._names(((*self._place(path), None),), f"unlink {path.name}")

    def rmdir(self, path: Path) -> None:
        """Remove a folder."""
        self._alive()
        super().rmdir(path)
        self._names(((*self._place(path), None),), f"rmdir {path.name}")

    # --- book-keeping -------------------------------------------------------------------------------------------------

    def _alive(self) -> None:
        """Count a change; from the one at which the process is killed on, none happens."""
        self._changes_left -= 1
        if self._changes_left == 0:
            self._dead = True
        if self._dead:
            raise Killed

    def _load(self, path: Path, number: int) -> None:
        self._numbers[_identity(path.stat())] = number
        for entry in sorted(path.iterdir()):
            known = self._numbers.get(_identity(entry.stat()))
            inside = next(self._next) if known is None else known
            self._now.folders[number][entry.name] = inside
            if entry.is_dir():
                self._now.folders[inside] = {}
                self._load(entry, inside)
            else:
                self._numbers[_identity(entry.stat())] = inside
                self._now.files[inside] = entry.read_bytes()

    def _below_top(self, path: Path) -> bool:
        return self._top in path.parents

    def _found(self, path: Path) -> None:
        """Take note of a file that a library wrote, past this file system: nothing of it is synced."""
        number = self._register(path.stat())
        self._now.files[number] = b""
        self._names(((*self._place(path), number),), f"a library creates {path.name}", made=number)
        self._now.files[number] = path.read_bytes()
        self.log.append(Operation("bytes", number, content=self._now.files[number], what=f"and writes {path.name}"))

    def _register(self, found: os.stat_result) -> int:
        number = next(self._next)
        self._numbers[_identity(found)] = number
        return number

    def _number(self, descriptor: int) -> int:
        return self._numbers[_identity(os.fstat(descriptor))]

    def _place(self, path: Path) -> tuple[int, str]:
        folder = self._now.find(path.parent.relative_to(self._top).as_posix())
        assert folder is not None, path
        return folder, path.name

    def _names(self, changes: tuple[Change, ...], what: str, *, made: int = -1, is_folder: bool = False) -> None:
        self._now.apply(changes)
        self.log.append(Operation("names", changes=changes, what=what, made=made, is_folder=is_folder))

    def _bytes(self, descriptor: int, what: str) -> None:
        number = self._number(descriptor)
        self._now.files[number] = Path(f"/proc/self/fd/{descriptor}").read_bytes()
        self.log.append(Operation("bytes", number, content=self._now.files[number], what=what))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
