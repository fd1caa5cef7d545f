"""Fit a cross-encoder to graded pairs: one plain loop, with early stopping on held-out queries.

Why not the library's trainer: it wants its own dataset type and two more packages, tokenises every pair anew in every
epoch, cannot group pairs by length, writes into the working directory, and stops early on metrics that know nothing of
the first stage. What is left of a training loop without that fits on a page, and says what it does.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from indexing.errors import ConfigError
from indexing.types import IntVector
from rerank.config import CrossEncoderTrainerConfig
from rerank.cross_encoder import forward_scores
from rerank.fusion import FloatVector
from rerank.pairs import EncodedPair
from retrieval.config import Precision
from retrieval.learner import rate_share
from retrieval.runtime import autocast

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

BATCHES_PER_POOL = 50
"""Batches are cut from so many batches' worth of shuffled pairs sorted by length: little padding, and still little
order."""

GRADIENT_NORM = 1.0
"""Longest gradient of a step. Devlin et al., NAACL 2019 (BERT's released optimiser clips at 1)."""

WEIGHT_DECAY = 0.01
"""AdamW's decay. Devlin et al., NAACL 2019, section A.2."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at the held-out queries.

    Attributes:
        step: Steps taken so far.
        loss: Mean training loss since the evaluation before.
        score: What early stopping goes by; higher is better.
    """

    step: int
    loss: float
    score: float


@dataclass(frozen=True, slots=True)
class Fit:
    """How the fitting went.

    Attributes:
        steps: Steps taken.
        best_step: The step whose weights were kept.
        loss: Mean training loss over all steps.
        evaluations: In order; empty without held-out queries.
    """

    steps: int
    best_step: int
    loss: float
    evaluations: tuple[Evaluation, ...]


def fit(
    model: "CrossEncoder",
    pairs: Sequence[EncodedPair],
    labels: FloatVector,
    *,
    config: CrossEncoderTrainerConfig,
    device: str,
    precision: Precision,
    evaluate: Callable[[], float] | None,
    advance: Callable[[int], object],
) -> Fit:
    """Fit ``model`` in place and leave it with the weights of its best evaluation.

    The loss is binary cross-entropy between the sigmoid of the score and the label. Its minimum for a pair is the mean
    label, so that with labels in proportion to gains the score rises with the expected gain, which is what NDCG is paid
    in.

    Args:
        model: One output; every parameter that requires a gradient is trained.
        pairs: What to learn from, [n], at least one.
        labels: In [0, 1], float32 [n].
        config: Epochs, batch size, rate, patience, seed.
        device: Where ``model`` is.
        precision: Arithmetic of the forward pass.
        evaluate: Scores the model as it stands on held-out queries; ``None`` keeps the last weights.
        advance: Called after every step with the steps taken since the last call, 1.

    Raises:
        ConfigError: If the loss is no longer finite; the message names the step and the rate.

    Source:
        The loss: sentence-transformers 6.2, "Training Overview" of the cross-encoders (BinaryCrossEntropyLoss, "very
        challenging to outperform"). The schedule (linear warm-up, then linear to 0): Devlin et al., NAACL 2019.
    """
    rng = np.random.default_rng(config.seed)
    lengths = np.array([len(pair.tokens) for pair in pairs])
    targets = torch.from_numpy(labels).to(device)
    total = steps_in(len(pairs), config)
    take_step = _stepper(model, config, total)
    watch = _Watch(model, evaluate, patience=config.patience)
    due = _evaluation_steps(total, config)
    step, losses = 0, []
    model.train(config.dropout)
    for batch in (batch for _ in range(config.epochs) for batch in shuffled_batches(lengths, config.batch_size, rng)):
        with autocast(device, precision):
            scores = forward_scores(model, [pairs[i] for i in batch], device)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets[batch])
        step += 1
        losses.append(_finite(loss.item(), step, config))
        take_step(loss, step)
        advance(1)
        if step in due and not watch.goes_on(step, losses):
            break
    return watch.finish(step, losses)


def steps_in(pairs: int, config: CrossEncoderTrainerConfig) -> int:
    """Return the steps of a whole training, without early stopping."""
    return config.epochs * math.ceil(pairs / config.batch_size)


def shuffled_batches(lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
    """Yield every position once in batches of like length, in random order; all but the shortest pool's last are full.

    Args:
        lengths: Tokens per pair, int64 [n].
        batch_size: Positions per batch.
        rng: Shuffles; every call draws anew.
    """
    order = rng.permutation(len(lengths))
    pool = batch_size * BATCHES_PER_POOL
    batches = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    for i in rng.permutation(len(batches)):
        yield batches[i]


class _Watch:
    """Keeps the best weights seen and says when to stop."""

    def __init__(self, model: "CrossEncoder", evaluate: Callable[[], float] | None, *, patience: int) -> None:
        self._model = model
        self._evaluate = evaluate
        self._patience = patience
        self._evaluations: list[Evaluation] = []
        self._best: Evaluation | None = None
        self._weights: dict[str, torch.Tensor] = {}
        self._seen = 0

    def goes_on(self, step: int, losses: Sequence[float]) -> bool:
        """Evaluate; return False once ``patience`` evaluations in a row brought nothing better."""
        if self._evaluate is None:
            return True
        was_training = self._model.training
        self._model.eval()
        score = self._evaluate()
        self._model.train(was_training)
        found = Evaluation(step=step, loss=float(np.mean(losses[self._seen :])), score=score)
        self._seen = len(losses)
        self._evaluations.append(found)
        if self._best is None or found.score > self._best.score:
            self._best = found
            self._weights = copy.deepcopy(self._model.state_dict())
        return len(self._evaluations) - 1 - self._evaluations.index(self._best) < self._patience

    def finish(self, step: int, losses: Sequence[float]) -> Fit:
        if self._weights:
            self._model.load_state_dict(self._weights)
        self._model.eval()
        return Fit(
            steps=step,
            best_step=self._best.step if self._best else step,
            loss=float(np.mean(losses)),
            evaluations=tuple(self._evaluations),
        )


def _stepper(
    model: "CrossEncoder", config: CrossEncoderTrainerConfig, total: int
) -> Callable[[torch.Tensor, int], None]:
    """Return what takes one optimiser step from a loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)

    def take(loss: torch.Tensor, step: int) -> None:
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_share(step, total, config.warmup_share)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, GRADIENT_NORM)
        optimiser.step()

    return take


def _evaluation_steps(total: int, config: CrossEncoderTrainerConfig) -> set[int]:
    looks = config.epochs * config.evaluations
    return {max(1, round(total * (look + 1) / looks)) for look in range(looks)}


def _finite(loss: float, step: int, config: CrossEncoderTrainerConfig) -> float:
    if not math.isfinite(loss):
        raise ConfigError(
            f"the loss is {loss} at step {step}; lower trainer.learning_rate (now {config.learning_rate}), or set "
            f"trainer.precision=fp32"
        )
    return loss
