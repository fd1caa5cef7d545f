"""The first stage of one version: products, vectors and both indexes, opened together and checked against each other.

Opened by whoever serves it, by the build that has just written it, and by the child process that tries it first
(`shortlist.probe`); so nothing here loads torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexing import storage
from indexing.errors import ArtifactCorrupt
from indexing.faiss_index import FaissIndex, open_index
from indexing.types import Vectors
from indexing.vectors import VectorStore
from retrieval.config import FusionConfig
from retrieval.lexical import LexicalIndex
from retrieval.products import ProductTable
from retrieval.retriever import QueryEncoder, Retriever


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What recalls candidates, but the encoder.

    Attributes:
        products: Fields kept for display and filters; gives rows their ids.
        vectors: The products' vectors in row order, memory-mapped.
        dense: Index over the vectors.
        lexical: Index over the products' words.
    """

    products: ProductTable
    vectors: Vectors
    dense: FaissIndex
    lexical: LexicalIndex

    def retriever(self, fusion: FusionConfig, encoder: QueryEncoder | None = None) -> Retriever:
        """Return the parts as a retriever; without an encoder, queries bring their vectors."""
        return Retriever(encoder=encoder, dense=self.dense, lexical=self.lexical, products=self.products, fusion=fusion)


def unobserved(_: str) -> None:
    """Do nothing: nobody wants to know which part was loaded."""


def open_first_stage(
    folder: Path,
    store: VectorStore,
    *,
    threads: int = 0,
    products: ProductTable | None = None,
    loaded: Callable[[str], None] = unobserved,
) -> FirstStage:
    """Open the files of a version whose digests were checked.

    Args:
        folder: The version's folder, or the staging folder it grows in.
        store: The vectors that its rows point into.
        threads: Threads for FAISS, 0 for what it has.
        products: Its products, when they are open already.
        loaded: Told of each part when it is there: ``products``, ``vectors``, ``index``, ``lexical``.

    Raises:
        ArtifactError: A file does not parse or does not fit the others.
    """
    products = products or ProductTable.open(folder / "products.parquet")
    loaded("products")
    rows = storage.map_array(folder / "rows", "<i8", (products.count,))
    if products.count and not 0 <= int(rows.min()) <= int(rows.max()) < store.count:
        raise ArtifactCorrupt(f"{folder / 'rows'} points outside the {store.count} vectors that the version uses")
    vectors = store.view(rows)
    loaded("vectors")
    dense = open_index(folder / "index", vectors, tie_rank=products.tie_rank, threads=threads, verify=False)
    loaded("index")
    lexical = LexicalIndex.open(folder / "lexical")
    loaded("lexical")
    for name, count in (("index", dense.count), ("lexical", lexical.count)):
        if count != products.count:
            raise ArtifactCorrupt(f"{folder / name} is about {count} products, products.parquet holds {products.count}")
    return FirstStage(products, vectors, dense, lexical)
