"""What training of the dual encoder can be told: plain dataclasses that Hydra fills. Standard library only."""

from dataclasses import dataclass, field
from enum import Enum

from retrieval.config import TRAINING_PRECISIONS, Precision


class Weighting(Enum):
    """How much a positive counts in training."""

    graded = "graded"
    equal = "equal"


@dataclass(kw_only=True, slots=True)
class ContrastiveConfig:
    """Contrastive fine-tuning of the dual encoder.

    Attributes:
        epochs: Passes over the (query, positive product) pairs.
        batch_size: Pairs per step; every other product in the batch is a negative unless a variant of it is known to
            fit. Larger than memory holds is fine: ``batch_tokens`` bounds that.
        batch_tokens: Tokens (padding included) that run through the network at once; a batch of more runs twice, in
            parts, to the same result.
        learning_rate: Peak rate of AdamW.
        warmup_share: Share of the steps over which the rate rises.
        temperature: Divides the cosines before the softmax.
        reverse_share: Share of the loss that ranks queries for a product instead of products for a query.
        dims: Leading dimensions that must be good on their own, such as ``[64, 128]``; empty trains all of them alone.
        min_grade: Judgments at or above this are positives; below, and above 0, they are left out.
        max_grade: Highest grade of the scale; 0 takes the highest that occurs.
        weighting: ``graded`` counts a positive by its grade as a share of ``max_grade``, ``equal`` counts all alike.
        max_positives: Positives used per query and epoch at most (sampled with the seed).
        max_negatives: Of the products judged 0 for a query, and those mined, how many join its batch at most.
        noise_weight: Weight of scoring products for a misspelt query as for the query itself; 0 leaves it out.
        field_dropout: Share of the products of a batch that are read with some of their fields left out.
        query_max_tokens: Longest query while training.
        product_max_tokens: Longest product text while training.
        dev_share: Share of the training queries held out for early stopping when the source has no ``dev`` split.
        patience: Stop after this many evaluations without a better dev nDCG@10.
        evaluations: Evaluations per epoch.
        dev_pool: Products ranked at each evaluation: all that are judged for the dev queries, then a seeded sample of
            the others up to this many.
        freeze_embeddings: Leave the word vectors as they are: faster, and words that no training query holds keep their
            place beside the ones that do.
        dropout: Train with the model's own dropout; off, a step does without drawing masks.
        lora_rank: Train low-rank additions of this rank to the attention instead of all weights (needs ``peft``; they
            are merged on saving); 0 trains the weights themselves.
        interpolation: Share of the way from the weights before to the trained ones that is gone in the end: 1 is all of
            it; less keeps more of what the model knew, which a training without labels needs (Wortsman et al., Robust
            fine-tuning of zero-shot models, CVPR 2022, section 3; they advise .5 where nothing can choose).
        checkpoint_steps: Steps between checkpoints, from which the same command goes on after a kill; 0 writes none.
        precision: ``bf16`` trains under autocast.
        seed: Seeds order, sampling, noise and dropout.
    """

    epochs: int = 3
    batch_size: int = 64
    batch_tokens: int = 8192
    learning_rate: float = 5e-5
    warmup_share: float = 0.1
    temperature: float = 0.05
    reverse_share: float = 0.5
    dims: list[int] = field(default_factory=list)
    min_grade: int = 2
    max_grade: int = 0
    weighting: Weighting = Weighting.equal
    max_positives: int = 8
    max_negatives: int = 0
    noise_weight: float = 0.0
    field_dropout: float = 0.0
    query_max_tokens: int = 32
    product_max_tokens: int = 64
    dev_share: float = 0.1
    patience: int = 3
    evaluations: int = 1
    dev_pool: int = 2000
    freeze_embeddings: bool = True
    dropout: bool = True
    lora_rank: int = 0
    interpolation: float = 1.0
    checkpoint_steps: int = 0
    precision: Precision = Precision.bf16
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.temperature <= 0 or self.learning_rate <= 0:
            raise ValueError(
                f"trainer.temperature and trainer.learning_rate must be > 0, got {self.temperature}, "
                f"{self.learning_rate}"
            )
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(f"trainer.precision must be fp32 or bf16, got {self.precision.name}")
        if self.batch_size < 2:
            raise ValueError(f"trainer.batch_size must be at least 2 (in-batch negatives), got {self.batch_size}")
        for name in ("epochs", "min_grade", "max_positives", "patience", "evaluations", "dev_pool", "batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"trainer.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_grade", "max_negatives", "noise_weight", "lora_rank", "checkpoint_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"trainer.{name} must be 0 or more, got {getattr(self, name)}")
        if 0 < self.max_grade < self.min_grade:
            raise ValueError(f"trainer.max_grade={self.max_grade} is below trainer.min_grade={self.min_grade}")
        if any(dim < 1 for dim in self.dims):
            raise ValueError(f"trainer.dims must be 1 or more each, got {list(self.dims)}")
        if not 0 <= self.warmup_share <= 1 or not 0 <= self.dev_share < 1:
            shares = f"{self.warmup_share} and {self.dev_share}"
            raise ValueError(f"trainer.warmup_share must be in [0, 1] and trainer.dev_share in [0, 1), got {shares}")
        if not 0 < self.interpolation <= 1:
            raise ValueError(f"trainer.interpolation must be in (0, 1], got {self.interpolation}")
        for name in ("reverse_share", "field_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"trainer.{name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(kw_only=True, slots=True)
class DistillationConfig:
    """Teaching the dual encoder what a cross-encoder makes of lists of products.

    Attributes:
        depth: First-stage candidates per query that the teacher scores, beside the products judged for it.
        epochs: Passes over the lists.
        lists_per_step: Queries with their lists per step.
        learning_rate: Peak rate of AdamW.
        temperature: Of the teacher's scores; a larger one makes its opinion milder.
    """

    depth: int = 16
    epochs: int = 1
    lists_per_step: int = 8
    learning_rate: float = 5e-5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("depth", "epochs", "lists_per_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"distillation.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"distillation.{name} must be above 0, got {getattr(self, name)}")


@dataclass(kw_only=True, slots=True)
class MiningConfig:
    """Mining of hard negatives, and the training that follows it.

    Attributes:
        depth: Candidates looked at per query and source (dense, lexical).
        per_query: Negatives kept per query at most.
        margin: A negative's dense score must be below this share of the median positive's.
        word_veto: Leave out products that hold every word of the query.
        hidden_share: Share of the queries with several positives that are mined again with one of them hidden, to
            estimate how many negatives are good products.
        epochs: Passes over the pairs with the mined negatives.
        rate_share: Their peak learning rate, as a share of the first training's.
        max_negatives: Mined negatives that join a query's batch at most.
        seed: Chooses what is hidden.
    """

    depth: int = 100
    per_query: int = 8
    margin: float = 0.95
    word_veto: bool = True
    hidden_share: float = 0.2
    epochs: int = 1
    rate_share: float = 0.5
    max_negatives: int = 2
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("depth", "per_query", "epochs", "max_negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"mining.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.margin <= 1 or self.rate_share <= 0:
            raise ValueError(
                f"mining.margin must be in (0, 1] and mining.rate_share > 0, got {self.margin} and {self.rate_share}"
            )
        if not 0 <= self.hidden_share <= 1:
            raise ValueError(f"mining.hidden_share must be in [0, 1], got {self.hidden_share}")


@dataclass(kw_only=True, slots=True)
class SyntheticConfig:
    """Queries made from products, for catalogues with few labels or none.

    Attributes:
        products: Products that queries are made from, drawn with the seed.
        per_product: Queries of one product at most.
        noise_share: Share with a typo or a unit in another form.
        synonym_share: Share whose words are replaced by those that the catalogue uses in their place.
        shuffle_share: Share with their words in another order.
        round_trip: A query is kept when its product is among so many that the system so far finds for it; 0 keeps all.
        dev_share: Share of the queries held out to stop training.
        seed: Draws.
    """

    products: int = 5000
    per_product: int = 2
    noise_share: float = 0.2
    synonym_share: float = 0.2
    shuffle_share: float = 0.2
    round_trip: int = 50
    dev_share: float = 0.05
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("products", "per_product"):
            if getattr(self, name) < 1:
                raise ValueError(f"synthetic.{name} must be at least 1, got {getattr(self, name)}")
        if self.round_trip < 0:
            raise ValueError(f"synthetic.round_trip must be 0 or more, got {self.round_trip}")
        for name in ("noise_share", "synonym_share", "shuffle_share", "dev_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"synthetic.{name} must be in [0, 1], got {getattr(self, name)}")
