"""What an index can be: one dataclass per kind, with its build and search parameters. Plain objects; Hydra fills them.

The defaults were measured on Icecat: 19,406 product texts and 90 queries, all-MiniLM-L6-v2 (384 dimensions), recall@100
against exact search counted by score (`indexing.recall`), mean over the queries. Seconds are of 2 Zen 4 cores.
"""

from dataclasses import dataclass

DEFAULT_EF_SEARCH = 400
"""Beam of a graph whose ``ef_search`` nobody set or chose: recall@100 above .99 on Icecat."""


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
    """Exact search through FAISS, by codes that provably miss nothing; the right choice up to some 100,000 products."""


@dataclass(kw_only=True, slots=True)
class HnswConfig(IndexConfig):
    """A navigable small-world graph over the exact vectors.

    Attributes:
        links: Neighbours per node (M in the paper).
        ef_construction: Beam width while building.
        ef_search: Beam width while searching; 0 means that it is chosen at the build, the narrowest that reaches
            ``recall_target``, and `DEFAULT_EF_SEARCH` where nothing is chosen.
    """

    # Recall@100 by ef_search: .989 at 200, .995 at 300, .997 at 400. With 16 links and 100 while building: .988 at 300.
    # @10 1.000, @1000 .989. The build takes 2 s.
    links: int = 32
    ef_construction: int = 200
    ef_search: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        _require_graph(self.links, self.ef_construction, self.ef_search)


@dataclass(kw_only=True, slots=True)
class HnswSq8Config(IndexConfig):
    """A navigable small-world graph over 8-bit scalar-quantised vectors, refined with the exact ones.

    A third of the memory of `HnswConfig`, and faster: a graph search waits for memory, and a code is a quarter as long.

    Attributes:
        links: Neighbours per node (M in the paper).
        ef_construction: Beam width while building.
        ef_search: As in `HnswConfig`.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    links: int = 16
    ef_construction: int = 200
    ef_search: int = 0
    refine_factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        _require_graph(self.links, self.ef_construction, self.ef_search)
        _require_refine(self.refine_factor)


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
class IvfRabitqConfig(IndexConfig):
    """Inverted lists of RaBitQ codes, refined with the exact vectors: the smallest kind that needs no tuning of codes.

    RaBitQ (Gao and Long, SIGMOD 2024, arXiv 2405.12497; several bits: arXiv 2409.09913) stores a vector's sign pattern
    after a rotation, and further bits of each number; its error is bounded without any training of codebooks.

    Attributes:
        lists: Number of inverted lists; 0 means 4 * sqrt(n), rounded.
        probes: Lists visited per query; 0 as in `IvfSq8Config`.
        bits: Bits per dimension, 1 to 9.
        refine_factor: The index returns ``refine_factor * k`` rows, which are re-scored exactly.
    """

    lists: int = 0
    probes: int = 0
    bits: int = 4
    refine_factor: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        _require_ivf(self.lists, self.probes, self.refine_factor)
        if not 1 <= self.bits <= 9:
            raise ValueError(f"index.bits must be from 1 to 9, got {self.bits}")


@dataclass(kw_only=True, slots=True)
class AutoConfig(IndexConfig):
    """Chosen at build from the number of products, memory and filters; the choice is printed with its reason.

    Attributes:
        memory_gb: Memory the index may take, in GiB; 0 means half of what the machine has free.
        filtered_share: Share of the queries that are expected to bring a filter.
    """

    memory_gb: float = 0.0
    filtered_share: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        IndexConfig.__post_init__(self)
        if self.memory_gb < 0:
            raise ValueError(f"index.memory_gb must be 0 (half of what is free) or more, got {self.memory_gb}")
        if not 0 <= self.filtered_share <= 1:
            raise ValueError(f"index.filtered_share must be in [0, 1], got {self.filtered_share}")


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"index.{name} must be at least 1, got {value}")


def _require_ivf(lists: int, probes: int, refine_factor: float) -> None:
    if min(lists, probes) < 0:
        raise ValueError(f"index.lists and index.probes must be 0 (choose for me) or more, got {lists} and {probes}")
    if lists and probes > lists:
        raise ValueError(f"index.probes={probes} is more than index.lists={lists}")
    _require_refine(refine_factor)


def _require_graph(links: int, ef_construction: int, ef_search: int) -> None:
    _require_positive("links", links)
    _require_positive("ef_construction", ef_construction)
    if ef_search < 0:
        raise ValueError(f"index.ef_search must be 0 (choose for me) or more, got {ef_search}")


def _require_refine(refine_factor: float) -> None:
    if refine_factor < 1:
        raise ValueError(f"index.refine_factor must be at least 1, got {refine_factor}")
