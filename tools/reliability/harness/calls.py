"""The file system of `indexing.storage`, call by call: killed at one, failing at one, or written down."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from indexing.storage import FileSystem

CHANGING = ("write", "truncate", "chmod", "fsync", "lock", "rename", "link", "mkdir", "unlink", "rmdir")
"""Calls that change something, or that put a change on the device."""

LOOKING = ("open", "close", "read", "map", "listdir", "stat", "lstat", "lock_shared", "free_bytes")
"""The others; `open` changes something when it creates a file."""


def changing(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a call changes what is on the device: between two of these, one moment is as good as another."""
    return name in CHANGING or (name == "open" and bool(arguments[1] & os.O_CREAT))


def any_call(_name: str, _arguments: tuple[Any, ...]) -> bool:
    """Whether a call can fail: every one can."""
    return True


class CountedFileSystem(FileSystem):
    """Calls ``at(number, name, arguments)`` before every point, numbered from 1; what it raises, the call raises.

    Attributes:
        count: Points so far.
    """

    def __init__(
        self,
        at: Callable[[int, str, tuple[Any, ...]], None],
        *,
        is_point: Callable[[str, tuple[Any, ...]], bool] = changing,
    ) -> None:
        """Take what happens at a point, and which calls are points."""
        self._at = at
        self._is_point = is_point
        self.count = 0

    def reached(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Count a call."""
        if self._is_point(name, arguments):
            self.count += 1
            self._at(self.count, name, arguments)


def _counted(name: str) -> Callable[..., Any]:
    def call(self: CountedFileSystem, *arguments: Any) -> Any:  # noqa: ANN401 - every call has its own
        if name == "close":  # a failing close still closes
            result = getattr(FileSystem, name)(self, *arguments)
            self.reached(name, arguments)
            return result
        self.reached(name, arguments)
        return getattr(FileSystem, name)(self, *arguments)

    call.__name__ = name
    return call


for _name in (*CHANGING, *LOOKING):
    setattr(CountedFileSystem, _name, _counted(_name))


def tear(name: str, arguments: tuple[Any, ...]) -> None:
    """Do half of a write, as a kill in the midst of one leaves it; other calls are whole or not at all."""
    if name == "write":
        descriptor, content = arguments
        os.write(descriptor, content[: len(content) // 2])


def described(name: str, arguments: tuple[Any, ...]) -> str:
    """Return a call in words: its name, and the file when it has a path."""
    paths = [argument.name for argument in arguments if isinstance(argument, Path)]
    return " ".join([name, *paths])
