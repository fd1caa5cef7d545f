"""One model and its optimiser: the step that a training loop repeats, in plain torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexing.errors import EnvironmentProblem, VectorError
from indexing.types import IntVector
from retrieval.batches import RoleTokenizer, TokenRow
from retrieval.encoder import DualEncoder
from retrieval.gradcache import Alone, Group, Side, cached_backward
from retrieval.infonce import info_nce
from retrieval.noise import QueryNoise, agreement
from retrieval.pairs import PairBatch, TrainingPairs
from retrieval.runtime import autocast
from retrieval.training_config import ContrastiveConfig

if TYPE_CHECKING:
    import torch

WEIGHT_DECAY = 0.01
"""Of matrices; biases and norms have none (Devlin et al., BERT, 2019, appendix A.2)."""

MAX_GRADIENT = 1.0
"""Gradients are scaled down to this norm (google-research/bert, optimization.py)."""

QUERIES_NAMED = 3
"""Queries of a batch that an error quotes."""

STEP_SEEDS = 1_000_003
"""Parts the seeds of two runs: more steps than any run takes."""


class Learner:
    """A tower and AdamW over those of its parameters that are to change.

    Attributes:
        parameters: The parameters that change, in the order of the model.
        optimiser: AdamW over them.
    """

    def __init__(
        self,
        tower: DualEncoder,
        pairs: TrainingPairs,
        *,
        config: ContrastiveConfig,
        group: Group | None = None,
        noise: QueryNoise | None = None,
        renderings: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Tokenise all texts once and set up the optimiser.

        Args:
            tower: The model to train, in place.
            pairs: What it learns from.
            config: The recipe.
            group: Processes that share every batch; ``None`` is this one alone.
            noise: Makes the misspelt twin of a query; used where ``config.noise_weight`` is above 0.
            renderings: product_id -> texts with fields left out; used where ``config.field_dropout`` is above 0.
        """
        self._tower = tower
        self._pairs = pairs
        self._config = config
        self._group = group or Alone()
        self._noise = noise if config.noise_weight else None
        self._query_rows = tower.query_tokenizer.rows(pairs.queries)
        self._product_rows = tower.product_tokenizer.rows(pairs.products)
        known = renderings if config.field_dropout and renderings is not None else {}
        self._renderings = [tower.product_tokenizer.rows(known.get(name, ())) for name in pairs.product_ids]
        self.parameters = trained_parameters(tower, dropout=config.dropout, freeze_embeddings=config.freeze_embeddings)
        self.optimiser = optimiser_over(self.parameters, config.learning_rate)

    def backward(self, batch: PairBatch, *, step: int) -> float:
        """Put the gradient of a batch's loss into the parameters and return the loss.

        Args:
            batch: What is learned from.
            step: Number of the step; with the recipe's seed it decides dropout and noise.

        Raises:
            EnvironmentProblem: When memory does not suffice; the message says which setting halves it.
        """
        self.optimiser.zero_grad()
        seed = self._config.seed * STEP_SEEDS + step
        try:
            return cached_backward(
                self._sides(batch, seed),
                self._loss(batch),
                batch_tokens=self._config.batch_tokens,
                dim=self._tower.dim,
                seed=seed,
                group=self._group,
                parameters=self.parameters,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise EnvironmentProblem(
                f"out of memory at a step of {len(batch.queries)} queries and {len(batch.products)} products with "
                f"trainer.batch_tokens={self._config.batch_tokens} on {self._tower.device}; "
                f"trainer.batch_tokens={max(1, self._config.batch_tokens // 2)} halves what a step needs and changes "
                "no result"
            ) from error

    def step(self, batch: PairBatch, *, step: int, rate_share: float) -> float:
        """Take one step at a share of the peak learning rate and return the loss before it.

        Raises:
            VectorError: When the loss is not finite; the weights stay as they were before the step.
            EnvironmentProblem: As `backward`.
        """
        import math

        import torch

        self._tower.model.train()
        loss = self.backward(batch, step=step)
        if not math.isfinite(loss):
            self._tower.model.eval()
            raise VectorError(
                f"the training loss is {loss} at step {step}, for a batch with the queries {self._named(batch)}; "
                f"lower trainer.learning_rate, raise trainer.temperature, or set trainer.precision=fp32"
            )
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT)
        for group in self.optimiser.param_groups:
            group["lr"] = self._config.learning_rate * rate_share
        self.optimiser.step()
        self._tower.model.eval()
        return loss

    def _sides(self, batch: PairBatch, seed: int) -> list[Side]:
        queries, products = self._tower.query_tokenizer, self._tower.product_tokenizer
        sides = [
            Side([self._query_rows[row] for row in batch.queries], self._encode_with(queries)),
            Side(self._shown(batch.products, seed), self._encode_with(products)),
        ]
        if self._noise is not None:
            noisy = self._noise.twins([self._pairs.queries[row] for row in batch.queries], seed=seed)
            sides.append(Side(queries.rows(noisy), self._encode_with(queries)))
        return sides

    def _shown(self, rows: IntVector, seed: int) -> list[TokenRow]:
        """Return the products of a batch as they are read: a share of them with fields left out."""
        rng = np.random.default_rng([seed, 2])
        shown = []
        for row, draw, choice in zip(rows, rng.random(len(rows)), rng.random(len(rows)), strict=True):
            others = self._renderings[row]
            dropped = others and draw < self._config.field_dropout
            shown.append(others[int(choice * len(others))] if dropped else self._product_rows[row])
        return shown

    def _encode_with(self, role: RoleTokenizer) -> "Callable[[Sequence[TokenRow]], torch.Tensor]":
        def encode(rows: Sequence[TokenRow]) -> "torch.Tensor":
            with autocast(self._tower.device, self._tower.precision):
                return self._tower.forward(role, rows)

        return encode

    def _loss(self, batch: PairBatch) -> "Callable[..., torch.Tensor]":
        import torch

        config = self._config

        def loss(queries: "torch.Tensor", products: "torch.Tensor", *noisy: "torch.Tensor") -> "torch.Tensor":
            clean = info_nce(
                queries,
                products,
                weights=torch.from_numpy(batch.weights).to(queries),
                negatives=torch.from_numpy(batch.negatives).to(queries.device),
                temperature=config.temperature,
                reverse_share=config.reverse_share,
                dims=config.dims,
            )
            if not noisy:
                return clean
            return clean + config.noise_weight * agreement(queries, noisy[0], products, temperature=config.temperature)

        return loss

    def _named(self, batch: PairBatch) -> str:
        texts = [self._pairs.queries[row] for row in batch.queries]
        more = f" and {len(texts) - QUERIES_NAMED} more" if len(texts) > QUERIES_NAMED else ""
        return ", ".join(repr(text) for text in texts[:QUERIES_NAMED]) + more


def trained_parameters(tower: DualEncoder, *, dropout: bool, freeze_embeddings: bool) -> "list[torch.Tensor]":
    """Set a tower up for training and return the parameters that change, in the order of the model."""
    import torch

    if not dropout:
        for module in tower.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    if freeze_embeddings:
        tower.model[0].auto_model.get_input_embeddings().requires_grad_(False)
    return [weight for weight in tower.model.parameters() if weight.requires_grad]


def optimiser_over(parameters: "Sequence[torch.Tensor]", learning_rate: float) -> "torch.optim.AdamW":
    """Return AdamW over parameters; matrices decay, biases and norms do not."""
    import torch

    groups = [
        {"params": [weight for weight in parameters if weight.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for weight in parameters if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory did not suffice: CUDA has a class for it, the CPU a sentence."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the peak learning rate at a step: a linear rise, then a linear fall to 0 after the last step.

    Args:
        step: From 1 to ``steps``.
        steps: Steps planned.
        warmup_share: Share of the steps over which the rate rises; the last of them takes the peak.
    """
    rising = round(steps * warmup_share)
    if step <= rising:
        return step / rising
    return (steps - step + 1) / (steps - rising)
