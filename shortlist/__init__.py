"""Shortlist: two-tower retrieval and reranking for product search. Users import this package alone.

Importing it is light; torch, faiss and the models load when an engine is opened.
"""

from typing import TYPE_CHECKING, Any

from indexing.errors import (
    ArtifactError,
    ConfigError,
    EngineClosed,
    EnvironmentProblem,
    ForkSafetyError,
    InvalidQuery,
    ReloadRejected,
    ShortlistError,
    SourceDataError,
)
from retrieval.records import Hit, Product, SearchResult
from shortlist.version import __version__

if TYPE_CHECKING:
    from shortlist.engine import SearchEngine

__all__ = [
    "ArtifactError",
    "ConfigError",
    "EngineClosed",
    "EnvironmentProblem",
    "ForkSafetyError",
    "Hit",
    "InvalidQuery",
    "Product",
    "ReloadRejected",
    "SearchEngine",
    "SearchResult",
    "ShortlistError",
    "SourceDataError",
    "__version__",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name == "SearchEngine":
        from shortlist.engine import SearchEngine

        return SearchEngine
    raise AttributeError(f"module 'shortlist' has no attribute {name!r}")
