"""Second pass: give every product its vector, encoding only texts that the store does not hold.

The store is named by the fingerprint of what makes a text's vector, so another model or product prompt never mixes with
it; within it a vector is found by its text, so another template encodes only the texts that it changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.errors import ConfigError
from indexing.segments import mend
from indexing.storage import FileDigest
from indexing.types import FloatMatrix, IntVector
from indexing.vectors import VectorStore
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import Fingerprint
from retrieval.products import ProductTable
from retrieval.text import TextTemplate
from shortlist.building.ingest import new_texts
from shortlist.manifest import SegmentDigest, store_name
from shortlist.progress import progress, say

AGREEMENT_SAMPLE = 64
"""Products whose brought vectors are compared with what the encoder gives for their texts."""

AGREEMENT_COSINE = 0.5
"""Mean cosine below which the brought vectors are taken to be another model's; unrelated models give about 0."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """How the vectors of a version came about.

    Attributes:
        rows: Store row of every product, int64 [n].
        encoded: Texts that were encoded now.
        reused: Products whose vector was stored already, or equals another product's.
    """

    rows: IntVector
    encoded: int
    reused: int


def store_path(root: Path, fingerprint: Fingerprint) -> Path:
    """Return the folder of the vector store for ``fingerprint``."""
    return root / store_name(fingerprint.fields)


def open_store(folder: Path, *, dim: int) -> VectorStore:
    """Open the vector store of a build, every file of it verified; texts of damaged segments are encoded again."""
    damaged = mend(folder, dim=dim)
    if damaged is not None:
        say(f"warning: {damaged.problem}; it is kept in {damaged.folder} and what is missing is encoded again")
    return VectorStore.open(folder, dim=dim)


def brought_fingerprint(dim: int, query_tower: Fingerprint | None) -> Fingerprint:
    """Return the fingerprint of vectors that came with a catalogue, and of the tower that its queries will use."""
    fields = dict(query_tower.fields) if query_tower is not None else {"dimension": str(dim)}
    return Fingerprint({**fields, "vectors": "brought by the catalogue"})


def encode_missing(
    store: VectorStore,
    encoder: DualEncoder,
    products: ProductTable,
    template: TextTemplate,
    *,
    keys: list[bytes],
    segment_texts: int,
) -> Encoded:
    """Encode what the store lacks, one durable segment at a time, and list the store row of every product.

    An interrupted call has stored its finished segments; the next one finds them.

    Args:
        store: Opened for the encoder's dimension.
        encoder: The product tower.
        products: Table with the rows of ``keys``.
        template: Renders a product.
        keys: Text key of every row.
        segment_texts: Texts per segment.
    """

    def known(wanted: list[bytes]) -> list[bool]:
        return [bool(stored) for stored in store.find(wanted) >= 0]

    missing = len(set(keys) - {key for key, stored in zip(keys, known(keys), strict=True) if stored})
    with progress("encode", missing, unit="texts") as advance:
        for new_keys, texts in new_texts(products, template, keys, known=known, size=segment_texts):
            store.append(new_keys, encoder.encode_products(texts, progress=advance))
    return Encoded(rows=store.find(keys), encoded=missing, reused=len(keys) - missing)


def append_new(store: VectorStore, keys: Sequence[bytes], vectors: FloatMatrix) -> None:
    """Append those of ``vectors`` whose key the store lacks, each once."""
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    stored = store.find(list(first))
    fresh = [(key, row) for (key, row), place in zip(first.items(), stored, strict=True) if place < 0]
    if fresh:
        rows = np.array([row for _, row in fresh])
        store.append([key for key, _ in fresh], np.ascontiguousarray(vectors[rows]))


def require_agreement(
    encode: Callable[[Sequence[str]], FloatMatrix], texts: Sequence[str], vectors: FloatMatrix
) -> float:
    """Return the mean cosine between the encoder's vectors of ``texts`` and those that came with them.

    Raises:
        ConfigError: When dimension or mean cosine say that another model made them.
    """
    own = encode(texts)
    if own.shape[1] != vectors.shape[1]:
        raise ConfigError(
            f"the catalogue's vectors have {vectors.shape[1]} dimensions, the encoder's {own.shape[1]}; name the "
            "model that made "
            "them with encoder.model=FOLDER, or choose encoder=none and bring query vectors or a callable"
        )
    agreement = float(np.mean(np.sum(own * vectors, axis=1)))
    if agreement < AGREEMENT_COSINE:
        raise ConfigError(
            f"the catalogue's vectors are not this encoder's: mean cosine {agreement:.2f} on {len(texts)} products, "
            "at least "
            f"{AGREEMENT_COSINE} expected; name the model that made them with encoder.model=FOLDER, or choose "
            "encoder=none"
        )
    return agreement


def used_segments(store: VectorStore, rows: IntVector) -> tuple[SegmentDigest, ...]:
    """Return the store's segments up to the last one that ``rows`` point into: what a version needs to be whole."""
    last = int(rows.max())
    return tuple(
        SegmentDigest(
            name=segment.name,
            count=segment.count,
            vectors=FileDigest(segment.size_bytes, segment.sha256),
            keys=storage.digest(store.folder / f"{segment.name}.keys"),
            record=storage.digest(store.folder / f"{segment.name}.json"),
        )
        for segment in store.segments
        if segment.first_row <= last
    )
