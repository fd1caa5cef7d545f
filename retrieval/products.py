"""The products of one index: their fields for display, their ids, and which of them a filter lets through.

One Parquet file with page checksums, rows in the order of the index. Columns: the fields of `Product`, then the extra
columns, each of one type. Empty brand, category and description are stored as null: the unknown matches no filter.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound, InvalidQuery
from indexing.storage import FileDigest
from indexing.types import BoolVector, IntVector
from retrieval.attribute_columns import AttributeColumn
from retrieval.filters import NUMBER, TEXT, Column, Condition, Filter, Filters, conjunctions, kind_of, shown
from retrieval.names import Brands
from retrieval.predicates import Predicates
from retrieval.product_file import CORE, EXTRA_TYPES, FORMAT, FORMAT_KEY, write_products
from retrieval.records import Product
from retrieval.suggestions import did_you_mean, listed

_ATTRIBUTE = "attributes."
_KEPT = 64  # columns kept ready to compare: more than a shop filters on, and no more memory than the table itself


class Products(Protocol):
    """What the rows of a generation are: a version's products, or those with what changed since."""

    @property
    def count(self) -> int:
        """Number of rows, those of products that are no longer there included."""

    @property
    def there(self) -> IntVector:
        """The rows whose products can be found, ascending, int64 [p]."""

    @property
    def tie_rank(self) -> IntVector:
        """Orders rows as their product_ids sort, int64 [count]."""

    @property
    def brands(self) -> Brands:
        """Their makers; one whose last product is gone may stay."""

    def __contains__(self, product_id: object) -> bool:
        """Say whether there is a product of this id."""

    def product_id(self, row: int) -> str:
        """Return the id of a row."""

    def row_of(self, product_id: str) -> int:
        """Return the row of a product, or raise InvalidQuery."""

    def get(self, row: int) -> Product:
        """Return the product of a row."""

    def eligible(self, filters: Filters | None) -> BoolVector:
        """Say which rows a filter lets through, bool [count]."""

    def conditions(self, filters: Filters | None, row: int) -> list[list[Condition]]:
        """Hold every condition of a filter against one product."""


class ProductTable:
    """The products of an index, in memory; reading it from several threads is safe."""

    def __init__(self, table: pa.Table) -> None:
        """Take a checked table; use `open`."""
        self.table = table
        self._fields = [table[name] for name in CORE.names if name != "attributes"]
        self._attributes = AttributeColumn(table["attributes"])
        self._extra = {name: table[name] for name in table.column_names[len(CORE) :]}
        self._comparable: dict[tuple[str, str], Column] = {}
        self._making = Lock()
        self.product_ids: list[str] = table["product_id"].to_pylist()
        self._rows = {product_id: row for row, product_id in enumerate(self.product_ids)}
        self._order, self.tie_rank = _ranks(table["product_id"])
        self._predicates = Predicates(len(self.product_ids), self._matching)

    @staticmethod
    def write(path: Path, batches: Iterable[Sequence[Product]]) -> FileDigest:
        """Write a stream of products; see `write_products`."""
        return write_products(path, batches)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file that `write` wrote, checksums and structure verified.

        Raises:
            ArtifactNotFound: If there is no such file.
            ArtifactIncompatible: If it is of another format version.
            ArtifactCorrupt: If it does not read, a checksum is wrong, or a product_id is not unique or missing.
        """
        if not path.is_file():
            raise ArtifactNotFound(f"there is no product file {path}; build the bundle again")
        try:
            with pq.ParquetFile(path, page_checksum_verification=True, arrow_extensions_enabled=False) as file:
                table = file.read()
            table.validate(full=True)
            _check_schema(table.schema, path)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last from a column's name
            raise ArtifactCorrupt(f"{path} does not read as Parquet: {error}; build the bundle again") from error
        opened = cls(table)
        missing = sum(table[name].null_count for name in ("product_id", "title", "attributes"))
        if missing or len(opened._rows) != opened.count:
            raise ArtifactCorrupt(
                f"expected {opened.count} rows with product_ids of their own and nothing missing in {path}, found "
                f"{len(opened._rows)} ids and {missing} nulls; build the bundle again"
            )
        return opened

    @property
    def count(self) -> int:
        """Number of products n."""
        return len(self.product_ids)

    @property
    def there(self) -> IntVector:
        """All rows: every product of a table can be found."""
        return np.arange(self.count, dtype=np.int64)

    @cached_property
    def brands(self) -> Brands:
        """Their makers."""
        return Brands.of(pc.unique(self.table["brand"].drop_null()).to_pylist())

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Kind of every extra column that has a value (`TEXT`, `NUMBER` or `YES_NO`)."""
        kept = {name: column for name, column in self._extra.items() if column.null_count < self.count}
        return {name: Column.of(column.slice(0, 1)).kind for name, column in kept.items()}

    @property
    def extra_columns(self) -> list[str]:
        """Names of the extra columns, those without any value included."""
        return list(self._extra)

    def __contains__(self, product_id: object) -> bool:
        """Say whether there is a product of this id."""
        return product_id in self._rows

    def product_id(self, row: int) -> str:
        """Return the id of a row."""
        return self.product_ids[row]

    def ids_before(self, product_id: str) -> int:
        """Return how many of the ids sort before this one."""
        return bisect_left(self._order, product_id, key=lambda row: self.product_ids[row])

    def row_of(self, product_id: str) -> int:
        """Return the row of a product.

        Raises:
            InvalidQuery: If there is none of this id.
        """
        row = self._rows.get(product_id)
        if row is None:
            raise InvalidQuery(f"there is no product {product_id[:100]!r} among the {self.count} of this index")
        return row

    def get(self, row: int) -> Product:
        """Return the product of a row, every extra column included (``None`` where it has no value).

        Raises:
            IndexError: If ``row`` is not in [0, n).
        """
        self._require_row(row)
        product_id, title, *optional, price = (column[row].as_py() for column in self._fields)
        description, brand, category = (text or "" for text in optional)
        extra = {name: column[row].as_py() for name, column in self._extra.items()}
        return Product(product_id, title, description, brand, category, self._attributes.get(row), price, extra)

    def eligible(self, filters: Filters | None) -> BoolVector:
        """Say which rows a filter lets through.

        Args:
            filters: As in `retrieval.filters`, on ``product_id, title, description, brand, category, price``, an extra
                column or ``attributes.<name>``. An attribute is text; compared with a number (or a yes/no value) it is
                read as one, and matches nothing where it is none. ``None`` or an empty list lets everything through.

        Returns:
            bool [n], read-only: filters asked again are not worked out again.

        Raises:
            InvalidQuery: If the filter has another shape, a column or operator is not known, or a value is of another
                type than its column.
        """
        return self.passing(conjunctions(filters))

    def passing(self, wanted: Sequence[Sequence[Filter]]) -> BoolVector:
        """Say which rows fulfil one of these conjunctions (all rows when there is none), as `eligible`; read-only."""
        return self._predicates.passing(wanted)

    def _matching(self, condition: Filter) -> BoolVector:
        """Say where one condition holds, bool [n]."""
        name, sign, value = condition
        return self._column(name, value).matches(sign, value)

    def conditions(self, filters: Filters | None, row: int) -> list[list[Condition]]:
        """Hold every condition of a filter against one product, in the form of `conjunctions`: an OR of ANDs.

        `eligible` lets the row through exactly when there is no conjunction, or all conditions of one hold.

        Raises:
            InvalidQuery: As `eligible`.
            IndexError: If ``row`` is not in [0, n).
        """
        self._require_row(row)
        return [[self._condition(*part, row) for part in conjunction] for conjunction in conjunctions(filters)]

    def _condition(self, name: str, sign: str, value: Any, row: int) -> Condition:  # noqa: ANN401 - as `_column`
        holds = bool(self._column(name, value).matches(sign, value)[row])
        found = self._made(name, "", lambda: Column.of(self._values(name))).value_at(row)
        return Condition(name, sign, value, found, holds)

    def _require_row(self, row: int) -> None:
        if not 0 <= row < self.count:
            raise IndexError(f"row must be in [0, {self.count}), got {row}")

    def has_values(self, name: str) -> bool:
        """Say whether a filter's column exists and some product has a value in it."""
        if name in self._attribute_names:
            return True
        is_column = name in self._extra or (name in CORE.names and name != "attributes")
        return is_column and bool(self.table[name].null_count < self.count)

    def _column(self, name: str, value: Any) -> Column:  # noqa: ANN401 - a checked value or a list of them
        """Return the column in the kind that ``value`` asks for."""
        kind = kind_of(value)
        column = self._made(name, "", lambda: Column.of(self._values(name)))
        if kind in ("", column.kind):
            return column
        if not name.startswith(_ATTRIBUTE):
            hint = f'; in a filter that is typed, quote it: {name}="..."' if column.kind == TEXT else ""
            raise InvalidQuery(f"column {name!r} holds {column.kind}, got {shown(value)}{hint}")
        return self._made(name, kind, column.as_numbers if kind == NUMBER else column.as_yes_no)

    def _made(self, name: str, kind: str, make: Callable[[], Column]) -> Column:
        """Return a column made before, or make and keep it; the oldest is dropped when there are many."""
        with self._making:
            column = self._comparable.get((name, kind))
            if column is None:
                if len(self._comparable) >= _KEPT:
                    del self._comparable[next(iter(self._comparable))]
                column = self._comparable[name, kind] = make()
            return column

    def _values(self, name: str) -> pa.ChunkedArray:
        """Return the Arrow column that a filter names."""
        if name in self._extra or (name in CORE.names and name != "attributes"):
            return self.table[name]
        if name in self._attribute_names:
            return pc.map_lookup(self.table["attributes"], name.removeprefix(_ATTRIBUTE), "first")
        choices = [column for column in self.table.column_names if column != "attributes"]
        choices += self._attribute_names
        meant = _ATTRIBUTE + name if _ATTRIBUTE + name in self._attribute_names else name
        raise InvalidQuery(f"there is no column {name!r} to filter on {listed(choices)}{did_you_mean(meant, choices)}")

    @cached_property
    def _attribute_names(self) -> dict[str, None]:
        """Every attribute that some product has, sorted, as a filter names it."""
        names: set[str] = set()
        for chunk in self.table["attributes"].chunks:
            names.update(pc.unique(chunk.keys).to_pylist())
        return dict.fromkeys(_ATTRIBUTE + name for name in sorted(names))


def _ranks(product_ids: pa.ChunkedArray) -> tuple[IntVector, IntVector]:
    """Rows in the order of their ids (by code point, as Python sorts), and the rank of each row, both int64 [n]."""
    order = np.asarray(pc.sort_indices(product_ids)).astype(np.int64)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return order, ranks


def _check_schema(schema: pa.Schema, path: Path) -> None:
    version = (schema.metadata or {}).get(FORMAT_KEY, b"none").decode(errors="replace")
    if version != str(FORMAT):
        raise ArtifactIncompatible(
            f"expected product format {FORMAT} in {path}, found {version}; build the bundle again"
        )
    extra = [schema.field(place) for place in range(len(CORE), len(schema))]
    once = len(set(schema.names)) == len(schema)
    if list(schema)[: len(CORE)] != list(CORE) or any(field.type not in EXTRA_TYPES for field in extra) or not once:
        raise ArtifactCorrupt(
            f"expected the columns {', '.join(CORE.names)} and plain extra ones in {path}, found {schema}"
        )
