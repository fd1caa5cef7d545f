"""Filters: which products a query may return, said in the tuples that pyarrow's users know.

``[("price", "<", 50.0), ("brand", "in", ["HP", "Xerox"])]`` is an AND; a list of such lists is an OR of ANDs
(``pyarrow.parquet.filters_to_expression``). One rule differs: a null matches no comparison at all, where pyarrow lets
it match ``not in``. A product without a brand is not of the brand, and not surely of another.
"""

import math
import operator
import re
import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexing.errors import InvalidQuery
from indexing.types import BoolVector

Value: TypeAlias = str | float | bool
Filter: TypeAlias = tuple[str, str, Any]
"""Column, operator, and a `Value`, or a collection of values for ``in`` and ``not in``."""

Filters: TypeAlias = Sequence[Filter] | Sequence[Sequence[Filter]]

MAX_COLUMN_CHARS = 1_000
"""Longest name of a column that is looked up; keeps messages readable and the search for a similar name short."""

TEXT, NUMBER, YES_NO = "text", "number", "yes/no"
"""The kinds of column, and of value."""

_ON_NUMPY: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ON_TEXT: Mapping[str, Callable[[Any, Any], Any]] = {  # by code point, as Python compares
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    ">": pc.greater,
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
}
OPERATORS = ("=", *_ON_NUMPY, "in", "not in")

_WORDS_FOR_YES_NO = {"yes": True, "true": True, "no": False, "false": False}

# Leftmost operator first; of two that start alike the longer.
_TYPED = re.compile(
    r"\s*(?P<column>\S.*?)\s*(?P<sign><=|>=|!=|==|=|<|>|\s(?:not\s+)?in\s)\s*(?P<value>.*\S)\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can be compared.

    Attributes:
        kind: `TEXT`, `NUMBER` or `YES_NO`.
        values: Arrow strings for text, a numpy array otherwise; [n], anything where a value is absent.
        present: Where there is a value, bool [n].
    """

    kind: str
    values: Any
    present: BoolVector

    @classmethod
    def of(cls, values: pa.ChunkedArray) -> "Column":
        """Make a column of Arrow strings, numbers or booleans."""
        present = np.asarray(pc.is_valid(values))
        if pa.types.is_string(values.type):
            return cls(TEXT, values, present)
        if pa.types.is_boolean(values.type):
            return cls(YES_NO, np.asarray(pc.fill_null(values, False)), present)
        return cls(NUMBER, np.asarray(pc.fill_null(values, 0)), present)

    def as_numbers(self) -> "Column":
        """Read text as numbers; what is not a finite number is absent."""
        numbers = np.array([_number(text) for text in self.values.to_pylist()], dtype=np.float64)
        return Column(NUMBER, numbers, ~np.isnan(numbers))

    def as_yes_no(self) -> "Column":
        """Read text as yes/no (``yes``, ``true``, ``no``, ``false`` in any case); anything else is absent."""
        read = [
            _WORDS_FOR_YES_NO.get(text.casefold()) if text is not None else None for text in self.values.to_pylist()
        ]
        present = np.array([value is not None for value in read], dtype=np.bool_)
        return Column(YES_NO, np.array([value is True for value in read], dtype=np.bool_), present)

    def matches(self, sign: str, value: Any) -> BoolVector:  # noqa: ANN401 - a value, or a list of them
        """Say where a comparison holds, bool [n]; never where the value is absent.

        Args:
            sign: One of `OPERATORS`.
            value: Of this column's kind; a list of such for ``in`` and ``not in``.
        """
        if sign in ("in", "not in"):
            found = self._is_in(value)
            return self.present & ~found if sign == "not in" else found
        sign = "==" if sign == "=" else sign
        if self.kind == TEXT:
            return np.asarray(pc.fill_null(_ON_TEXT[sign](self.values, pa.scalar(value, pa.string())), False))
        held: BoolVector = _ON_NUMPY[sign](self.values, value) & self.present
        return held

    def value_at(self, row: int) -> Value | None:
        """Return the value of one row as plain Python, ``None`` where it is absent."""
        if not self.present[row]:
            return None
        value: Value = self.values[row].as_py() if self.kind == TEXT else self.values[row].item()
        return value

    def _is_in(self, values: list[Value]) -> BoolVector:
        if self.kind == TEXT:
            return np.asarray(pc.is_in(self.values, value_set=pa.array(values, pa.string())))
        found = np.zeros(len(self.present), dtype=np.bool_)
        for value in values:
            found |= self.matches("==", value)
        return found


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a filter, held against one product.

    Attributes:
        column: What is compared.
        operator: One of `OPERATORS`.
        value: What it is compared with.
        found: The product's own value; ``None`` when it has none, which fulfils no condition.
        holds: Whether the product fulfils it.
    """

    column: str
    operator: str
    value: Any
    found: Value | None
    holds: bool


def conjunctions(filters: Filters | None) -> list[list[Filter]]:
    """Bring filters into one form, an OR of ANDs, and check everything that needs no catalogue.

    Args:
        filters: A list of filters or a list of such lists; ``None`` or an empty list is no filter at all.

    Returns:
        An empty list for no filter; else conjunctions of at least one filter each, the value of ``in`` and ``not in``
        as a list.

    Raises:
        InvalidQuery: If the shape is another, an operator is not known, or a value is none that can be compared.
    """
    if filters is None or (isinstance(filters, list | tuple) and not filters):
        return []
    if not isinstance(filters, list | tuple):
        raise _bad_shape(filters)
    nested: Sequence[Any] = [filters] if _is_filter(filters[0]) else filters
    for conjunction in nested:
        if not isinstance(conjunction, list | tuple) or not conjunction or not all(map(_is_filter, conjunction)):
            raise _bad_shape(filters)
    return [[_checked(*part) for part in conjunction] for conjunction in nested]


def kind_of(value: Value | list[Value]) -> str:
    """Return the kind of column that a checked value, or a list of them, compares with; "" for an empty list."""
    if isinstance(value, list):
        return kind_of(value[0]) if value else ""
    if isinstance(value, bool):
        return YES_NO
    return TEXT if isinstance(value, str) else NUMBER


def parse_filter(text: str) -> Filter:
    """Read a filter as it is typed on a command line, such as ``price<50`` or ``attributes.colour in black,white``.

    The leftmost operator counts; ``=`` is ``==``. A value that reads as a number is one, ``true`` and ``false`` are
    yes/no, and quotes keep text as it is: ``brand="365"``. A list whose members are of several kinds is one of texts.

    Raises:
        InvalidQuery: If a column, an operator or a value is missing.
    """
    found = _TYPED.fullmatch(text)
    if found is None:
        raise InvalidQuery(f"expected a filter such as 'price<50' or 'brand in HP,Xerox', got {text!r}")
    column, sign, value = found["column"], " ".join(found["sign"].split()), found["value"]
    if sign not in ("in", "not in"):
        return column, "==" if sign == "=" else sign, _literal(value)
    members = [member.strip() for member in value.split(",")]
    literals = [_literal(member) for member in members]
    if len({kind_of(literal) for literal in literals}) > 1:
        return column, sign, [_unquoted(member) for member in members]
    return column, sign, literals


# --- inside -----------------------------------------------------------------------------------------------------------


def _is_filter(part: object) -> bool:
    return isinstance(part, list | tuple) and len(part) == 3 and isinstance(part[0], str)


def _require_name(column: str) -> None:
    if len(column) > MAX_COLUMN_CHARS:
        raise InvalidQuery(f"a column's name may have up to {MAX_COLUMN_CHARS} characters, got {len(column)}")


def _bad_shape(filters: object) -> InvalidQuery:
    shape = "[(column, operator, value), ...] or a list of such lists"
    return InvalidQuery(f"expected filters as {shape}, none of them empty, got {shown(filters)}")


def _checked(column: str, sign: object, value: object) -> Filter:
    _require_name(column)
    if not isinstance(sign, str) or sign not in OPERATORS:
        raise InvalidQuery(f"expected one of the operators {', '.join(OPERATORS)} on {column!r}, got {shown(sign)}")
    if sign not in ("in", "not in"):
        return column, sign, _plain(column, value)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise InvalidQuery(f"{sign!r} on {column!r} takes a list of values, got {shown(value)}")
    members = [_plain(column, member) for member in value]
    kinds = {kind_of(member) for member in members}
    if len(kinds) > 1:
        raise InvalidQuery(f"{sign!r} on {column!r} takes values of one kind, got {' and '.join(sorted(kinds))}")
    return column, sign, members


def _plain(column: str, value: object) -> Value:
    """Return a value as plain Python, if it is one that can be compared."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, str) and _is_unicode(plain):
        return plain
    if isinstance(plain, int | float) and _is_finite(plain):
        return plain
    raise InvalidQuery(f"{column!r} compares with valid text, a finite number or a yes/no value, got {shown(value)}")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)  # lone surrogates: Arrow holds UTF-8


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond 1.8e308
        return False


def shown(value: object) -> str:
    """Show a value and its type in a message, cut to a readable length."""
    try:
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too long to be written"


def _number(text: str | None) -> float:
    """Return the number that a text is, NaN when it is none (``1_000``, which Python would take, included)."""
    try:
        number = float(text) if text is not None and "_" not in text else math.nan
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _literal(text: str) -> Value:
    if text != _unquoted(text):
        return _unquoted(text)
    if text in ("true", "false"):
        return text == "true"
    number = _number(text)
    return text if math.isnan(number) else number


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
