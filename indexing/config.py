"""What an index can be: one dataclass per kind, with its build and search parameters. Plain objects; Hydra fills them."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class IndexConfig:
    """What all kinds share.

    Attributes:
        recall_target: The build fails when recall against exact search at ``recall_k`` is below this. 0 turns the gate off.
        recall_k: Cut-off at which recall is measured after the build.
        recall_queries: How many queries the check uses at most.
        seed: Seeds k-means and HNSW levels.
    """

    recall_target: float = 0.95
    recall_k: int = 100
    recall_queries: int = 200
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 <= self.recall_target <= 1:
            raise ValueError(f"index.recall_target must be in [0, 1], got {self.recall_target}")
        for name in ("recall_k", "recall_queries"):
            _require_positive(name, getattr(self, name))


@dataclass(kw_only=True, slots=True)
class FlatConfig(IndexConfig):
    """Exact search through FAISS; the right choice up to some 100,000 products."""


@dataclass(kw_only=True, slots=True)
class HnswConfig(IndexConfig):
    """A navigable small-world graph over the exact vectors.

    Attributes:
        links: Neighbours per node (M in the paper).
        ef_construction: Beam width while building.
        ef_search: Beam width while searching; raised to the number of rows asked for when that is more.
    """

    links: int = 32
    ef_construction: int = 200
    ef_search: int = 200

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        for name in ("links", "ef_construction", "ef_search"):
            _require_positive(name, getattr(self, name))


@dataclass(kw_only=True, slots=True)
class IvfSq8Config(IndexConfig):
    """Inverted lists of 8-bit scalar-quantised vectors, refined with the exact ones.

    Attributes:
        lists: Number of inverted lists; 0 means 4 * sqrt(n), rounded.
        probes: Lists visited per query; 0 means a quarter of them, at least 8.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    lists: int = 0
    probes: int = 0
    refine_factor: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        _require_ivf(self.lists, self.probes, self.refine_factor)


@dataclass(kw_only=True, slots=True)
class IvfPqConfig(IndexConfig):
    """Inverted lists of product-quantised vectors, refined with the exact ones.

    Attributes:
        lists: Number of inverted lists; 0 means 4 * sqrt(n), rounded.
        probes: Lists visited per query; 0 means a quarter of them, at least 8.
        code_bytes: Bytes per vector (sub-quantisers of 8 bits); must divide the dimension; 0 means d / 4.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    lists: int = 0
    probes: int = 0
    code_bytes: int = 0
    refine_factor: float = 8.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        _require_ivf(self.lists, self.probes, self.refine_factor)


@dataclass(kw_only=True, slots=True)
class AutoConfig(IndexConfig):
    """Chosen at build from the number of products and the memory allowed; the choice is printed with its reason.

    Attributes:
        memory_gb: Memory the index may take, in GiB; 0 means half of what the machine has free.
    """

    memory_gb: float = 0.0


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"index.{name} must be at least 1, got {value}")


def _require_ivf(lists: int, probes: int, refine_factor: float) -> None:
    if lists < 0 or probes < 0:
        raise ValueError(f"index.lists and index.probes must be 0 (choose for me) or more, got {lists} and {probes}")
    if lists and probes > lists:
        raise ValueError(f"index.probes={probes} is more than index.lists={lists}")
    if refine_factor < 1:
        raise ValueError(f"index.refine_factor must be at least 1, got {refine_factor}")
