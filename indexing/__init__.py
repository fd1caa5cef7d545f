"""Vectors in, neighbours out: the vector store, exact search and the FAISS index behind one interface.

Names are imported when they are first used, so that importing an error or a record does not load FAISS.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexing.auto import choose_index
    from indexing.exact import ExactIndex
    from indexing.faiss_index import FaissIndex, build_index, open_index
    from indexing.recall import recall_at
    from indexing.types import Neighbors
    from indexing.vectors import ArrayVectors, VectorStore, check_vectors

__all__ = [
    "ArrayVectors",
    "ExactIndex",
    "FaissIndex",
    "Neighbors",
    "VectorStore",
    "build_index",
    "check_vectors",
    "choose_index",
    "open_index",
    "recall_at",
]

_MODULES = {
    "ArrayVectors": "vectors",
    "ExactIndex": "exact",
    "FaissIndex": "faiss_index",
    "Neighbors": "types",
    "VectorStore": "vectors",
    "build_index": "faiss_index",
    "check_vectors": "vectors",
    "choose_index": "auto",
    "open_index": "faiss_index",
    "recall_at": "recall",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
