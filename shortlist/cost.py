"""What ``evaluate`` measures of cost: the schemas of the configuration group ``cost``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from retrieval.config import Precision


class IndexKind(Enum):
    """The kinds of index that are measured beside the bundle's own."""

    flat = "flat"
    hnsw = "hnsw"
    hnsw_sq8 = "hnsw_sq8"
    ivf_sq8 = "ivf_sq8"
    ivf_pq = "ivf_pq"
    ivf_rabitq = "ivf_rabitq"


@dataclass(kw_only=True, slots=True)
class CostConfig:
    """``cost=none``: nothing is measured."""


@dataclass(kw_only=True, slots=True)
class CostSweepConfig(CostConfig):
    """What is measured, how often, and at what price; the threads are those of ``runtime.threads``.

    Attributes:
        kinds: Kinds of index that are built beside the bundle's own, with their defaults, from its vectors.
        index_k: Rows asked of an index, and the cut-off of its recall.
        ef_search: Beam widths of a graph; its own is always among them. Below ``index_k`` FAISS takes ``index_k``.
        probe_shares: Shares of the inverted lists that are visited; the index's own number is always among them.
        filter_shares: Shares of the catalogue that a filter leaves, each as a random draw and as the category that
            comes nearest.
        filter_columns: Where that category is looked for: the first of these columns that has values.
        filter_rows: Numbers of products that a filter leaves, as random draws.
        filter_k: Rows asked for under a filter, and the cut-off of recall.
        index_queries: Judged queries that the indexes are asked at most, a seeded draw.
        depths: Candidates handed to the cross-encoder; each at least evaluate's ``k``. Empty leaves reranking out.
        layers: Layers of the cross-encoder that run, from the first one, under a head that nobody trained for them; 0
            is all of them. More than it has are left out, visibly.
        precisions: Arithmetic of the models.
        timed_queries: Judged queries whose whole answers are timed at most, a seeded draw; quality is that of all.
        repeats: How often every query is timed at every point; the points take turns.
        memory: Measure resident memory, in a process of its own.
        noise_tolerance: A point is marked noisy when its control task was slower than when quiet by more than this
            share.
        price_per_hour: Of the machine; 0 takes `CORE_HOUR` for each of its cores, and nothing where a GPU serves.
        currency: Of the price.
        utilisation: Share of the machine's time that serves queries. Servers mostly run between a tenth and a half of
            what they could do (Barroso & Hoelzle, The Case for Energy-Proportional Computing, IEEE Computer 40(12),
            2007, figure 1).
        seed: Of every draw.
    """

    kinds: list[IndexKind] = field(default_factory=lambda: list(IndexKind))
    index_k: int = 100
    ef_search: list[int] = field(default_factory=lambda: [100, 200, 400, 800])
    probe_shares: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
    filter_shares: list[float] = field(default_factory=lambda: [1.0, 0.1, 0.01, 0.001])
    filter_columns: list[str] = field(default_factory=lambda: ["category", "brand"])
    filter_rows: list[int] = field(default_factory=lambda: [5])
    filter_k: int = 10
    index_queries: int = 64
    depths: list[int] = field(default_factory=lambda: [10, 30, 100])
    layers: list[int] = field(default_factory=lambda: [1, 2, 4, 0])
    precisions: list[Precision] = field(default_factory=lambda: [Precision.fp32, Precision.bf16])
    timed_queries: int = 24
    repeats: int = 3
    memory: bool = True
    noise_tolerance: float = 0.25
    price_per_hour: float = 0.0
    currency: str = "USD"
    utilisation: float = 0.5
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("index_k", "filter_k", "index_queries", "timed_queries", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"cost.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("ef_search", "filter_rows", "depths"):
            if min(getattr(self, name), default=1) < 1:
                raise ValueError(f"cost.{name} must all be at least 1, got {getattr(self, name)}")
        for name in ("probe_shares", "filter_shares"):
            if not all(0 < share <= 1 for share in getattr(self, name)):
                raise ValueError(f"cost.{name} must all be in (0, 1], got {getattr(self, name)}")
        if min(self.layers, default=0) < 0:
            raise ValueError(f"cost.layers must all be 0 (every layer) or more, got {self.layers}")
        if not self.precisions:
            raise ValueError("cost.precisions must name fp32, bf16 or int8, got none")
        if Precision.auto in self.precisions:
            raise ValueError("cost.precisions must name what is compared (fp32, bf16, int8), got auto")
        if bool(self.depths) != bool(self.layers):
            raise ValueError(
                "cost.depths and cost.layers go together, both empty leave reranking out; got "
                f"{self.depths} and {self.layers}"
            )
        for name in ("kinds", "ef_search", "probe_shares", "filter_shares", "filter_rows", "depths", "layers"):
            _require_distinct(name, getattr(self, name))
        _require_distinct("precisions", [precision.name for precision in self.precisions])
        if self.noise_tolerance <= 0 or not 0 < self.utilisation <= 1 or self.price_per_hour < 0:
            raise ValueError(
                "cost.noise_tolerance must be above 0, cost.utilisation in (0, 1] and cost.price_per_hour 0 (the "
                f"default price of a core) or more, got {self.noise_tolerance}, {self.utilisation} and "
                f"{self.price_per_hour}"
            )
        if self.currency != "USD" and not self.price_per_hour:
            raise ValueError(f"cost.currency={self.currency} needs cost.price_per_hour in that currency; got none")


def _require_distinct(name: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"cost.{name} must name each value once, got {values}")
