"""Where the vectors of newer products come from: stored ones first, by the text, and the encoder for the rest."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.errors import ConfigError, VectorError
from indexing.keys import KEY_BYTES
from indexing.types import FloatMatrix, FloatVector, Vectors
from indexing.vectors import VectorStore, check_vectors
from retrieval.products import Products
from retrieval.records import Product
from retrieval.text import text_key
from shortlist.living.layers import Layers
from shortlist.product_vectors import EncodeProducts, encode_checked

_SHOWN = 10  # products named in a message


@dataclass(frozen=True, slots=True)
class Resolved:
    """The vectors of some products.

    Attributes:
        keys: The key of each one's vector.
        matrix: float32 [n, d].
        encoded: How many texts had to be encoded.
    """

    keys: tuple[bytes, ...]
    matrix: FloatMatrix
    encoded: int


@dataclass(frozen=True, slots=True)
class VectorSource:
    """How products of one version get their vectors.

    Attributes:
        tower: Digest of the product side of the version's fingerprint.
        brought: Whether the version's vectors came with its catalogue, and are keyed by themselves and not by text.
        store: The version's part of the vector store.
        encode: The product tower; ``None`` when there is none.
    """

    tower: str
    brought: bool
    store: VectorStore
    encode: EncodeProducts | None

    def resolve(
        self,
        products: Sequence[Product],
        layers: Layers,
        *,
        there: tuple[Products, Vectors],
        known: Mapping[bytes, FloatVector] | None = None,
    ) -> Resolved:
        """Return the vectors of products, reusing what is stored.

        A product whose text is what it was keeps its vector, so a price or a stock level costs nothing.

        Args:
            products: As they will be rendered.
            layers: What there is now.
            there: The same as products and vectors by row.
            known: Vectors by key that were made for these products before; one that is there by now goes first, so
                that a text has one vector.

        Raises:
            VectorError: Texts are new and there is nothing to encode them with, or what it gives cannot be indexed;
                naming the products.
        """
        texts = [layers.text(product) for product in products]
        kept = [_kept(product, text, layers, there) for product, text in zip(products, texts, strict=True)]
        if self.brought:
            return self._brought(products, texts, kept)
        keys = [text_key(text) for text in texts]
        found = {key: vector for key, vector in zip(keys, kept, strict=True) if vector is not None}
        found = dict(known or {}) | _newer(keys, layers) | found
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            found |= self._stored(missing)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if new:
            encode = self._encoder([p for p, key in zip(products, keys, strict=True) if key in new])
            new_keys = list(new)

            def owners(positions: Sequence[int]) -> list[str]:
                bad = {new_keys[position] for position in positions}
                return [p.product_id for p, key in zip(products, keys, strict=True) if key in bad]

            encoded = encode_checked(encode, list(new.values()), dim=self.store.dim, owners=owners)
            found |= dict(zip(new, encoded, strict=True))
        return Resolved(tuple(keys), _stacked([found[key] for key in keys], self.store.dim), len(new))

    def given(self, products: Sequence[Product], vectors: FloatMatrix) -> Resolved:
        """Take the vectors that a caller brings with products.

        Raises:
            VectorError: Another shape or dtype, or a vector that cannot be indexed; naming the products.
            ConfigError: The version's vectors come from its encoder, so that others would not belong to their texts.
        """
        if not self.brought:
            raise ConfigError(
                "this bundle's vectors are its encoder's, by the products' texts; upsert without vectors=, or build "
                "with a catalogue that brings its vectors"
            )
        names = [product.product_id for product in products]
        if len(vectors) != len(names):
            raise VectorError(f"expected a vector for each of the {len(names)} products, got {len(vectors)}")
        matrix = check_vectors(vectors, dim=self.store.dim, names=names)
        return Resolved(tuple(vector_key(vector) for vector in matrix), matrix, 0)

    def recorded(self, keys: Sequence[bytes], vectors: Sequence[FloatVector]) -> Resolved:
        """Take brought vectors from the journal as they are."""
        return Resolved(tuple(keys), _stacked(vectors, self.store.dim), 0)

    def _brought(
        self, products: Sequence[Product], texts: Sequence[str], kept: Sequence[FloatVector | None]
    ) -> Resolved:
        new = [place for place, vector in enumerate(kept) if vector is None]
        vectors = [vector for vector in kept if vector is not None]
        if new:
            encode = self._encoder([products[place] for place in new])
            encoded = encode_checked(
                encode,
                [texts[place] for place in new],
                dim=self.store.dim,
                owners=lambda positions: [products[new[position]].product_id for position in positions],
            )
            by_place = dict(zip(new, encoded, strict=True))
            vectors = [by_place[place] if vector is None else vector for place, vector in enumerate(kept)]
        return Resolved(tuple(map(vector_key, vectors)), _stacked(vectors, self.store.dim), len(new))

    def _stored(self, keys: list[bytes]) -> dict[bytes, FloatVector]:
        """Look for keys in the store, which sorts its keys when it is first asked."""
        rows = self.store.find(keys)
        stored = np.flatnonzero(rows >= 0)
        vectors = self.store.view(rows[stored]).take(np.arange(len(stored)))
        return {keys[place]: vector for place, vector in zip(stored, vectors, strict=True)}

    def _encoder(self, products: Sequence[Product]) -> EncodeProducts:
        if self.encode is None:
            shown = ", ".join(repr(product.product_id) for product in products[:_SHOWN])
            rest = ", ..." if len(products) > _SHOWN else ""
            raise VectorError(
                f"{len(products)} products have new texts and no vector ({shown}{rest}): this bundle was built on "
                "brought vectors without an encoder; pass vectors=, a float32 array with one unit row per product"
            )
        return self.encode


def vector_key(vector: FloatVector) -> bytes:
    """Return the key of a vector that was brought: the head of the SHA-256 of its bytes."""
    return hashlib.sha256(np.ascontiguousarray(vector).tobytes()).digest()[:KEY_BYTES]


def _kept(product: Product, text: str, layers: Layers, there: tuple[Products, Vectors]) -> FloatVector | None:
    """Return the vector that a product has now, if its text stays what it is."""
    products, vectors = there
    if product.product_id not in products:
        return None
    row = products.row_of(product.product_id)
    if layers.text(products.get(row)) != text:
        return None
    vector: FloatVector = vectors.take(np.array([row]))[0]
    return vector


def _newer(keys: Sequence[bytes], layers: Layers) -> dict[bytes, FloatVector]:
    rows = {key: row for row, key in enumerate(layers.keys)}
    return {key: layers.matrix[rows[key]] for key in keys if key in rows}


def _stacked(vectors: Sequence[FloatVector], dim: int) -> FloatMatrix:
    return np.stack(vectors).astype(np.float32, copy=False) if vectors else np.empty((0, dim), dtype=np.float32)
