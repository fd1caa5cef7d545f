"""What a job can be told: one schema per command, and the members of every configuration group.

Plain dataclasses; ``shortlist.compose`` fills them through Hydra. They are ``slots=True`` because that is what closes
them (an unknown key is refused), and not frozen because OmegaConf 2.3 cannot compose frozen ones (docs/decisions/0002).
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from indexing.config import (
    AutoConfig,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from rerank.config import ConfidenceConfig, CrossEncoderConfig, CrossEncoderTrainerConfig, RerankerConfig
from retrieval.config import (
    BeirCatalog,
    CatalogConfig,
    ConvexConfig,
    EncoderConfig,
    EsciCatalog,
    FusionConfig,
    IcecatCatalog,
    LexicalConfig,
    RrfConfig,
    RuntimeConfig,
    TabularCatalog,
    TextConfig,
    WandsCatalog,
    ZscoreConfig,
)
from retrieval.training_config import ContrastiveConfig, DistillationConfig, MiningConfig, SyntheticConfig
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
        deadline_ms: Skip the reranker when it would end later than this; 0 means no deadline.
    """

    runtime: RuntimeConfig
    k: int = 10
    depth: int = 0
    rerank: bool = True
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


@dataclass(kw_only=True, slots=True)
class TrainRetrieverConfig:
    """Job ``train-retriever``: fine-tune the dual encoder on judgments.

    Attributes:
        variants: Attribute or kept column that names the variant group of a product; empty where there is none.
    """

    catalog: CatalogConfig
    text: TextConfig
    encoder: EncoderConfig
    trainer: ContrastiveConfig
    runtime: RuntimeConfig
    variants: str = ""


@dataclass(kw_only=True, slots=True)
class TrainRerankerConfig:
    """Job ``train-reranker``: fine-tune a cross-encoder on judgments, over the first stage of a bundle.

    Attributes:
        depth: First-stage candidates per training query that are looked at.
        confidence: What is learned of how far the answers can be trusted, on the held-out queries.
    """

    catalog: CatalogConfig
    trainer: CrossEncoderTrainerConfig
    runtime: RuntimeConfig
    depth: int = 50
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)


@dataclass(kw_only=True, slots=True)
class CalibrateConfig:
    """Job ``calibrate``: choose the weight and learn the confidence of a bundle's cross-encoder anew.

    Attributes:
        depth: First-stage candidates per query that are looked at.
        confidence: As for ``train-reranker``.
        complete_grades: Whether an unjudged product is known to be a bad one.
    """

    catalog: CatalogConfig
    runtime: RuntimeConfig
    depth: int = 50
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    complete_grades: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """Job ``train``: a whole recipe, chosen by ``experiment``.

    Attributes:
        retriever: Training of the dual encoder.
        reranker: Training of the cross-encoder.
        adaptation: Training on synthetic queries.
        mining: Hard negatives.
        synthetic: Queries made from products.
        confidence: Probabilities of hits, and when there is no good match.
        distillation: The dual encoder taught by the cross-encoder.
        student_layers: Layers of the cross-encoder that step ``student`` teaches to score as the larger one does.
        depth: First-stage candidates that the cross-encoder sees.
        steps: What is done, in this order.
        variants: Attribute or kept column that names the variant group of a product; empty where there is none.
        tune_share: Share of the ``train`` queries that stop and choose, where the source has no ``test`` split.
        fuse_share: Share of the queries learned from that step ``final_fusion`` keeps for itself, because what a model
            says of queries that it learned from tells nothing of how far it can be trusted.
        popularity: Attribute or kept column whose number tells step ``final_fusion`` how popular a product is.
        folds: Where the source has no splits, cross-validate over its judged queries in so many parts, at least 3: one
            is scored, one chooses, the others are learned from; 0 learns from no label there.
        fold_seed: Deals the queries out to the folds.
        refit: Whether a cross-validation is followed by a run on all labels, which leaves the models for a build.
        inner_folds: Where 2 or more, step ``reranker`` learns from the queries that choose, too, and its weight is
            chosen by so many further models, each of which left a part of them all out; no step after it may need
            labels then. 0 chooses it on the tuning queries.
        seeds: Further seeds that the whole recipe is run with, to say how much of a figure is chance.
    """

    catalog: CatalogConfig
    text: TextConfig
    encoder: EncoderConfig
    lexical: LexicalConfig
    fusion: FusionConfig
    runtime: RuntimeConfig
    retriever: ContrastiveConfig
    reranker: CrossEncoderTrainerConfig
    adaptation: ContrastiveConfig
    mining: MiningConfig = field(default_factory=MiningConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    student_layers: int = 2
    depth: int = 50
    steps: list[str] = field(default_factory=list)
    variants: str = ""
    tune_share: float = 0.1
    fuse_share: float = 0.15
    popularity: str = ""
    folds: int = 0
    fold_seed: int = 7
    refit: bool = True
    inner_folds: int = 0
    seeds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if len(set(self.seeds)) != len(self.seeds) or self.retriever.seed in self.seeds:
            raise ValueError(
                f"seeds must differ from each other and from {self.retriever.seed}, got {list(self.seeds)}"
            )
        if not self.steps:
            raise ValueError("steps must name at least one step, got []")
        if len(set(self.steps)) != len(self.steps):
            raise ValueError(f"steps must name each step once, got {list(self.steps)}")
        if self.depth < 1 or self.student_layers < 1:
            raise ValueError(f"depth and student_layers must be at least 1, got {self.depth}, {self.student_layers}")
        if not (0 < self.tune_share < 1 and 0 < self.fuse_share < 1):
            shares = f"{self.tune_share} and {self.fuse_share}"
            raise ValueError(f"tune_share and fuse_share must be in (0, 1), got {shares}")
        if self.folds < 0 or self.folds in (1, 2):
            raise ValueError(
                f"folds must be 0 or at least 3 (one is scored, one chooses, others are learned from), got {self.folds}"
            )
        if self.inner_folds < 0 or self.inner_folds == 1:
            raise ValueError(f"inner_folds must be 0 or at least 2, got {self.inner_folds}")
        later = self.steps[self.steps.index("reranker") + 1 :] if "reranker" in self.steps else []
        if self.inner_folds and set(later) - {"attacks"}:
            raise ValueError(
                f"with inner_folds={self.inner_folds} only attacks may follow step reranker, which leaves no query"
                f" unseen for others to learn or choose by, got {later}; set inner_folds=0 or leave them out"
            )
        if self.folds == 3 and "final_fusion" in self.steps:
            raise ValueError("folds must be 0 or at least 4 with step final_fusion, which keeps one for itself, got 3")
        both = {"final_fusion", "confidence"} <= set(self.steps)
        if both and self.steps.index("confidence") < self.steps.index("final_fusion"):
            raise ValueError("steps must name confidence after final_fusion, whose order is what it judges")


@dataclass(kw_only=True, slots=True)
class DemoConfig:
    """Job ``demo``: the whole life of a search engine on the built-in store.

    Attributes:
        store_seed: Seed of the generated store.
        depth: Candidates handed to the reranker.
    """

    catalog: CatalogConfig
    text: TextConfig
    encoder: EncoderConfig
    lexical: LexicalConfig
    index: IndexConfig
    fusion: FusionConfig
    runtime: RuntimeConfig
    retriever: ContrastiveConfig
    reranker: CrossEncoderTrainerConfig
    store_seed: int = 7
    depth: int = 30


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


JOBS: dict[str, type] = {
    "check": CheckConfig,
    "build": BuildConfig,
    "search": SearchConfig,
    "upsert": UpsertConfig,
    "compact": CompactConfig,
    "tune": TuneConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "train_retriever": TrainRetrieverConfig,
    "train_reranker": TrainRerankerConfig,
    "calibrate": CalibrateConfig,
    "train": TrainConfig,
    "demo": DemoConfig,
}
"""Primary configuration (the name of its YAML) -> schema."""

GROUPS: dict[str, dict[str, type]] = {
    "catalog": {
        "tabular": TabularCatalog,
        "icecat": IcecatCatalog,
        "wands": WandsCatalog,
        "esci": EsciCatalog,
        "beir": BeirCatalog,
    },
    "text": {"text": TextConfig},
    "encoder": {"encoder": EncoderConfig},
    "lexical": {"bm25": LexicalConfig},
    "index": {
        "auto": AutoConfig,
        "flat": FlatConfig,
        "hnsw": HnswConfig,
        "hnsw_sq8": HnswSq8Config,
        "ivf_sq8": IvfSq8Config,
        "ivf_pq": IvfPqConfig,
        "ivf_rabitq": IvfRabitqConfig,
    },
    "fusion": {"rrf": RrfConfig, "zscore": ZscoreConfig, "convex": ConvexConfig},
    "reranker": {"none": RerankerConfig, "cross_encoder": CrossEncoderConfig},
    "runtime": {"runtime": RuntimeConfig},
    "cost": {"none": CostConfig, "sweep": CostSweepConfig},
    "trainer": {"contrastive": ContrastiveConfig, "cross_encoder": CrossEncoderTrainerConfig},
}
"""Configuration group -> schema name -> dataclass; stored as ``<group>/schema_<name>``."""

EXPERIMENT = "experiment"
"""The group of whole recipes: YAML that sets keys of the job ``train`` and has no schema of its own."""

PATH_KEYS = ("encoder.model", "reranker.model", "reranker.student", "trainer.base", "reranker.base")
"""Keys whose values are paths of the user's, which may hold any character."""

OPEN_MAPPINGS = ("catalog.fields.", "catalog.query_fields.", "catalog.judgment_fields.", "catalog.grades.")
"""Keys below these are the user's own, so they may be new."""


def config_dir() -> Path:
    """Return the folder of YAML files: ``shortlist/conf`` in a wheel, ``conf`` beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"
