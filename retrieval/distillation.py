"""Teach a dual encoder what a slower model makes of lists of products: its order, and by how much.

A cross-encoder reads query and product together and tells apart what two vectors do not; what it says of products that
nobody judged is worth learning too. The dual encoder learns its distribution over each list, not its scores: where a
score of 0 lies, and how large a difference is, are the teacher's own affair.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexing.errors import SourceDataError, VectorError
from indexing.types import FloatVector
from retrieval.bars import bar
from retrieval.config import EncoderConfig, RuntimeConfig
from retrieval.contrastive import Watch, open_for_training, plain, seeded
from retrieval.dev import DevSet
from retrieval.encoder import DualEncoder
from retrieval.folder import require_empty, write_model_folder
from retrieval.learner import MAX_GRADIENT, optimiser_over, rate_share, trained_parameters
from retrieval.runtime import autocast
from retrieval.stopping import DevPoint, EarlyStopping
from retrieval.tower import read_settings
from retrieval.training_config import ContrastiveConfig, DistillationConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TaughtList:
    """A query and some products, as a teacher scores them.

    Attributes:
        query: Query text.
        products: Product texts, two or more.
        scores: The teacher's score of each, finite, float32 [n].
    """

    query: str
    products: tuple[str, ...]
    scores: FloatVector


@dataclass(frozen=True, slots=True)
class DistillationReport:
    """What a distillation did.

    Attributes:
        lists: Lists learned from.
        pairs: Products in them.
        steps: Steps taken.
        loss: Mean loss over the first and the last tenth of the steps.
        dev: Every look at the held-out queries, the model as it came first.
        best_step: The step whose weights were kept; 0 is the model as it came.
        seconds: Wall time.
    """

    lists: int
    pairs: int
    steps: int
    loss: tuple[float, float]
    dev: tuple[DevPoint, ...]
    best_step: int
    seconds: float


def distil(
    config: ContrastiveConfig,
    taught: DistillationConfig,
    lists: Sequence[TaughtList],
    *,
    encoder: EncoderConfig,
    runtime: RuntimeConfig,
    dev: DevSet | None,
    out: Path,
    watch: Watch | None = None,
    progress: bool = True,
) -> DistillationReport:
    """Train the dual encoder on a teacher's lists and write the best of it as a sentence-transformers folder.

    Args:
        config: Lengths, precision, warm-up, patience, temperature of the cosines, frozen embeddings, seed.
        taught: Passes, lists per step, rate and the teacher's temperature.
        lists: What is learned from.
        encoder: Where it starts.
        runtime: Device and threads.
        dev: Held-out queries that stop the training and choose the weights; ``None`` keeps the last.
        out: Folder to write; must not exist, or be empty.
        watch: Told of every step.
        progress: Show a bar on stderr when it takes more than two seconds.

    Raises:
        SourceDataError: If there is no list, or one has a single product or a score that is not finite.
        VectorError: If the loss stops being finite; the message names the queries of the batch.
        StorageError: If ``out`` holds something, or the file system refuses.
    """
    require_empty(out)
    _check(lists)
    started = time.perf_counter()
    tower = open_for_training(config, encoder, runtime)
    with seeded(config.seed):
        run = _Run(tower, config, taught, lists, dev)
        losses = run.fit(watch or (lambda step, values: None), progress=progress)
    tenth = max(1, len(losses) // 10)
    report = DistillationReport(
        lists=len(lists),
        pairs=sum(len(taught_list.products) for taught_list in lists),
        steps=len(losses),
        loss=(float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))),
        dev=tuple(run.stopping.points),
        best_step=run.stopping.best.step if run.stopping.best else len(losses),
        seconds=time.perf_counter() - started,
    )
    record = {"trainer": plain(config), "distillation": asdict(taught), "report": asdict(report)}
    write_model_folder(
        tower.model, out, settings=read_settings(tower.folder, encoder), records={"training.json": record}
    )
    return report


def list_loss(
    similarities: "torch.Tensor", teacher: "torch.Tensor", *, temperature: float, teacher_temperature: float
) -> "torch.Tensor":
    """Return the divergence of the student's distribution over each list from the teacher's, the mean over lists.

    ``sum p * (log p - log q)`` with ``p = softmax(teacher / teacher_temperature)`` and
    ``q = softmax(similarities / temperature)``.

    Args:
        similarities: Cosines of the query and its products, [b, n]; places that hold no product are -inf.
        teacher: Its scores, [b, n], -inf in the same places.
        temperature: Of the cosines, above 0.
        teacher_temperature: Of the scores, above 0; a larger one makes them milder.

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; over lists of products:
        Ren et al., "RocketQAv2", EMNLP 2021, equation 4.
    """
    import torch

    there = torch.isfinite(teacher)
    wanted = torch.log_softmax(teacher / teacher_temperature, dim=1)
    given = torch.log_softmax(similarities / temperature, dim=1)
    zero = torch.zeros_like(given)
    apart = torch.where(there, wanted - given, zero)  # -inf less -inf where nothing is
    return (torch.where(there, wanted.exp(), zero) * apart).sum(dim=1).mean()


class _Run:
    """One distillation: the tower, its optimiser, and the held-out queries that stop it."""

    def __init__(
        self,
        tower: DualEncoder,
        config: ContrastiveConfig,
        taught: DistillationConfig,
        lists: Sequence[TaughtList],
        dev: DevSet | None,
    ) -> None:
        self._tower, self._config, self._taught, self._lists = tower, config, taught, lists
        self._parameters = trained_parameters(tower, dropout=config.dropout, freeze_embeddings=config.freeze_embeddings)
        self._optimiser = optimiser_over(self._parameters, taught.learning_rate)
        self.stopping = EarlyStopping(tower, dev, self._parameters, patience=config.patience)

    def fit(self, watch: Watch, *, progress: bool) -> list[float]:
        """Train, leave the best weights in the tower, and return the loss of every step."""
        batches = list(self._batches())
        looks = {
            round(len(batches) * (n + 1) / (self._taught.epochs * self._config.evaluations))
            for n in range(self._taught.epochs * self._config.evaluations)
        }
        self.stopping.look(epoch=0.0, step=0)
        losses: list[float] = []
        with bar("distil", len(batches), unit="steps", shown=progress) as steps_done:
            for step, batch in enumerate(batches, start=1):
                share = rate_share(step, len(batches), self._config.warmup_share)
                losses.append(self._step(batch, step, share))
                watch(step, {"loss": losses[-1], "rate": share * self._taught.learning_rate})
                steps_done.update()
                if step in looks and self.stopping.look(epoch=step * self._taught.epochs / len(batches), step=step):
                    break
        self.stopping.restore()
        return losses

    def _batches(self) -> Iterator[list[TaughtList]]:
        for epoch in range(self._taught.epochs):
            order = np.random.default_rng([self._config.seed, 3, epoch]).permutation(len(self._lists))
            for start in range(0, len(order), self._taught.lists_per_step):
                yield [self._lists[place] for place in order[start : start + self._taught.lists_per_step]]

    def _step(self, batch: Sequence[TaughtList], step: int, share: float) -> float:
        import torch

        self._tower.model.train()
        self._optimiser.zero_grad()
        loss = self._loss(batch)
        value = loss.item()
        if not np.isfinite(value):
            self._tower.model.eval()
            named = ", ".join(repr(taught_list.query) for taught_list in batch[:3])
            raise VectorError(
                f"the distillation loss is {value} at step {step}, for a batch with the queries {named}; lower "
                f"distillation.learning_rate (now {self._taught.learning_rate}), or set precision=fp32"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT)
        for group in self._optimiser.param_groups:
            group["lr"] = self._taught.learning_rate * share
        self._optimiser.step()
        self._tower.model.eval()
        return value

    def _loss(self, batch: Sequence[TaughtList]) -> "torch.Tensor":
        import torch

        tower = self._tower
        queries, products = tower.query_tokenizer, tower.product_tokenizer
        texts = [text for taught_list in batch for text in taught_list.products]
        with autocast(tower.device, tower.precision):
            asked = tower.forward(queries, queries.rows([taught_list.query for taught_list in batch]))
            found = tower.forward(products, products.rows(texts))
        longest = max(len(taught_list.products) for taught_list in batch)
        similarities = torch.full((len(batch), longest), -torch.inf, device=tower.device)
        teacher = torch.full((len(batch), longest), -torch.inf, device=tower.device)
        start = 0
        for row, taught_list in enumerate(batch):
            count = len(taught_list.products)
            similarities[row, :count] = found[start : start + count].float() @ asked[row].float()
            teacher[row, :count] = torch.from_numpy(taught_list.scores).to(tower.device)
            start += count
        return list_loss(
            similarities,
            teacher,
            temperature=self._config.temperature,
            teacher_temperature=self._taught.temperature,
        )


def _check(lists: Sequence[TaughtList]) -> None:
    if not lists:
        raise SourceDataError("there is no list to distil from; a teacher needs queries to learn and their candidates")
    for taught_list in lists:
        count = len(taught_list.products)
        if count < 2 or taught_list.scores.shape != (count,) or not np.isfinite(taught_list.scores).all():
            raise SourceDataError(
                f"a list needs two products or more, each with a finite score; query {taught_list.query!r} has {count} "
                f"products and the scores {taught_list.scores.tolist()!r:.80}"
            )
