"""Keys of 16 bytes, and the table that finds millions of them at once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexing.types import IntVector

KEY_BYTES = 16
"""Length of a key: half a SHA-256, so that two of 10^9 texts share one with a probability below 10^-20."""

KEY = np.dtype((np.void, KEY_BYTES))
"""A key as numpy sees it: raw bytes, compared like ``memcmp``."""


_BLOCK = 65_536  # keys looked up at a time: some 2 MB of scratch


class KeyTable:
    """Keys in sorted order with their rows; adding merges, so that many small segments stay cheap."""

    __slots__ = ("_keys", "_rows")

    def __init__(self) -> None:
        self._keys: npt.NDArray[np.void] = np.empty(0, dtype=KEY)
        self._rows: IntVector = np.empty(0, dtype=np.int64)

    def find(self, keys: npt.NDArray[np.void]) -> IntVector:
        """Return the row of every key, -1 where it is unknown."""
        rows = np.full(len(keys), -1, dtype=np.int64)
        if not len(self._keys):
            return rows
        for first in range(0, len(keys), _BLOCK):
            block = keys[first : first + _BLOCK]
            places = np.minimum(np.searchsorted(self._keys, block), len(self._keys) - 1)
            found = self._keys[places] == block
            rows[first : first + _BLOCK][found] = self._rows[places[found]]
        return rows

    def add(self, keys: npt.NDArray[np.void], *, first_row: int) -> None:
        """Add keys that are not there; the first gets ``first_row``, the others follow."""
        order = np.argsort(keys)
        places = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, places, keys[order])
        self._rows = np.insert(self._rows, places, order + first_row)


class KeySet:
    """Keys met so far, 16 bytes each: a Python set of them takes some 100.

    Sorted arrays of falling size; a new one is merged with those before it that are no larger, so that each key is
    moved a logarithmic number of times, and looked for in as many arrays.
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[npt.NDArray[np.void]] = []

    def add(self, keys: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        """Add keys and say which were new, bool [len(keys)]; of equal ones among them the first is."""
        _, firsts = np.unique(keys, return_index=True)
        new = np.zeros(len(keys), dtype=np.bool_)
        new[firsts] = True
        for level in self._levels:
            places = np.minimum(np.searchsorted(level, keys), len(level) - 1)
            new &= level[places] != keys
        level = np.sort(keys[new])
        while self._levels and len(self._levels[-1]) <= len(level):
            level = np.concatenate((self._levels.pop(), level))
            level.sort()
        if len(level):
            self._levels.append(level)
        return new


def key_array(keys: Sequence[bytes] | npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return keys as one array of raw bytes [n], or raise ValueError unless each is 16 bytes long."""
    if isinstance(keys, np.ndarray):
        return keys
    lengths = {len(key) for key in keys}
    if not lengths <= {KEY_BYTES}:
        raise ValueError(f"expected keys of {KEY_BYTES} bytes, got lengths {sorted(lengths)[:10]}")
    return np.frombuffer(b"".join(keys), dtype=KEY)
