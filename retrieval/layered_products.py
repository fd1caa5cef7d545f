"""The products of a version and those that came since, as one table of rows; dead rows are never let through.

Rows [0, n) are the version's, rows [n, n + m) the delta's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from indexing.errors import InvalidQuery
from indexing.types import BoolVector, IntVector
from retrieval.filters import Condition, Filter, Filters, conjunctions
from retrieval.names import Brands
from retrieval.products import ProductTable
from retrieval.records import Product

_GAP = 32  # bits left free between two ranks of the version's products: room for 2**32 newer ids


class LayeredProducts:
    """Implements `Products` over both; immutable, safe to read from several threads."""

    def __init__(self, base: ProductTable, dead: BoolVector, delta: ProductTable) -> None:
        """Layer ``delta`` over ``base``.

        Args:
            base: The version's products, n rows.
            dead: Rows of it that are no longer there, bool [n]: deleted, or replaced by a row of ``delta``.
            delta: The newer products, all of them there.
        """
        self._base, self._dead, self._delta = base, dead, delta
        self.tie_rank = _ranks(base, delta)
        columns = dict.fromkeys([*base.extra_columns, *delta.extra_columns])
        self._blank = columns if columns.keys() != set(base.extra_columns) & set(delta.extra_columns) else {}

    @property
    def count(self) -> int:
        """Number of rows n + m, dead ones included."""
        return self._base.count + self._delta.count

    @property
    def there(self) -> IntVector:
        """The rows whose products can be found, ascending, int64 [p]."""
        return np.concatenate((np.flatnonzero(~self._dead), np.arange(self._base.count, self.count)))

    @cached_property
    def brands(self) -> Brands:
        """Makers of both; one whose last product is gone stays."""
        return self._base.brands | self._delta.brands

    def __contains__(self, product_id: object) -> bool:
        """Say whether there is a product of this id."""
        if product_id in self._delta:
            return True
        return product_id in self._base and not self._dead[self._base.row_of(str(product_id))]

    def product_id(self, row: int) -> str:
        """Return the id of a row."""
        n = self._base.count
        return self._base.product_id(row) if row < n else self._delta.product_id(row - n)

    def row_of(self, product_id: str) -> int:
        """Return the row of a product.

        Raises:
            InvalidQuery: If there is none of this id.
        """
        if product_id not in self:
            raise InvalidQuery(f"there is no product {product_id[:100]!r} among the {len(self.there)} of this index")
        if product_id in self._delta:
            return self._base.count + self._delta.row_of(product_id)
        return self._base.row_of(product_id)

    def get(self, row: int) -> Product:
        """Return the product of a row, every extra column of both included (``None`` where it has no value).

        Raises:
            IndexError: If ``row`` is not in [0, n + m).
        """
        self._require_row(row)
        n = self._base.count
        product = self._base.get(row) if row < n else self._delta.get(row - n)
        return replace(product, extra={**self._blank, **product.extra}) if self._blank else product

    def eligible(self, filters: Filters | None) -> BoolVector:
        """Say which rows a filter lets through; a column that one of the two does not have matches nothing there.

        Returns:
            bool [n + m].

        Raises:
            InvalidQuery: As `ProductTable.eligible`.
        """
        wanted = conjunctions(filters)
        for conjunction in wanted:
            for name, sign, value in conjunction:
                if not (self._base.has_values(name) or self._delta.has_values(name)):
                    self._base.passing([[(name, sign, value)]])  # raises when there is no such column
        mask = np.concatenate([_passing(part, wanted) for part in (self._base, self._delta)])
        mask[: self._base.count] &= ~self._dead
        return mask

    def conditions(self, filters: Filters | None, row: int) -> list[list[Condition]]:
        """Hold every condition of a filter against one product; see `ProductTable.conditions`.

        Raises:
            InvalidQuery: As `eligible`.
            IndexError: If ``row`` is not in [0, n + m).
        """
        self._require_row(row)
        return [[self._condition(part, row) for part in conjunction] for conjunction in conjunctions(filters)]

    def _condition(self, wanted: Filter, row: int) -> Condition:
        n = self._base.count
        own, other, own_row = (self._base, self._delta, row) if row < n else (self._delta, self._base, row - n)
        if other.has_values(wanted[0]) and not own.has_values(wanted[0]):
            other.passing([[wanted]])  # raises when it cannot be compared
            return Condition(*wanted, found=None, holds=False)
        ((condition,),) = own.conditions([wanted], own_row)
        return condition

    def _require_row(self, row: int) -> None:
        if not 0 <= row < self.count:
            raise IndexError(f"row must be in [0, {self.count}), got {row}")


def _passing(part: ProductTable, wanted: Sequence[Sequence[Filter]]) -> BoolVector:
    possible = [conjunction for conjunction in wanted if all(part.has_values(name) for name, _, _ in conjunction)]
    return np.zeros(part.count, dtype=np.bool_) if wanted and not possible else part.passing(possible)


def _ranks(base: ProductTable, delta: ProductTable) -> IntVector:
    """Rank every row by its id without sorting the version's again: newer ids go into the gaps between its ranks."""
    before = np.array([base.ids_before(product_id) for product_id in delta.product_ids], dtype=np.int64)
    return np.concatenate((base.tie_rank << _GAP, ((before - 1) << _GAP) + 1 + delta.tie_rank))
