"""A version's first stage and what changed since, as one: dead rows left out, newer products beside it. Immutable.

Every change makes new layers over the same version. What it costs grows with the products that came since, and with
the catalogue only by copying two arrays of nine bytes a row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from indexing.layered import LayeredIndex, LayeredVectors
from indexing.types import BoolVector, FloatMatrix, Vectors
from retrieval.delta_products import DeltaTable
from retrieval.layered_lexical import DeltaPostings, LayeredLexicalIndex
from retrieval.layered_products import LayeredProducts
from retrieval.products import Products
from retrieval.records import Product
from retrieval.retriever import Retriever
from retrieval.text import TextTemplate
from shortlist.first_stage import FirstStage


@dataclass(frozen=True, slots=True)
class Layers:
    """What the sources of a generation are made from.

    Attributes:
        base: The version's own first stage, n rows.
        template: How its products become text.
        dead: Rows of it that are gone, bool [n]: deleted, or replaced by a newer product.
        table: The m newer products, all of them there, in the order in which they came.
        keys: The key of each one's vector.
        matrix: Their vectors, float32 [m, d].
        postings: The counts of their words.
    """

    base: FirstStage
    template: TextTemplate
    dead: BoolVector
    table: DeltaTable
    keys: tuple[bytes, ...]
    matrix: FloatMatrix
    postings: DeltaPostings

    @classmethod
    def over(cls, base: FirstStage, template: TextTemplate) -> Self:
        """Return a version to which nothing has happened yet."""
        return cls(
            base=base,
            template=template,
            dead=np.zeros(base.products.count, dtype=np.bool_),
            table=DeltaTable.empty(),
            keys=(),
            matrix=np.empty((0, base.vectors.dim), dtype=np.float32),
            postings=DeltaPostings.empty(),
        )

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of every extra column that has a value, in the version or in what came since."""
        return {**self.table.products.kinds, **self.base.products.kinds}

    @property
    def is_bare(self) -> bool:
        """Whether nothing has changed: the version alone answers."""
        return not (self.keys or self.dead.any())

    def text(self, product: Product) -> str:
        """Return the text of a product as a build would render it: columns that it lacks are empty."""
        columns = dict.fromkeys([*self.base.products.extra_columns, *self.table.products.extra_columns])
        return self.template.render(replace(product, extra={**columns, **product.extra}))

    def upserting(self, products: Sequence[Product], keys: Sequence[bytes], matrix: FloatMatrix) -> Self:
        """Return the layers after products came, or replaced those of the same id.

        Args:
            products: As `retrieval.delta_products.fitted` returns them for `kinds`; ids distinct.
            keys: The key of each one's vector.
            matrix: Their vectors, float32 [len(products), d].
        """
        left = self.deleting({product.product_id for product in products})
        return replace(
            left,
            table=left.table.adding(products),
            keys=(*left.keys, *keys),
            matrix=np.concatenate((left.matrix, matrix)),
            postings=left.postings.adding([self.text(product) for product in products]),
        )

    def deleting(self, product_ids: Collection[str]) -> Self:
        """Return the layers after products went; ids that are not there change nothing."""
        dead = self.dead.copy()
        dead[[self.base.products.row_of(pid) for pid in product_ids if pid in self.base.products]] = True
        newer = self.table.products
        gone = {newer.row_of(product_id) for product_id in product_ids if product_id in newer}
        if not gone:
            return replace(self, dead=dead)
        kept = np.ones(newer.count, dtype=np.bool_)
        kept[list(gone)] = False
        return replace(
            self,
            dead=dead,
            table=self.table.keeping(kept),
            keys=tuple(key for key, keep in zip(self.keys, kept, strict=True) if keep),
            matrix=self.matrix[kept],
            postings=self.postings.keeping(kept),
        )

    def products(self) -> Products:
        """Return all rows' products."""
        if self.is_bare:
            return self.base.products
        return LayeredProducts(self.base.products, self.dead, self.table.products)

    def vectors(self) -> Vectors:
        """Return all rows' vectors."""
        return self.base.vectors if self.is_bare else LayeredVectors(self.base.vectors, self.matrix)

    def retriever(self, before: Retriever, products: Products) -> Retriever:
        """Return a first stage over these layers, with the encoder and the fusion of one over the same version."""
        if self.is_bare:
            return before.using(dense=self.base.dense, lexical=self.base.lexical, products=products)
        alive = max(1, int(np.count_nonzero(~self.dead)))
        dense = LayeredIndex(
            self.base.dense.widened(len(self.dead) / alive), self.dead, self.matrix, tie_rank=products.tie_rank
        )
        lexical = LayeredLexicalIndex(self.base.lexical, self.dead, self.postings)
        return before.using(dense=dense, lexical=lexical, products=products)
