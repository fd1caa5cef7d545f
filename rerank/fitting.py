"""Fit a cross-encoder to graded pairs: one plain loop, with early stopping on held-out queries.

Why not the library's trainer: it wants its own dataset type and two more packages, tokenises every pair anew in every
epoch, cannot group pairs by length, writes into the working directory, and stops early on metrics that know nothing of
the first stage. What is left of a training loop without that fits on a page, and says what it does.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from indexing.errors import ConfigError, EnvironmentProblem
from indexing.types import IntVector
from rerank.config import CrossEncoderTrainerConfig
from rerank.cross_encoder import forward_scores
from rerank.objectives import Objective
from rerank.pairs import EncodedPair
from retrieval.config import Precision
from retrieval.learner import is_out_of_memory, rate_share
from retrieval.runtime import autocast

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

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


def plan(objective: Objective, pairs: Sequence[EncodedPair], config: CrossEncoderTrainerConfig) -> list[IntVector]:
    """Return the batches of a whole training, all epochs after each other: one step each, without early stopping."""
    rng = np.random.default_rng(config.seed)
    lengths = np.array([len(pair.tokens) for pair in pairs])
    return [batch for _ in range(config.epochs) for batch in objective.batches(lengths, config.batch_size, rng)]


def fit(
    model: "CrossEncoder",
    pairs: Sequence[EncodedPair],
    objective: Objective,
    batches: Sequence[IntVector],
    *,
    config: CrossEncoderTrainerConfig,
    device: str,
    precision: Precision,
    evaluate: Callable[[], float] | None,
    advance: Callable[[int], object],
    named: Callable[[IntVector], str],
    rescue: Callable[[int], str] | None = None,
) -> Fit:
    """Fit ``model`` in place and leave it with the weights of its best evaluation.

    Args:
        model: One output; every parameter that requires a gradient is trained.
        pairs: What to learn from, [n], at least one.
        objective: What the scores of the pairs are fitted to.
        batches: As `plan` returns them.
        config: Rate, evaluations, patience.
        device: Where ``model`` is.
        precision: Arithmetic of the forward pass.
        evaluate: Scores the model as it stands on held-out queries; ``None`` keeps the last weights.
        advance: Called after every step with the steps taken since the last call, 1.
        named: Says in words which pairs a batch holds.
        rescue: Called with the best step when the loss is not finite and an evaluation was made before, the model back
            at its weights then; keeps them, and says where.

    Raises:
        ConfigError: If the loss is no longer finite; the message names the step, its pairs and the rate, and where the
            last good weights are.
        EnvironmentProblem: If a step does not fit into memory; the message says what makes it smaller.

    Source:
        The schedule (linear warm-up, then linear to 0): Devlin et al., NAACL 2019.
    """
    take_step = _stepper(model, objective, config, len(batches))
    watch = _Watch(model, evaluate, patience=config.patience)
    due = _evaluation_steps(len(batches), config)
    step, losses = 0, []
    model.train(config.dropout)
    for batch in batches:
        step += 1
        with _room_for(batch, config, device):
            with autocast(device, precision):
                scores = forward_scores(model, [pairs[i] for i in batch], device)
            loss = objective.loss(scores, batch)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ConfigError(_diverged(losses[-1], step, named(batch), config) + watch.rescued(rescue))
            take_step(loss, step)
        advance(1)
        if step in due and not watch.goes_on(step, losses):
            break
    return watch.finish(step, losses)


@contextmanager
def _room_for(batch: IntVector, config: CrossEncoderTrainerConfig, device: str) -> Iterator[None]:
    """Turn a lack of memory into an error that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentProblem(
            f"out of memory at a step of {len(batch)} pairs on {device}; trainer.batch_size={max(1, len(batch) // 2)} "
            f"halves what a step needs, and so does half of trainer.max_tokens={config.max_tokens}"
        ) from error


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

    def rescued(self, rescue: Callable[[int], str] | None) -> str:
        """Go back to the best weights, have them kept, and say where they are; nothing when there are none."""
        if self._best is None or rescue is None:
            return ""
        self._model.load_state_dict(self._weights)
        self._model.eval()
        return f"; the best weights so far, of step {self._best.step}, stay in {rescue(self._best.step)}"

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
    model: "CrossEncoder", objective: Objective, config: CrossEncoderTrainerConfig, total: int
) -> Callable[[torch.Tensor, int], None]:
    """Return what takes one optimiser step from a loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": trained}]
    if objective.parameters:  # thresholds are few and their place is what is learned: nothing pulls them to 0
        groups.append({"params": objective.parameters, "weight_decay": 0.0})  # type: ignore[dict-item]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)

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


def _diverged(loss: float, step: int, pairs: str, config: CrossEncoderTrainerConfig) -> str:
    return (
        f"the loss is {loss} at step {step}, for a batch with {pairs}; lower trainer.learning_rate (now "
        f"{config.learning_rate}), or set trainer.precision=fp32"
    )
