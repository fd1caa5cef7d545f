"""What a job that trains can be told: one schema per command, as in ``shortlist.config``."""

from dataclasses import dataclass, field

from indexing.config import IndexConfig
from rerank.config import ConfidenceConfig, CrossEncoderTrainerConfig
from retrieval.config import CatalogConfig, EncoderConfig, FusionConfig, LexicalConfig, RuntimeConfig, TextConfig
from retrieval.training_config import ContrastiveConfig, DistillationConfig, MiningConfig, SyntheticConfig


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
