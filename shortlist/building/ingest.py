"""First pass over a catalogue: keep the product fields, render the texts, name each by its key, count its tokens.

Products go to disk as they come; what stays in memory is 16 bytes a product.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexing.keys import KEY, KEY_BYTES
from indexing.types import FloatMatrix
from retrieval.catalog import Catalog, ProductBatch
from retrieval.config import EncoderConfig
from retrieval.products import ProductTable
from retrieval.records import Product
from retrieval.text import TextTemplate, text_key
from retrieval.tokens import TokenCounter, TokenCounts
from retrieval.tower import read_settings


@dataclass(slots=True)
class Ingested:
    """What the first pass leaves.

    Attributes:
        collected: The keys of the products' vectors, in row order: of the text, or of the vector that came with it.
        tokens: What the encoder's tokenizer counted; zeros without an encoder.
        brought: Whether vectors came with the catalogue.
        deleted: Ids of products in the catalogue that were deleted from the bundle.
    """

    collected: bytearray = field(default_factory=bytearray)
    tokens: TokenCounts = field(default_factory=TokenCounts)
    brought: bool = False
    deleted: list[str] = field(default_factory=list)

    @property
    def keys(self) -> npt.NDArray[np.void]:
        """The keys as an array of raw bytes [n]."""
        return np.frombuffer(self.collected, dtype=KEY)


def ingest(
    catalog: Catalog,
    template: TextTemplate,
    *,
    counter: TokenCounter | None,
    table: Path,
    quarantine: Path,
    deleted: Collection[str],
    restore: bool,
    store_brought: Callable[[list[bytes], FloatMatrix], None],
    advance: Callable[[int], None],
) -> Ingested:
    """Stream the catalogue into ``table``.

    Args:
        catalog: Where products come from.
        template: Turns a product into text.
        counter: Counts tokens of the texts that the encoder will read; ``None`` without an encoder.
        table: Parquet file to write.
        quarantine: Where rows that break the contract go, if the catalogue's configuration says so.
        deleted: Ids of products that were deleted from the bundle and not upserted since.
        restore: Take them all the same; otherwise they are left out.
        store_brought: Called with keys and vectors of every batch that has vectors.
        advance: Told the number of products of every batch.

    Raises:
        SourceDataError: Rows that break the contract, or no product at all.
    """
    ingested = Ingested()

    def batches() -> Iterator[tuple[Product, ...]]:
        for batch in catalog.products(quarantine=quarantine):
            ingested.deleted += [p.product_id for p in batch.products if p.product_id in deleted]
            kept = batch if restore else without(batch, deleted)
            _note(ingested, kept, template, counter, store_brought)
            advance(len(batch.products))
            yield kept.products

    ProductTable.write(table, batches())
    return ingested


def without(batch: ProductBatch, deleted: Collection[str]) -> ProductBatch:
    """Return a batch without the products of these ids; it may come out empty."""
    kept = [place for place, product in enumerate(batch.products) if product.product_id not in deleted]
    if len(kept) == len(batch.products):
        return batch
    vectors = None if batch.vectors is None else np.ascontiguousarray(batch.vectors[kept])
    return ProductBatch(tuple(batch.products[place] for place in kept), vectors)


def _note(
    ingested: Ingested,
    batch: ProductBatch,
    template: TextTemplate,
    counter: TokenCounter | None,
    store_brought: Callable[[list[bytes], FloatMatrix], None],
) -> None:
    if batch.vectors is not None:
        keys = [hashlib.sha256(vector.tobytes()).digest()[:KEY_BYTES] for vector in batch.vectors]
        store_brought(keys, batch.vectors)
        ingested.brought = True
    else:
        texts = [template.render(product) for product in batch.products]
        keys = [text_key(text) for text in texts]
        if counter is not None:
            ingested.tokens += counter.count(texts)
    ingested.collected += b"".join(keys)


def product_counter(folder: Path | None, encoder: EncoderConfig) -> TokenCounter | None:
    """Return a counter of the tokens that the product tower will read; ``None`` without an encoder."""
    if folder is None:
        return None
    settings = read_settings(folder, encoder)
    return TokenCounter(folder, prompt=settings.product_prompt, max_tokens=settings.product_max_tokens)
