"""Which rows fulfil a condition, found once and kept as bits; whole filters are put together from them.

A shop's filters are few conditions in many combinations. A condition costs a pass over a column of values, a
combination a pass over bits, an eighth of a byte per row.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from indexing.types import BoolVector
from retrieval.filters import Filter, kind_of

Value = TypeVar("Value")
Bits: TypeAlias = npt.NDArray[np.uint8]

KEPT_BYTES = 64 << 20
"""Memory for bits, at most: 512 conditions over a million products."""

KEPT_MASKS = 32
"""Whole filters that are kept, a byte per row each: a query and the pages and facets that follow it ask the same."""


class Predicates:
    """Rows that pass filters over one table, which does not change; safe to use from several threads."""

    def __init__(self, count: int, matches: Callable[[Filter], BoolVector]) -> None:
        """Keep nothing yet.

        Args:
            count: Rows of the table.
            matches: Finds where a condition holds, bool [count], or raises what is wrong with it.
        """
        self._count, self._matches = count, matches
        self._bits = _Recent[Bits](max(1, KEPT_BYTES // max(1, (count + 7) // 8)))
        self._masks = _Recent[BoolVector](KEPT_MASKS)

    def passing(self, wanted: Sequence[Sequence[Filter]]) -> BoolVector:
        """Return which rows fulfil one of these conjunctions (all rows when there is none), bool [count], read-only.

        The same filter gives the same array, so that what others derive from it can be kept with it.

        Raises:
            InvalidQuery: As ``matches``.
        """
        key = tuple(tuple(_key(condition) for condition in conjunction) for conjunction in wanted)
        return self._masks.get(key, lambda: self._combined(wanted))

    def _combined(self, wanted: Sequence[Sequence[Filter]]) -> BoolVector:
        if wanted:
            passed = np.bitwise_or.reduce([self._conjunction(conjunction) for conjunction in wanted])
            mask = np.unpackbits(passed, count=self._count).view(np.bool_)
        else:
            mask = np.ones(self._count, dtype=np.bool_)
        mask.flags.writeable = False
        return mask

    def _conjunction(self, conjunction: Sequence[Filter]) -> Bits:
        bits: Bits = np.bitwise_and.reduce([self._bits_of(condition) for condition in conjunction])
        return bits

    def _bits_of(self, condition: Filter) -> Bits:
        return self._bits.get(_key(condition), lambda: np.packbits(self._matches(condition)))


class _Recent(Generic[Value]):
    """What was asked for most recently; two threads may make the same value, and then share one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()  # outside the lock: it may take long, and may ask for other keys
        with self._lock:
            value = self._values.setdefault(key, made)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


def _key(condition: Filter) -> Hashable:
    """Return what two equal conditions share; a value's kind is part of it, because in Python ``True == 1``."""
    column, sign, value = condition
    return column, sign, kind_of(value), tuple(value) if isinstance(value, list) else value
