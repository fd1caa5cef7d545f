"""Products that come after a version was built: held to the contract of a catalogue's rows, in a table of their own."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from indexing.errors import SourceDataError
from indexing.types import BoolVector
from retrieval.filters import NUMBER, TEXT, YES_NO
from retrieval.product_file import CORE, column_type, core_columns, typed_column, value_kind
from retrieval.products import ProductTable
from retrieval.readers.rows import (
    DUPLICATE,
    LONGEST_INTEGER_BITS,
    TEXT_FIELDS,
    RawRow,
    RowContract,
    Values,
    attribute_pairs,
    plain_scalar,
)
from retrieval.records import Product, Scalar
from retrieval.text import scalar_text

_SHOWN = 10  # products named in a message: enough to find the cause, few enough to read
_INT64 = range(-(2**63), 2**63)
_KIND_OF = {pa.string(): TEXT, pa.bool_(): YES_NO, pa.int64(): NUMBER, pa.float64(): NUMBER}

_log = logging.getLogger(__name__)


def _attributes(values: Values) -> Mapping[str, str]:
    return attribute_pairs("attributes", values["attributes"])


def _extra(values: Values) -> Mapping[str, Scalar]:
    return {name: plain_scalar(name, value) for name, value in values["extra"].items()}


_CONTRACT = RowContract({name: name for name in (*TEXT_FIELDS, "price")}, attributes=_attributes, extra=_extra)


def checked(products: Sequence[Product]) -> list[Product]:
    """Return products as a reader would: texts trimmed, empty attributes left out, numbers that are none as ``None``.

    Raises:
        SourceDataError: If some break the contract of a catalogue's rows, hold text that is not valid Unicode, have an
            extra column with the name of a field, or share an id; the message names their ids. All are looked at.
        TypeError: If one is no `Product`.
    """
    found, problems = list[Product](), dict[str, list[str]]()
    seen: set[str] = set()
    for place, product in enumerate(products):
        if not isinstance(product, Product):
            raise TypeError(f"expected products, got {type(product).__name__} at position {place}")
        taken, wrong = _taken(product)
        if isinstance(product.product_id, str):  # what is no text may not even be hashable
            if product.product_id in seen:
                wrong = [*wrong, f"product_id: {DUPLICATE}"]
            seen.add(product.product_id)
        if wrong or taken is None:
            problems[_called(product.product_id)] = wrong
        else:
            found.append(taken)
    _refuse(problems, len(products))
    return found


def _called(product_id: object) -> str:
    """Return what a product calls itself, for a message; Python does not write every number."""
    is_large = isinstance(product_id, int) and product_id.bit_length() > LONGEST_INTEGER_BITS
    return "an integer" if is_large else repr(product_id)


def _taken(product: Product) -> tuple[Product | None, list[str]]:
    """Hold one product to the contract: the product as it is taken, or what is wrong with it."""
    row = _CONTRACT.check(RawRow(Path(), 0, {name: getattr(product, name) for name in Product.__dataclass_fields__}))
    if row.product is None:
        return None, row.problems
    reserved = [name for name in row.product.extra if name in CORE.names or name.startswith("attributes.")]
    problems = [f"{name}: an extra column may not have the name of a field" for name in reserved]
    try:
        json.dumps(asdict(row.product), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        problems.append(f"{error.object[error.start : error.end]!a} is not valid Unicode")
    return row.product, problems


def fitted(products: Sequence[Product], kinds: Mapping[str, str], *, lenient: bool = False) -> list[Product]:
    """Bring the extra values of products to the kinds that their columns have.

    As in a product file, a column of texts takes any value as text. A column of numbers takes numbers and a yes/no
    column yes/no values: what a column is compared with must not depend on when a product came. A new column gets its
    kind from these products.

    Args:
        products: As `checked` returns them.
        kinds: Column -> `TEXT`, `NUMBER` or `YES_NO`, for the columns that hold a value already.
        lenient: For products that were taken one after the other, or under another version: numbers stay numbers
            whatever their sizes, as they did then, and values that do not fit are dropped, and logged, instead of
            refusing the products.

    Raises:
        SourceDataError: Naming the products and the columns.
    """
    new: dict[str, set[str]] = {}
    for product in products:
        for name, value in product.extra.items():
            if name not in kinds:
                new.setdefault(name, set()).add(value_kind(value))
    known = {**{name: _kind_of(held, lenient=lenient) for name, held in new.items()}, **kinds}
    fitting, problems = list[Product](), dict[str, list[str]]()
    for product in products:
        extra, wrong = _fit(product.extra, known)
        if wrong:
            problems[repr(product.product_id)] = wrong
        fitting.append(replace(product, extra=extra))
    if lenient and problems:
        _log.warning("%d products have values that their columns cannot hold; left out: %s", len(problems), problems)
    elif problems:
        _refuse(problems, len(products))
    return fitting


def _kind_of(held: set[str], *, lenient: bool) -> str:
    are_numbers = held - {"nothing"} <= {"small integer", "integer", "decimal"}
    return NUMBER if lenient and are_numbers and held - {"nothing"} else _KIND_OF[column_type(held)]


def _fit(extra: Mapping[str, Scalar], kinds: Mapping[str, str]) -> tuple[dict[str, Scalar], list[str]]:
    fitting, wrong = dict[str, Scalar](), list[str]()
    for name, value in extra.items():
        kind = kinds[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or (kind == YES_NO and isinstance(value, bool)):
            fitting[name] = value
        elif kind == TEXT:
            fitting[name] = scalar_text(value)
        elif kind == NUMBER and is_number and (isinstance(value, float) or value in _INT64):
            fitting[name] = value
        else:
            fitting[name] = None
            wrong.append(f"{name}: the column holds {kind}, got {value!r}; a build would have to change its kind")
    return fitting, wrong


class DeltaTable:
    """The products that came after a version, one row each, in the order in which they came; immutable."""

    def __init__(self, table: pa.Table) -> None:
        """Take a table; begin with `empty`."""
        self.products = ProductTable(table)

    @classmethod
    def empty(cls) -> "DeltaTable":
        """Return a table of no products."""
        return cls(CORE.empty_table())

    def adding(self, products: Sequence[Product]) -> "DeltaTable":
        """Return these products and further ones after them, `fitted` to the columns; ids must be new to it.

        A column that had whole numbers and gets others becomes one of decimals.
        """
        columns = core_columns(products)
        batch = {name: pa.array(columns[name], CORE.field(name).type) for name in CORE.names}
        for name in dict.fromkeys(name for product in products for name in product.extra):
            values = [product.extra.get(name) for product in products]
            held = {value_kind(value) for value in values} - {"nothing"}
            if held:
                batch[name] = typed_column(values, _type_of(held))
        newer, older = pa.table(batch), self.products.table
        for name in set(newer.column_names) & set(older.column_names):
            if newer[name].type != older[name].type:
                newer, older = _as_decimals(newer, name), _as_decimals(older, name)
        return DeltaTable(pa.concat_tables([older, newer], promote_options="default").combine_chunks())

    def keeping(self, kept: BoolVector) -> "DeltaTable":
        """Return the products where ``kept`` (bool [m]) holds, in their order; a column that is left empty goes."""
        table = self.products.table.filter(pa.array(kept)).combine_chunks()
        empty = [name for name in self.products.extra_columns if table[name].null_count == len(table)]
        return DeltaTable(table.drop_columns(empty))


def _type_of(held: set[str]) -> pa.DataType:
    """Return the type for fitted values of one kind; large whole numbers beside decimals lose their last digits."""
    return pa.float64() if "decimal" in held else column_type(held)


def _as_decimals(table: pa.Table, name: str) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, name, pc.cast(table[name], pa.float64(), safe=False))


def _refuse(problems: Mapping[str, Sequence[str]], count: int) -> None:
    if problems:
        shown = "; ".join(f"{name} ({', '.join(wrong)})" for name, wrong in list(problems.items())[:_SHOWN])
        rest = "; ..." if len(problems) > _SHOWN else ""
        raise SourceDataError(
            f"{len(problems)} of {count} products break the catalogue's rules and none was taken: {shown}{rest}; "
            "correct them, or leave them out"
        )
