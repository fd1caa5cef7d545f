"""What a call asks of the engine, checked before anything is searched: every refusal is one of Shortlist's own.

Arguments that no bundle could make right are ``TypeError`` and ``ValueError``, what a shopper may have caused is
``InvalidQuery``.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from indexing.errors import InvalidQuery
from retrieval.filters import shown
from shortlist.config import require_depth

LARGEST = 2**63 - 1
"""Largest ``k`` or ``depth``: what an int64 holds. More than there are products is as good as all of them."""


def require_numbers(k: object, depth: object) -> None:
    """Refuse a ``k`` or ``depth`` that is no whole number, below 1, or a ``depth`` below ``k``.

    Raises:
        TypeError, ValueError: With the number.
    """
    for name, value in (("k", k), ("depth", depth)):
        if isinstance(value, bool) or not isinstance(value, int):
            if name == "depth" and value is None:
                continue
            raise TypeError(f"{name} must be an int, got {shown(value)}")
        if not 1 <= value <= LARGEST:
            raise ValueError(f"{name} must be {'at least 1' if value < 1 else 'less than 2**63'}, got {shown(value)}")
    if isinstance(k, int) and isinstance(depth, int):
        require_depth(k, depth)


def require_deadline(deadline_ms: object) -> None:
    """Refuse a deadline that is no finite number of milliseconds, 0 or more.

    Raises:
        TypeError, ValueError: With what was given.
    """
    if deadline_ms is None:
        return
    if isinstance(deadline_ms, bool) or not isinstance(deadline_ms, int | float):
        raise TypeError(f"deadline_ms must be a number of milliseconds, got {shown(deadline_ms)}")
    if not 0 <= deadline_ms <= sys.float_info.max:  # a whole number may be larger than any float
        raise ValueError(
            f"deadline_ms must be finite and at least 0, got {shown(deadline_ms)}; leave it out for no deadline"
        )


def require_switch(name: str, value: object) -> None:
    """Refuse what is neither ``True`` nor ``False``: of all other things, ``"false"`` would mean yes.

    Raises:
        TypeError: With what was given.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")


def require_queries(queries: object) -> None:
    """Refuse what is no list (or tuple, or other sequence) of queries; each query is checked where it is normalised.

    Raises:
        TypeError: With what was given.
    """
    if isinstance(queries, str | bytes | bytearray | memoryview) or not isinstance(queries, Sequence):
        raise TypeError(f"queries must be a list of strings, got {shown(queries)}; for one query there is search")


def require_product_id(product_id: object) -> None:
    """Refuse a product_id that is no text.

    Raises:
        InvalidQuery: With what was given.
    """
    if not isinstance(product_id, str):
        raise InvalidQuery(f"a product_id is a string, got {shown(product_id)}")


@contextmanager
def panics_refused() -> Iterator[None]:
    """Turn a panic of the tokenizers library, which is no ``Exception``, into a refusal of the query that caused it.

    What is written to catch every error would let it through, and it would end the thread that serves.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # made by pyo3 when the library loads; there is none to import
            raise
        raise InvalidQuery(f"the tokenizer cannot take this query: {error}") from error
