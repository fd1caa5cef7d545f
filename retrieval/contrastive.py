"""Fine-tune the dual encoder on judgments: contrastive batches, a seeded loop, the best weights on held-out queries.

The loop is plain torch, not the Trainer of sentence-transformers (docs/decisions/0010): that one resumes from pickles
(CVE-2026-1839), keeps the best weights by way of the disk, tokenises every epoch anew with one tokenizer for both
roles, and the loss would be ours all the same.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from indexing.errors import VectorError
from retrieval.adapters import low_rank
from retrieval.bars import bar
from retrieval.checkpoint import Checkpoint, Resumed
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.dev import DevSet, dev_set, split_queries
from retrieval.encoder import DualEncoder
from retrieval.folder import require_empty, write_model_folder
from retrieval.gradcache import Group
from retrieval.interpolation import set_between, weights_of
from retrieval.learner import Learner, rate_share
from retrieval.noise import QueryNoise
from retrieval.pairs import AlsoFits, PairBatch, TrainingPairs, training_pairs
from retrieval.processes import process_group
from retrieval.records import Judgment, Query
from retrieval.runtime import choose_device, has_bf16
from retrieval.stopping import DevPoint, EarlyStopping
from retrieval.tower import read_settings
from retrieval.training_config import ContrastiveConfig

logger = logging.getLogger(__name__)

Watch = Callable[[int, Mapping[str, float]], None]
"""Called after every step with its number and what was measured: ``loss``, ``rate``, and ``dev_ndcg`` at a look."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training run did.

    Attributes:
        queries: Distinct query texts learned from.
        pairs: (query, positive) pairs per epoch.
        missing: Judgments above 0 left out because their product has no text.
        steps: Steps taken.
        seconds: Wall time of training and evaluations.
        losses: Loss of every step.
        dev_queries: Held-out queries; 0 when nothing was held out.
        dev: Evaluations in order, the untrained model first; empty when nothing was held out.
        best_epoch: Epoch whose weights were kept; 0 is the untrained model.
        stopped_early: Whether patience ran out before the last epoch.
        resumed_at: Steps that an earlier, interrupted run had taken; 0 for a run of one piece.
        processes: How many shared every batch.
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic used; ``fp32`` where the device has no bfloat16, whatever was asked for.
    """

    queries: int
    pairs: int
    missing: int
    steps: int
    seconds: float
    losses: tuple[float, ...]
    dev_queries: int
    dev: tuple[DevPoint, ...]
    best_epoch: float
    stopped_early: bool
    resumed_at: int
    processes: int
    device: str
    precision: str

    @property
    def dev_before(self) -> float | None:
        """Dev nDCG@10 of the untrained model; ``None`` when nothing was held out."""
        return self.dev[0].ndcg if self.dev else None

    @property
    def dev_after(self) -> float | None:
        """Dev nDCG@10 of the weights that were kept, never below ``dev_before``; ``None`` when nothing was held out."""
        return max(point.ndcg for point in self.dev) if self.dev else None


def train_retriever(
    config: ContrastiveConfig,
    *,
    encoder: EncoderConfig,
    runtime: RuntimeConfig,
    queries: Sequence[Query],
    judgments: Sequence[Judgment],
    product_texts: Mapping[str, str],
    dev_query_ids: Collection[str] | None,
    out: Path,
    variants: Mapping[str, str] | None = None,
    negatives: Mapping[str, Sequence[str]] | None = None,
    also_fits: AlsoFits | None = None,
    renderings: Mapping[str, Sequence[str]] | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> TrainingReport:
    """Fine-tune the model that ``encoder`` names and write it as a plain sentence-transformers folder.

    The folder says prompts and lengths of ``encoder`` and holds a ``training.json``: configuration and report. Started
    by torchrun, the processes share every batch and the first of them writes.

    Args:
        config: The recipe.
        encoder: The model to start from and the prompts to train with.
        runtime: Device, threads, and tokens per batch of the evaluations; its precision is not used.
        queries: Queries that may be learned from or held out.
        judgments: Their grades.
        product_texts: product_id -> rendered text, of the whole catalogue or at least of every judged product.
        dev_query_ids: Queries held out for early stopping; ``None`` draws ``config.dev_share`` of them, an empty
            collection trains every epoch and keeps the last weights.
        out: The folder to write; must not exist, or be empty. A checkpoint lies beside it while training lasts.
        variants: product_id -> name of its variant group; no product is a negative of a query that a variant of it
            fits.
        negatives: Query text -> product ids worth pushing away, such as :func:`retrieval.mining.mine` finds.
        also_fits: Tells unlabelled places that must not be negatives.
        renderings: product_id -> texts with fields left out, for ``config.field_dropout``; see
            :func:`retrieval.renderings.renderings`.
        watch: Told of every step.
        progress: Show a bar on stderr when it takes more than two seconds.

    Raises:
        ConfigError, ArtifactUntrusted, EnvironmentProblem: As :meth:`retrieval.encoder.DualEncoder.open`.
        SourceDataError: When there is nothing to learn from, or no dev query has a judgment above 0.
        StorageError: When ``out`` holds something, or the file system refuses.
        VectorError: When the loss stops being finite; the message quotes the queries of the batch and says where the
            last checkpoint lies.
    """
    require_empty(out)
    rng = np.random.default_rng(config.seed)
    learned, held_out = split_queries(
        queries, judgments, dev_query_ids=dev_query_ids, dev_share=config.dev_share, rng=rng
    )
    pairs = training_pairs(
        learned,
        judgments,
        product_texts,
        min_grade=config.min_grade,
        max_grade=config.max_grade,
        weighting=config.weighting,
        variants=variants,
        also_fits=also_fits,
    )
    if negatives:
        pairs = pairs.with_negatives(negatives, product_texts, variants or {})
    dev = dev_set(held_out, judgments, product_texts, pool=config.dev_pool, rng=rng) if held_out else None
    tower = open_for_training(config, encoder, runtime)
    before = weights_of(tower.model)
    settings = {"trainer": plain(config), "encoder": plain(encoder)}
    checkpoint = Checkpoint.of(out, settings=settings, texts=_what_decides(pairs, dev, renderings or {}))
    with ExitStack() as stack:
        stack.enter_context(seeded(config.seed))
        group = stack.enter_context(process_group(tower.device))
        stack.enter_context(low_rank(tower, config.lora_rank))
        learner = Learner(tower, pairs, config=config, group=group, noise=QueryNoise(), renderings=renderings)
        run = _Run(learner, tower, pairs, dev, config=config, group=group, checkpoint=checkpoint, watch=watch)
        report = run.fit(progress=progress and group.rank == 0)
    if config.interpolation < 1:
        set_between(tower.model, before, weights_of(tower.model), config.interpolation)
    if group.rank == 0:
        record = settings | {"report": asdict(report)}
        write_model_folder(
            tower.model, out, settings=read_settings(tower.folder, encoder), records={"training.json": record}
        )
        checkpoint.remove()
    return report


def open_for_training(config: ContrastiveConfig, encoder: EncoderConfig, runtime: RuntimeConfig) -> DualEncoder:
    """Open the model with the lengths of training, and in fp32 where the device would only imitate bfloat16."""
    device = choose_device(runtime)
    precision = config.precision
    if precision is Precision.bf16 and not has_bf16(device):
        logger.warning("trainer.precision=bf16, but this %s has no bfloat16 arithmetic; training in fp32", device)
        precision = Precision.fp32
    shortened = replace(encoder, query_max_tokens=config.query_max_tokens, product_max_tokens=config.product_max_tokens)
    # torch alone: another lane would keep the weights that it was made from.
    return DualEncoder.open(shortened, replace(runtime, device=device, precision=precision, backend=Backend.torch))


class _Run:
    """One training run: steps from the first, or from where a checkpoint left off, to the last or to no patience."""

    def __init__(
        self,
        learner: Learner,
        tower: DualEncoder,
        pairs: TrainingPairs,
        dev: DevSet | None,
        *,
        config: ContrastiveConfig,
        group: Group,
        checkpoint: Checkpoint,
        watch: Watch | None,
    ) -> None:
        self._tower = tower
        self._pairs = pairs
        self._dev = dev
        self._config = config
        self._group = group
        self._checkpoint = checkpoint
        self._watch = watch or (lambda step, values: None)
        self._learner = learner
        self._per_epoch = pairs.batches(config.max_positives, config.batch_size)
        self._steps = self._per_epoch * config.epochs

    def fit(self, *, progress: bool) -> TrainingReport:
        """Train, and leave the best weights in the tower."""
        started = time.perf_counter()
        parameters = self._learner.parameters
        stopping = EarlyStopping(
            self._tower, self._dev, parameters, patience=self._config.patience, progress=progress, group=self._group
        )
        before = self._checkpoint.resume(self._learner, stopping)
        if not before.losses:
            stopping.look(epoch=0.0, step=0)
        losses = self._train(stopping, before, started=started, progress=progress)
        stopping.restore()
        return self._report(losses, stopping, before, seconds=before.seconds + time.perf_counter() - started)

    def _train(self, stopping: EarlyStopping, before: Resumed, *, started: float, progress: bool) -> list[float]:
        losses = list(before.losses)
        with bar("train retriever", self._steps, unit="steps", shown=progress) as steps_done:
            steps_done.update(len(losses))
            for step, batch in enumerate(self._batches(skip=len(losses)), start=len(losses) + 1):
                if stopping.misses >= self._config.patience:  # a checkpoint of the last step before the stop
                    break
                losses.append(self._step(batch, step))
                steps_done.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                steps_done.update()
                stop = self._look(stopping, step)
                if self._config.checkpoint_steps and step % self._config.checkpoint_steps == 0 and not self._group.rank:
                    seconds = before.seconds + time.perf_counter() - started
                    self._checkpoint.write(self._learner, stopping, losses=losses, seconds=seconds)
                if stop:
                    break
        return losses

    def _step(self, batch: PairBatch, step: int) -> float:
        share = rate_share(step, self._steps, self._config.warmup_share)
        try:
            loss = self._learner.step(batch, step=step, rate_share=share)
        except VectorError as error:
            if not self._checkpoint.path.exists():
                raise
            raise VectorError(f"{error}; the last good checkpoint stays at {self._checkpoint.path}") from error
        self._watch(step, {"loss": loss, "rate": share * self._config.learning_rate})
        return loss

    def _look(self, stopping: EarlyStopping, step: int) -> bool:
        if not _is_look(step, self._per_epoch, self._config.evaluations):
            return False
        stop = stopping.look(epoch=step / self._per_epoch, step=step)
        if stopping.points:
            self._watch(step, {"dev_ndcg": stopping.points[-1].ndcg})
        return stop

    def _batches(self, *, skip: int) -> Iterator[PairBatch]:
        """Yield the batches of all epochs after the first ``skip``; an epoch follows from the seed and its number."""
        for epoch in range(skip // self._per_epoch, self._config.epochs):
            rng = np.random.default_rng([self._config.seed, 2, epoch])
            batches = self._pairs.epoch(
                rng,
                max_positives=self._config.max_positives,
                batch_size=self._config.batch_size,
                max_negatives=self._config.max_negatives,
            )
            for number, batch in enumerate(batches, start=epoch * self._per_epoch):
                if number >= skip:
                    yield batch

    def _report(
        self, losses: Sequence[float], stopping: EarlyStopping, before: Resumed, *, seconds: float
    ) -> TrainingReport:
        return TrainingReport(
            queries=len(self._pairs.queries),
            pairs=self._pairs.count(self._config.max_positives),
            missing=self._pairs.missing,
            steps=len(losses),
            seconds=seconds,
            losses=tuple(losses),
            dev_queries=len(self._dev.queries) if self._dev else 0,
            dev=tuple(stopping.points),
            best_epoch=stopping.best.epoch if stopping.best else float(self._config.epochs),
            stopped_early=len(losses) < self._steps,
            resumed_at=len(before.losses),
            processes=self._group.size,
            device=self._tower.device,
            precision=self._tower.precision.value,
        )


def _is_look(step: int, per_epoch: int, evaluations: int) -> bool:
    """Return whether a step (from 1) ends one of the ``evaluations`` even parts of its epoch."""
    within = (step - 1) % per_epoch + 1
    return within * evaluations // per_epoch > (within - 1) * evaluations // per_epoch


def _what_decides(
    pairs: TrainingPairs, dev: DevSet | None, renderings: Mapping[str, Sequence[str]]
) -> Iterator[Sequence[str]]:
    """Yield everything besides the settings that a run's result follows from."""
    yield pairs.queries
    yield pairs.products
    yield [text for name in pairs.product_ids for text in renderings.get(name, ())]
    yield [str(rows.tolist()) for rows in (*pairs.positives, *pairs.negatives, pairs.known)]
    if dev is not None:
        yield dev.queries
        yield dev.products


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch (dropout) for the block and give the caller's random state back."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def plain(config: ContrastiveConfig | EncoderConfig) -> dict[str, Any]:
    """Return a configuration as JSON can hold it."""
    return {name: value.value if isinstance(value, Enum) else value for name, value in asdict(config).items()}
