"""What the second stage can be: plain dataclasses that Hydra fills and ``match`` reads. Standard library only."""

from dataclasses import dataclass
from enum import Enum

from retrieval.config import TRAINING_PRECISIONS, Precision

LEAST_PASSES = 10
"""Hits by which an answer is judged (`rerank.answer.LOOKED_AT`): all of them need the score that was calibrated."""


@dataclass(kw_only=True, slots=True)
class RerankerConfig:
    """No second stage: the first-stage order passes through."""


@dataclass(kw_only=True, slots=True)
class CrossEncoderConfig(RerankerConfig):
    """A cross-encoder that reads query and product together.

    Attributes:
        model: A sentence-transformers CrossEncoder folder with a trained head, as ``train-reranker`` writes it.
        max_tokens: Longest pair, in tokens; 0 keeps the model's own.
        weight: Weight of the cross-encoder in the final fusion, in [0, 1]; below 0 takes the one stored with the model
            (chosen on held-out queries; 0 unless it won there).
        student: A folder of a cross-encoder with fewer layers that sees the candidates first, as step ``student`` of a
            recipe makes it; empty for none.
        passes: How many candidates the student passes on to ``model``.
    """

    model: str
    max_tokens: int = 0
    weight: float = -1.0
    student: str = ""
    passes: int = 20

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.weight > 1:
            raise ValueError(f"reranker.weight must be in [0, 1], or below 0 for the stored one, got {self.weight}")
        if self.passes < LEAST_PASSES:
            raise ValueError(f"reranker.passes must be at least {LEAST_PASSES}, got {self.passes}")


@dataclass(kw_only=True, slots=True)
class ConfidenceConfig:
    """What is learned of how far answers can be trusted: probabilities of hits, and when there is no good match.

    Attributes:
        good: Smallest grade that counts as a good match.
        precision: Wanted of "no good match": how many of the answers called so have none.
        share: Share of all queries that is taken to have no good match, without which a precision means nothing.
        queries: Held-out queries that are asked for it, at most; the first ones of a shuffle.
        seed: Of the shuffle and of the cross-validations.
    """

    good: int = 2
    precision: float = 0.9
    share: float = 0.2
    queries: int = 400
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.good < 1 or self.queries < 1:
            raise ValueError(
                f"confidence.good and confidence.queries must be at least 1, got {self.good} and {self.queries}"
            )
        if not (0 < self.precision < 1 and 0 < self.share < 1):
            raise ValueError(
                f"confidence.precision and confidence.share must be in (0, 1), got {self.precision} and {self.share}"
            )


class Loss(Enum):
    """What a cross-encoder's score is fitted to; `rerank.objectives` says how, and where each comes from."""

    binary = "binary"
    ordinal = "ordinal"
    listwise = "listwise"


@dataclass(kw_only=True, slots=True)
class CrossEncoderTrainerConfig:
    """Fine-tuning of a cross-encoder on graded labels.

    Attributes:
        base: ``minilm`` or a folder with a BERT-like encoder (a trained dual encoder is a good start).
        layers: Keep only the first so many transformer layers; 0 keeps all.
        loss: ``binary`` fits the score to the grade as a share of the highest, ``ordinal`` to each step of the scale
            with a threshold of its own, ``listwise`` to the order within a query.
        teacher: Folder of a trained cross-encoder whose scores are learned in place of the grades, so that fewer layers
            answer nearly as it does; the grades then choose the pairs, and ``loss`` has no part. Empty for none.
        teacher_depth: With a teacher, so many of each query's first candidates are learned too, judged or not.
        top_grade: Highest grade of the scale, which no judgment may exceed; 0 takes the highest judged.
        epochs: Passes over the pairs.
        batch_size: Pairs per step; with ``listwise`` whole queries up to so many, or one longer one.
        learning_rate: Peak rate of AdamW. The default suits MiniLM's width of 384 (built-in store, one pass, three
            layers: dev nDCG@10 .866 with 2e-4, .856 with 1e-4); BERT-base takes a tenth of it (Devlin et al., 2019).
        warmup_share: Share of the steps over which the rate rises.
        max_tokens: Longest pair, in tokens.
        max_per_grade: Judged products taken per query and grade at most (sampled with the seed).
        random_negatives: Unjudged random products added per query as grade 0; training on hard pairs alone makes deep
            candidate lists worse (arXiv 2411.11767).
        negatives_from_first_stage: Grade-0 products added per query out of its first-stage list, which is what the
            reranker will have to tell apart.
        complete_grades: Whether an unjudged product is known to be a bad one. Only then are unjudged products of the
            first-stage lists taken as grade 0; elsewhere many of them are good ones that nobody judged.
        dev_share: Share of the training queries held out for early stopping and for the final fusion's weight, where
            the source does not name them.
        patience: Stop after this many evaluations without a better dev score.
        evaluations: Evaluations per epoch.
        freeze_embeddings: Leave the word vectors as they are: a step is faster, and a word that no training pair holds
            keeps its place beside the ones that do.
        dropout: Train with the base's own dropout. Off, the same score is reached in half the passes, and a step on a
            CPU does without the sixth of its time that drawing masks takes (measured on the built-in store).
        precision: ``bf16`` trains under autocast where the device multiplies bfloat16 in hardware.
        seed: Seeds order, sampling and dropout.
    """

    base: str = "minilm"
    layers: int = 0
    loss: Loss = Loss.binary
    teacher: str = ""
    teacher_depth: int = 16
    top_grade: int = 0
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 2e-4
    warmup_share: float = 0.1
    max_tokens: int = 96
    max_per_grade: int = 4
    random_negatives: int = 2
    negatives_from_first_stage: int = 6
    complete_grades: bool = False
    dev_share: float = 0.1
    patience: int = 3
    evaluations: int = 1
    freeze_embeddings: bool = True
    dropout: bool = False
    precision: Precision = Precision.bf16
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("epochs", "batch_size", "max_tokens", "max_per_grade", "patience", "evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"trainer.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("layers", "teacher_depth", "top_grade", "random_negatives", "negatives_from_first_stage"):
            if getattr(self, name) < 0:
                raise ValueError(f"trainer.{name} must be 0 or more, got {getattr(self, name)}")
        if self.precision not in TRAINING_PRECISIONS:
            raise ValueError(f"trainer.precision must be fp32 or bf16, got {self.precision.name}")
        if self.learning_rate <= 0:
            raise ValueError(f"trainer.learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.warmup_share <= 1 or not 0 <= self.dev_share < 1:
            shares = f"{self.warmup_share} and {self.dev_share}"
            raise ValueError(f"trainer.warmup_share must be in [0, 1] and trainer.dev_share in [0, 1), got {shares}")
