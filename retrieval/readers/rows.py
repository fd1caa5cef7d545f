"""The contract of one row: what a product needs, what may be left out, and the words for what is wrong."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from retrieval.records import Product, Scalar
from retrieval.text import scalar_text

Values: TypeAlias = Mapping[str, Any]
"""The cells of a row by column name, as the format gives them."""

TEXT_FIELDS = ("product_id", "title", "description", "brand", "category")
REQUIRED_FIELDS = ("product_id", "title")
KNOWN_FIELDS = (*TEXT_FIELDS, "price", "attributes", "vector")

NESTED = 8
"""Lists in lists that an attribute may hold; JSON allows 1,000, which no shop means and Python's stack may not."""

LONGEST_INTEGER_BITS = 1024
"""Bits of the largest integer that is kept: beyond it lies no float, and Python writes only so many digits at all."""

MISSING = "missing"
EMPTY = "empty"
DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it was found.

    Attributes:
        file: Where it was found.
        row: Its number there, from 1 (see `retrieval.catalog.BadRow`).
        values: Its cells; for a row that could not be taken apart, whatever there was.
        problem: Why it could not be taken apart; empty for a row that could.
    """

    file: Path
    row: int
    values: Values
    problem: str = ""


@dataclass(slots=True)
class CheckedRow:
    """A row after the contract: a product, or what is wrong. ``problems`` may still grow (vectors, duplicates).

    ``product_id`` is what the row calls itself, good or bad; empty when that cell holds neither text nor an integer.
    """

    raw: RawRow
    product: Product | None = None
    vector: object = None
    problems: list[str] = field(default_factory=list)
    product_id: str = ""


class RowProblem(ValueError):
    """Raised by the functions that read attributes and extras: ``column: what``."""


def as_found(values: Values) -> Values:
    """Return the cells as they are: the default view of a layout whose rows need no rearranging."""
    return values


def no_facts(values: Values) -> dict[str, Any]:
    """Return no attributes or extras: the default of a layout that has none."""
    return {}


@dataclass(frozen=True, slots=True)
class RowContract:
    """Reads rows of one layout.

    Attributes:
        columns: Product field -> column, for the fields that the source has.
        attributes: Returns the attributes of a row.
        extra: Returns the further columns kept of a row.
        price_divisor: Prices are divided by this.
        numbers_are_text: The format has only text (CSV), so a price has to be parsed.
        view: Rearranges the cells before anything reads them; the row itself stays as it was found.
    """

    columns: Mapping[str, str]
    attributes: Callable[[Values], Mapping[str, str]] = no_facts
    extra: Callable[[Values], Mapping[str, Scalar]] = no_facts
    price_divisor: float = 1.0
    numbers_are_text: bool = False
    view: Callable[[Values], Values] = as_found

    def check(self, raw: RawRow) -> CheckedRow:
        """Return the product of a row, or every problem that the row alone can show."""
        if raw.problem:
            return CheckedRow(
                raw, problems=[raw.problem], product_id=_named(raw.values.get(self.columns["product_id"]))
            )
        problems: list[str] = []
        values = self.view(raw.values)
        texts = {name: self._text(name, values, problems) for name in TEXT_FIELDS}
        price = self._collect(self._price, values, problems)
        attributes = self._collect(self.attributes, values, problems) or {}
        extra = self._collect(self.extra, values, problems) or {}
        vector = values.get(self.columns["vector"]) if "vector" in self.columns else None
        named = _named(values.get(self.columns["product_id"]))
        if problems:
            return CheckedRow(raw, vector=vector, problems=problems, product_id=named)
        product = Product(**texts, price=price, attributes=attributes, extra=extra)
        return CheckedRow(raw, product, vector, product_id=named)

    def _text(self, name: str, values: Values, problems: list[str]) -> str:
        column = self.columns.get(name)
        text = values.get(column) if column is not None else None
        if text is None:
            if name in REQUIRED_FIELDS:
                problems.append(f"{column}: {MISSING}")
            return ""
        if not isinstance(text, str):
            problems.append(f"{column}: expected text, got {type_name(text)}")
            return ""
        if name in REQUIRED_FIELDS and not text.strip():
            problems.append(f"{column}: {EMPTY}")
        return text if name == "product_id" else text.strip()

    def _price(self, values: Values) -> float | None:
        column = self.columns.get("price")
        if column is None or values.get(column) is None:
            return None
        price = _number(column, values[column], parse=self.numbers_are_text)
        if price is None:
            return None
        if not math.isfinite(price):
            raise RowProblem(f"{column}: not a finite number")
        if price < 0:
            raise RowProblem(f"{column}: negative")
        return price / self.price_divisor

    @staticmethod
    def _collect(read: Callable[[Values], Any], values: Values, problems: list[str]) -> Any:  # noqa: ANN401 - read's own type
        try:
            return read(values)
        except RowProblem as problem:
            problems.append(str(problem))
            return None


def _named(cell: object) -> str:
    if isinstance(cell, int) and (isinstance(cell, bool) or cell.bit_length() > LONGEST_INTEGER_BITS):
        return ""
    return str(cell) if isinstance(cell, str | int) else ""


def _number(column: str, value: object, *, parse: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise RowProblem(f"{column}: expected a number, got {type_name(value)}")
    if not isinstance(value, str):
        return _as_float(value)
    if not parse:
        raise RowProblem(f"{column}: expected a number, got text")
    if not value.strip():
        return None
    try:
        # float() would also read 1_000, which no price list means.
        return float(value.replace("_", "?"))
    except ValueError:
        raise RowProblem(f"{column}: not a number") from None


def _as_float(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1.8e308
        return math.inf


# --- attributes and extras --------------------------------------------------------------------------------------------


def attribute_pairs(column: str, value: object) -> dict[str, str]:
    """Return the attributes in one cell: a mapping, a list of pairs (Arrow's map type), or a JSON object as text.

    Args:
        column: Named in the problem.
        value: The cell; ``None`` and ``""`` are no attributes.

    Raises:
        RowProblem: If it is something else.
    """
    if isinstance(value, str):
        value = _json_object(column, value) if value.strip() else None
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return attribute_texts(value)
    if isinstance(value, Sequence) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return attribute_texts({str(name): fact for name, fact in value})
    raise RowProblem(f"{column}: expected attributes (a mapping of names to values), got {type_name(value)}")


def attribute_texts(values: Values) -> dict[str, str]:
    """Return ``values`` as texts (6.0 is "6", True is "yes", lists joined by commas); nulls and blanks are left out."""
    texts = {str(name): _attribute_text(str(name), value) for name, value in values.items()}
    return {name: text for name, text in texts.items() if text}


def plain_scalar(column: str, value: object) -> Scalar:
    """Return a cell as a value to keep: dates in ISO form, decimals as floats, NaN (many writers' null) as ``None``.

    Raises:
        RowProblem: If it is no scalar, or an integer beyond every float.
    """
    match value:
        case int() if value.bit_length() > LONGEST_INTEGER_BITS:
            raise RowProblem(f"{column}: an integer of {value.bit_length()} bits, at most {LONGEST_INTEGER_BITS} kept")
        case float() if not math.isfinite(value):
            return None
        case None | str() | bool() | int() | float():
            return value
        case Decimal():
            return plain_scalar(column, float(value))
        case date():  # and datetime
            return value.isoformat()
    raise RowProblem(f"{column}: expected a single value to keep, got {type_name(value)}")


def type_name(value: object) -> str:
    """Return the type of a cell in words that do not presume Python."""
    names = {
        str: "text",
        bool: "true/false",
        int: "an integer",
        float: "a decimal number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _json_object(column: str, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise RowProblem(f"{column}: expected attributes as a JSON object, got other text")
    return parsed


def _attribute_text(name: str, value: object, *, level: int = 0) -> str:
    if isinstance(value, str):  # nearly all of them
        return value.strip()
    if isinstance(value, list | tuple):
        if level == NESTED:
            raise RowProblem(f"{name}: lists nested more than {NESTED} deep")
        return ", ".join(text for entry in value if (text := _attribute_text(name, entry, level=level + 1)))
    return scalar_text(plain_scalar(name, value)).strip()
