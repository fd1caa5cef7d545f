"""What the second stage can be: plain dataclasses that Hydra fills and ``match`` reads. Standard library only."""

from dataclasses import dataclass

from retrieval.config import Precision


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
    """

    model: str
    max_tokens: int = 0
    weight: float = -1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.weight > 1:
            raise ValueError(f"reranker.weight must be in [0, 1], or below 0 for the stored one, got {self.weight}")


@dataclass(kw_only=True, slots=True)
class CrossEncoderTrainerConfig:
    """Fine-tuning of a cross-encoder on graded labels.

    Attributes:
        base: ``minilm`` or a folder with a BERT-like encoder (a trained dual encoder is a good start).
        layers: Keep only the first so many transformer layers; 0 keeps all.
        epochs: Passes over the pairs.
        batch_size: Pairs per step.
        learning_rate: Peak rate of AdamW.
        warmup_share: Share of the steps over which the rate rises.
        max_tokens: Longest pair, in tokens.
        max_per_grade: Judged products taken per query and grade at most (sampled with the seed).
        random_negatives: Unjudged random products added per query as grade 0; training on hard pairs alone makes deep
            candidate lists worse (arXiv 2411.11767).
        dev_share: Share of the training queries held out for early stopping and for the final fusion's weight.
        patience: Stop after this many evaluations without a better dev score.
        evaluations: Evaluations per epoch.
        precision: ``bf16`` trains under autocast.
        seed: Seeds order, sampling and dropout.
    """

    base: str = "minilm"
    layers: int = 0
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_share: float = 0.1
    max_tokens: int = 96
    max_per_grade: int = 8
    random_negatives: int = 4
    dev_share: float = 0.1
    patience: int = 3
    evaluations: int = 1
    precision: Precision = Precision.bf16
    seed: int = 7
