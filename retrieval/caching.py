"""A bounded cache: the entries used last, up to so many and so many bytes, with counters of what it did."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CacheState:
    """What a cache holds and what it did since it was made.

    Attributes:
        entries: Entries there are.
        size_bytes: Their bytes, as whoever put them in counts.
        hits: Look-ups that found something.
        misses: Look-ups that did not.
        evicted: Entries that made room for others.
    """

    entries: int
    size_bytes: int
    hits: int
    misses: int
    evicted: int


class BoundedCache(Generic[K, V]):
    """Safe to share between threads; values are handed out as they are, so they must not be changed."""

    def __init__(self, *, entries: int, size_bytes: int) -> None:
        """Keep up to so many entries of so many bytes together; 0 of either keeps nothing.

        Raises:
            ValueError: One of them is below 0.
        """
        if entries < 0 or size_bytes < 0:
            raise ValueError(f"a cache has 0 or more entries and bytes, got {entries} and {size_bytes}")
        self._most, self._most_bytes = entries, size_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = self._evicted = 0
        self._lock = threading.Lock()  # guards all of it

    @property
    def is_on(self) -> bool:
        """Whether anything is ever kept."""
        return self._most > 0 and self._most_bytes > 0

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, which makes it the entry used last; ``None`` when there is nothing."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
            return found[0]

    def peek(self, key: K) -> V | None:
        """Return what is kept under a key, and count nothing."""
        with self._lock:
            found = self._kept.get(key)
            return None if found is None else found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value in place of what was there; one that is larger than all the room is not kept."""
        with self._lock:
            if not self.is_on or size_bytes > self._most_bytes:
                return
            replaced = self._kept.pop(key, None)
            self._bytes += size_bytes - (replaced[1] if replaced else 0)
            self._kept[key] = (value, size_bytes)
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
                self._evicted += 1

    def clear(self) -> None:
        """Let go of every entry; the counters go on."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def state(self) -> CacheState:
        """Return the counters."""
        with self._lock:
            return CacheState(len(self._kept), self._bytes, self._hits, self._misses, self._evicted)
