"""One model and its optimiser: the step that a training loop repeats, in plain torch."""

from typing import TYPE_CHECKING

from indexing.errors import VectorError
from retrieval.config import ContrastiveConfig
from retrieval.encoder import DualEncoder
from retrieval.infonce import info_nce
from retrieval.pairs import PairBatch, TrainingPairs
from retrieval.runtime import autocast

if TYPE_CHECKING:
    import torch

WEIGHT_DECAY = 0.01
"""Of matrices; biases and norms have none (Devlin et al., BERT, 2019, appendix A.2)."""

MAX_GRADIENT = 1.0
"""Gradients are scaled down to this norm (google-research/bert, optimization.py)."""

QUERIES_NAMED = 3
"""Queries of a batch that an error quotes."""


class Learner:
    """A tower and AdamW over those of its parameters that are to change.

    Attributes:
        parameters: The parameters that change, in the order of the model.
    """

    def __init__(self, tower: DualEncoder, pairs: TrainingPairs, *, config: ContrastiveConfig) -> None:
        """Tokenise all texts once and set up the optimiser."""
        import torch

        self._tower = tower
        self._pairs = pairs
        self._config = config
        self._query_rows = tower.query_tokenizer.rows(pairs.queries)
        self._product_rows = tower.product_tokenizer.rows(pairs.products)
        if config.freeze_embeddings:
            tower.model[0].auto_model.get_input_embeddings().requires_grad_(False)
        self.parameters = [weight for weight in tower.model.parameters() if weight.requires_grad]
        groups = [
            {"params": [weight for weight in self.parameters if weight.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [weight for weight in self.parameters if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)

    def loss(self, batch: PairBatch) -> "torch.Tensor":
        """Return the loss of a batch with its gradient; the vectors and the loss itself are float32."""
        import torch

        queries, products = self._tower.query_tokenizer, self._tower.product_tokenizer
        with autocast(self._tower.device, self._tower.precision):
            query_vectors = self._tower.forward(queries, [self._query_rows[row] for row in batch.queries])
            product_vectors = self._tower.forward(products, [self._product_rows[row] for row in batch.products])
        known = torch.from_numpy(batch.known).to(query_vectors.device)
        return info_nce(query_vectors, product_vectors, known, temperature=self._config.temperature)

    def step(self, batch: PairBatch, *, rate_share: float) -> float:
        """Take one step at a share of the peak learning rate and return the loss before it.

        Raises:
            VectorError: When the loss is not finite; the weights stay as they were before the step.
        """
        import torch

        self._tower.model.train()
        loss = self.loss(batch)
        if not torch.isfinite(loss):
            raise VectorError(
                f"the training loss is {loss.item()} for a batch with the queries {self._named(batch)}; "
                f"lower trainer.learning_rate, raise trainer.temperature, or set trainer.precision=fp32"
            )
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no annotation for it
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT)
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * rate_share
        self._optimiser.step()
        self._tower.model.eval()
        return float(loss.item())

    def _named(self, batch: PairBatch) -> str:
        texts = list(dict.fromkeys(self._pairs.queries[row] for row in batch.queries))
        more = f" and {len(texts) - QUERIES_NAMED} more" if len(texts) > QUERIES_NAMED else ""
        return ", ".join(repr(text) for text in texts[:QUERIES_NAMED]) + more


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
