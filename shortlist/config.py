"""What a job can be told: one schema per command; those of jobs that train are in ``shortlist.training_config``.

Plain dataclasses; ``shortlist.compose`` fills them through Hydra. They are ``slots=True`` because that is what closes
them (an unknown key is refused), and not frozen because OmegaConf 2.3 cannot compose frozen ones (docs/decisions/0002).
"""

from dataclasses import dataclass, field
from enum import Enum

from indexing.config import IndexConfig
from rerank.config import RerankerConfig
from retrieval.config import CatalogConfig, EncoderConfig, FusionConfig, LexicalConfig, RuntimeConfig, TextConfig
from shortlist.cost import CostConfig, CostSweepConfig


class System(Enum):
    """What ``evaluate`` can compare: one source, both fused, or both fused and reranked."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"
    hybrid_rerank = "hybrid_rerank"


class Convention(Enum):
    """How nDCG is computed, by the names of publications (docs/evaluation.md; shortlist.evaluation.conventions)."""

    linear = "linear"
    exponential = "exponential"
    w_lin = "w_lin"
    w_exp = "w_exp"
    w_dt = "w_dt"
    w_bin = "w_bin"
    esci_paper = "esci_paper"
    esci_released = "esci_released"


@dataclass(kw_only=True, slots=True)
class CheckConfig:
    """Job ``check``: survey a catalogue without loading a model."""

    catalog: CatalogConfig
    text: TextConfig
    encoder: EncoderConfig


@dataclass(kw_only=True, slots=True)
class BuildConfig:
    """Job ``build``: catalogue -> published bundle.

    Attributes:
        segment_texts: Texts encoded and stored at a time; an interrupted build continues at the last whole segment.
        canary_queries: Stored queries that every opening of the bundle encodes again.
        canary_cosine: Smallest cosine at which a canary vector still counts as the same.
        canary_spread: Largest difference of a stored pair's cross-encoder score, as a share of their standard
            deviation. Computing in bf16 moved the demo's by .04, a random model of 32 dimensions by .13.
        keep_versions: Versions that stay after a build, the live one and the previous among them; others are removed as
            soon as no process has them open. 0 keeps all.
    """

    catalog: CatalogConfig
    text: TextConfig
    encoder: EncoderConfig
    lexical: LexicalConfig
    index: IndexConfig
    fusion: FusionConfig
    reranker: RerankerConfig
    runtime: RuntimeConfig
    segment_texts: int = 4096
    canary_queries: int = 8
    canary_cosine: float = 0.999
    canary_spread: float = 0.25
    keep_versions: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_kept(self.keep_versions)
        if self.segment_texts < 1 or self.canary_queries < 1:
            raise ValueError(
                f"segment_texts and canary_queries must be at least 1, got {self.segment_texts}, {self.canary_queries}"
            )
        if not 0 < self.canary_cosine <= 1:
            raise ValueError(f"canary_cosine must be in (0, 1], got {self.canary_cosine}")
        if not 0 <= self.canary_spread <= 10:
            raise ValueError(f"canary_spread must be in [0, 10], got {self.canary_spread}")


@dataclass(kw_only=True, slots=True)
class UpsertConfig:
    """Job ``upsert``: products of a catalogue into a bundle.

    Attributes:
        batch_products: Products per record of the journal; an interrupted job goes on where it is started again.
    """

    catalog: CatalogConfig
    runtime: RuntimeConfig
    batch_products: int = 1000

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.batch_products < 1:
            raise ValueError(f"batch_products must be at least 1, got {self.batch_products}")


@dataclass(kw_only=True, slots=True)
class CompactConfig:
    """Job ``compact``: a version and its journal become a new version.

    Attributes:
        keep_versions: As for ``build``.
    """

    runtime: RuntimeConfig
    keep_versions: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_kept(self.keep_versions)


@dataclass(kw_only=True, slots=True)
class TuneConfig:
    """Job ``tune``: the cheapest search parameters of an index that reach the recall asked for.

    Attributes:
        index: ``recall_target``, ``recall_k`` and ``recall_queries`` say what is asked for.
        keep_versions: As for ``build``.
    """

    runtime: RuntimeConfig
    index: IndexConfig = field(default_factory=IndexConfig)
    keep_versions: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_kept(self.keep_versions)


@dataclass(kw_only=True, slots=True)
class SearchConfig:
    """Job ``search``: one query from the shell.

    Attributes:
        k: Hits returned.
        depth: Candidates handed to the reranker; 0 means max(100, k).
        rerank: Run the reranker when the bundle has one.
        spelling: Correct words that nobody knows when the bundle was built to.
        deadline_ms: Skip the reranker when it would end later than this; 0 means no deadline.
    """

    runtime: RuntimeConfig
    k: int = 10
    depth: int = 0
    rerank: bool = True
    spelling: bool = True
    deadline_ms: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        require_depth(self.k, self.depth)


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """Job ``evaluate``: systems x queries -> run files and report.

    Attributes:
        systems: What is compared; empty means all that the bundle has.
        k: Cut-off of nDCG and Judged.
        depth: Candidates handed to the reranker.
        run_depth: Length of the run files.
        recall_k: Cut-off of recall.
        recall_grade: Smallest grade that recall counts; RR and AP count every grade above 0.
        convention: How nDCG is computed.
        raters: File of the raters' own grades inside the source (query or query_id, product_id, grade_1, grade_2, ...),
            for the ceiling; may be absent.
        popularity: A number column of the catalogue that parts head and tail queries; empty parts them by the number of
            their relevant products.
        cost: What is measured of cost beside quality.
    """

    catalog: CatalogConfig
    runtime: RuntimeConfig
    cost: CostConfig = field(default_factory=CostConfig)
    systems: list[System] = field(default_factory=list)
    k: int = 10
    depth: int = 100
    run_depth: int = 1000
    recall_k: int = 100
    recall_grade: int = 2
    convention: Convention = Convention.linear
    raters: str = "rater_grades.csv"
    popularity: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        require_depth(self.k, self.depth)
        if self.run_depth < max(self.depth, self.recall_k):
            raise ValueError(f"run_depth={self.run_depth} must reach depth={self.depth} and recall_k={self.recall_k}")
        if len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems must name each system once, got {[s.name for s in self.systems]}")
        if isinstance(self.cost, CostSweepConfig) and min(self.cost.depths, default=self.k) < self.k:
            raise ValueError(f"cost.depths must all reach k={self.k}, got {self.cost.depths}")


@dataclass(kw_only=True, slots=True)
class CompareConfig:
    """Job ``compare``: two reports, or two systems of one, query by query.

    Attributes:
        slices: Kinds of query that are compared, by name; ``["*"]`` takes all. Few named beforehand keep more power.
        alpha: Chance of a false alarm that is accepted, over everything compared at once.
        margin: Largest loss that is acceptable where a change is wanted for another reason; 0 asks for a gain.
        min_queries: Values of a slice with fewer queries are not tested.
        trials: Sign patterns of the tests, and resamples of the intervals.
        seed: Seeds both.
    """

    slices: list[str] = field(default_factory=lambda: ["*"])
    alpha: float = 0.05
    margin: float = 0.0
    min_queries: int = 10
    trials: int = 10_000
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 < self.alpha < 1 or self.margin < 0:
            raise ValueError(f"alpha must be in (0, 1) and margin 0 or more, got {self.alpha} and {self.margin}")
        if self.min_queries < 1 or self.trials < 1:
            raise ValueError(f"min_queries and trials must be at least 1, got {self.min_queries} and {self.trials}")


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """Job ``export``: a catalogue in another form."""

    catalog: CatalogConfig


def _require_kept(versions: int) -> None:
    if versions != 0 and versions < 2:
        raise ValueError(f"keep_versions must be 0 (all) or at least 2 (the live one and the previous), got {versions}")


def require_depth(k: int, depth: int) -> None:
    """Refuse a ``k`` below 1, or a ``depth`` (0 = unset) below ``k``.

    Raises:
        ValueError: With the two numbers.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if depth < 0 or 0 < depth < k:
        raise ValueError(
            f"depth={depth} is below k={k}: the reranker would see fewer candidates than hits are wanted; "
            f"raise depth to at least {k}, or leave it out (max(100, k))"
        )
