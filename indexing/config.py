"""What an index can be: one dataclass per kind, with its build and search parameters. Plain objects; Hydra fills them.

The defaults were measured on Icecat: 19,406 product texts and 90 queries, all-MiniLM-L6-v2 (384 dimensions), recall@100
against exact search counted by score (`indexing.recall`), mean over the queries. Seconds are of 2 Zen 4 cores.
"""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class IndexConfig:
    """What all kinds share.

    Attributes:
        recall_target: The build fails when recall against exact search at ``recall_k`` is below this; 0 turns it off.
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
        ef_search: Beam width while searching; asking for more rows than this does not widen it (FAISS 1.15).
    """

    # Recall@100 by ef_search: .989 at 200, .995 at 300, .997 at 400. With 16 links and 100 while building: .988 at 300.
    # @10 1.000, @1000 .989. The build takes 2 s.
    links: int = 32
    ef_construction: int = 200
    ef_search: int = 400

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
        probes: Lists visited per query; 0 means half of them, at least 8.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    # The lists visited decide, the codes hardly matter. Recall@100 over three seeds with 557 lists: .986 to .989
    # visiting a quarter, .992 to .995 a third, .993 to .997 three eighths, .998 half; with 256 lists .995 visiting
    # half. @10 1.000, @1000 .990. Refining twice k rows gains .002 over none, more gains nothing.
    # A larger catalogue needs a smaller share of the lists: set it, and let the gate say whether it holds.
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
        probes: Lists visited per query; 0 means half of them, at least 8.
        code_bytes: Bytes per vector (sub-quantisers of 8 bits); must divide the dimension; 0 means the largest divisor
            up to d / 8.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    # Recall@100 with 48 bytes (d / 8), visiting three eighths of 557 lists, which hold .996: .985 refining 4 k rows,
    # .994 refining 8 k, .995 refining 10 k, .996 refining 16 k. Visiting half and refining 10 k: .997; @10 .992, @1000
    # .990. 96 bytes need only 4 k, but train for 30 s where 48 train for 3: FAISS 1.15 is fast on sub-vectors of 8
    # dimensions and slow on 6 and 4.
    lists: int = 0
    probes: int = 0
    code_bytes: int = 0
    refine_factor: float = 10.0

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

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        if self.memory_gb < 0:
            raise ValueError(f"index.memory_gb must be 0 (half of what is free) or more, got {self.memory_gb}")


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"index.{name} must be at least 1, got {value}")


def _require_ivf(lists: int, probes: int, refine_factor: float) -> None:
    if min(lists, probes) < 0:
        raise ValueError(f"index.lists and index.probes must be 0 (choose for me) or more, got {lists} and {probes}")
    if lists and probes > lists:
        raise ValueError(f"index.probes={probes} is more than index.lists={lists}")
    if refine_factor < 1:
        raise ValueError(f"index.refine_factor must be at least 1, got {refine_factor}")
