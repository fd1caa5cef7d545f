"""Second pass: give every product its vector, encoding only texts that the store does not hold.

The store is named by the fingerprint of what makes a text's vector, so another model or product prompt never mixes with
it; within it a vector is found by its text, so another template encodes only the texts that it changes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import ConfigError
from indexing.keys import KeySet
from indexing.segments import mend
from indexing.storage import FileDigest
from indexing.types import BoolVector, FloatMatrix, IntVector
from indexing.vectors import VectorStore
from retrieval.config import RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import Fingerprint
from retrieval.records import Product
from retrieval.text import TextTemplate
from shortlist.building.workers import Segment, Work, encode_segments
from shortlist.manifest import SegmentDigest, store_name
from shortlist.progress import progress, say

AGREEMENT_SAMPLE = 64
"""Products whose brought vectors are compared with what the encoder gives for their texts."""

AGREEMENT_COSINE = 0.5
"""Mean cosine below which the brought vectors are taken to be another model's; unrelated models give about 0."""


_BLOCK_KEYS = 65_536


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
    products: Callable[[], Iterable[Product]],
    template: TextTemplate,
    *,
    keys: npt.NDArray[np.void],
    segment_texts: int,
    runtime: RuntimeConfig,
) -> Encoded:
    """Encode what the store lacks, one durable segment at a time, and list the store row of every product.

    An interrupted call has stored its finished segments; the next one goes on with the text after them.

    Args:
        store: Opened for the encoder's dimension.
        encoder: The product tower.
        products: Streams them in row order; called once more when some have to be named.
        template: Renders a product.
        keys: Text key of every row, 16 raw bytes each [n].
        segment_texts: Texts per segment.
        runtime: In how many processes, and on which devices.

    Raises:
        EnvironmentProblem: A worker process ended before it was done; what was stored stays.
        VectorError: Texts whose vectors no index may hold, with the ids of all products that have them; of their
            segment nothing is stored.
    """
    new = unstored(store, keys)
    missing = int(np.count_nonzero(new))
    with progress("encode", missing, unit="texts") as advance:
        stream = zip(products(), keys, new, strict=True)
        texts = ((bytes(key), template.render(product)) for product, key, is_new in stream if is_new)
        segments = _ahead(iter(lambda: list(islice(texts, segment_texts)), []))
        work = Work(store.dim, partial(_owners, products, keys), advance)
        with closing(encode_segments(encoder, runtime, segments, work)) as encoded:
            for segment, vectors in encoded:
                store.append([key for key, _ in segment], vectors)
    return Encoded(rows=store.find(keys), encoded=missing, reused=len(keys) - missing)


def _ahead(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Yield segments; while one is encoded, a thread reads and renders the next, which is as much as is ever held."""
    with ThreadPoolExecutor(1, "render") as thread:
        coming = thread.submit(next, segments, None)
        while (segment := coming.result()) is not None:
            coming = thread.submit(next, segments, None)
            yield segment


def _owners(
    products: Callable[[], Iterable[Product]],
    keys: npt.NDArray[np.void],
    segment_keys: Sequence[bytes],
    positions: Sequence[int],
) -> list[str]:
    """Return the ids of all products that have the texts at some positions of a segment."""
    wanted = {segment_keys[position] for position in positions}
    return [product.product_id for product, key in zip(products(), keys, strict=True) if bytes(key) in wanted]


def unstored(store: VectorStore, keys: npt.NDArray[np.void]) -> BoolVector:
    """Say which rows have to be encoded, bool [n]: the first of each key that the store does not hold."""
    new, met = store.find(keys) < 0, KeySet()
    for first in range(0, len(keys), _BLOCK_KEYS):
        block = new[first : first + _BLOCK_KEYS]
        block[block] = met.add(keys[first : first + _BLOCK_KEYS][block])
    return new


def distinct_count(keys: npt.NDArray[np.void]) -> int:
    """Return how many different keys there are."""
    met = KeySet()
    blocks = (keys[first : first + _BLOCK_KEYS] for first in range(0, len(keys), _BLOCK_KEYS))
    return sum(int(np.count_nonzero(met.add(block))) for block in blocks)


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
