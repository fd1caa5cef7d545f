"""Shortlist: two-tower retrieval and reranking for product search. Users import this package alone.

Importing it is light; torch, faiss and the models load when an engine is opened.
"""

from importlib import import_module
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
    from shortlist.caches import CacheConfig
    from shortlist.engine import SearchEngine
    from shortlist.explain import Explanation, Verdict

__all__ = [
    "ArtifactError",
    "CacheConfig",
    "ConfigError",
    "EngineClosed",
    "EnvironmentProblem",
    "Explanation",
    "ForkSafetyError",
    "Hit",
    "InvalidQuery",
    "Product",
    "ReloadRejected",
    "SearchEngine",
    "SearchResult",
    "ShortlistError",
    "SourceDataError",
    "Verdict",
    "__version__",
]


_MODULES = {
    "CacheConfig": "shortlist.caches",
    "Explanation": "shortlist.explain",
    "SearchEngine": "shortlist.engine",
    "Verdict": "shortlist.explain",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _MODULES:
        raise AttributeError(f"module 'shortlist' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
