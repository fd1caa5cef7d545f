"""Fine-tune the dual encoder on judgments: contrastive batches, a seeded loop, the best weights on held-out queries.

The loop is plain torch, not the Trainer of sentence-transformers. That one brings several processes and resuming, but
it resumes from pickles (CVE-2026-1839), keeps the best weights by way of the disk, tokenises every epoch anew with one
tokenizer for both roles, and the loss would be ours all the same. What may come finds its place: cached gradients split
``Learner.loss``, adapters choose ``Learner.parameters``, several processes gather vectors before ``info_nce``, and a
checkpoint is weights, optimiser moments and two random states.
"""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.bars import bar
from retrieval.config import ContrastiveConfig, EncoderConfig, Precision, RuntimeConfig
from retrieval.dev import DevSet, dev_set, split_queries
from retrieval.encoder import DualEncoder
from retrieval.folder import require_empty, write_model_folder
from retrieval.learner import Learner, rate_share
from retrieval.pairs import PairBatch, TrainingPairs, training_pairs
from retrieval.records import Judgment, Query
from retrieval.runtime import choose_device, has_bf16
from retrieval.stopping import DevPoint, EarlyStopping
from retrieval.tower import read_settings

logger = logging.getLogger(__name__)


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
    progress: bool = True,
) -> TrainingReport:
    """Fine-tune the model that ``encoder`` names and write it as a plain sentence-transformers folder.

    The folder says prompts and lengths of ``encoder`` and holds a ``training.json``: configuration and report.

    Args:
        config: The recipe.
        encoder: The model to start from and the prompts to train with.
        runtime: Device, threads, and tokens per batch of the evaluations; its precision is not used.
        queries: Queries that may be learned from or held out.
        judgments: Their grades.
        product_texts: product_id -> rendered text, of the whole catalogue or at least of every judged product.
        dev_query_ids: Queries held out for early stopping; ``None`` draws ``config.dev_share`` of them, an empty
            collection trains every epoch and keeps the last weights.
        out: The folder to write; must not exist, or be empty.
        progress: Show a bar on stderr when it takes more than two seconds.

    Raises:
        ConfigError, ArtifactUntrusted, EnvironmentProblem: As :meth:`retrieval.encoder.DualEncoder.open`.
        SourceDataError: When there is nothing to learn from, or no dev query has a judgment above 0.
        StorageError: When ``out`` holds something, or the file system refuses.
        VectorError: When the loss stops being finite; the message quotes the queries of the batch.
    """
    require_empty(out)
    rng = np.random.default_rng(config.seed)
    learned, held_out = split_queries(
        queries, judgments, dev_query_ids=dev_query_ids, dev_share=config.dev_share, rng=rng
    )
    pairs = training_pairs(learned, judgments, product_texts, min_grade=config.min_grade)
    dev = dev_set(held_out, judgments, product_texts, pool=config.dev_pool, rng=rng) if held_out else None
    tower = _open_tower(config, encoder, runtime)
    with _seeded(config.seed):
        report = _fit(tower, pairs, dev, config=config, rng=rng, progress=progress)
    record = {"trainer": _plain(config), "encoder": _plain(encoder), "report": asdict(report)}
    settings = read_settings(tower.folder, encoder)
    write_model_folder(tower.model, out, settings=settings, records={"training.json": record})
    return report


def _open_tower(config: ContrastiveConfig, encoder: EncoderConfig, runtime: RuntimeConfig) -> DualEncoder:
    """Open the model with the lengths of training, and in fp32 where the device would only imitate bfloat16."""
    device = choose_device(runtime)
    precision = config.precision
    if precision is Precision.bf16 and not has_bf16(device):
        logger.warning("trainer.precision=bf16, but this %s has no bfloat16 arithmetic; training in fp32", device)
        precision = Precision.fp32
    shortened = replace(encoder, query_max_tokens=config.query_max_tokens, product_max_tokens=config.product_max_tokens)
    return DualEncoder.open(shortened, replace(runtime, device=device, precision=precision))


def _fit(
    tower: DualEncoder,
    pairs: TrainingPairs,
    dev: DevSet | None,
    *,
    config: ContrastiveConfig,
    rng: np.random.Generator,
    progress: bool,
) -> TrainingReport:
    """Train until the last epoch or until patience runs out, and leave the best weights in the tower."""
    started = time.perf_counter()
    learner = Learner(tower, pairs, config=config)
    stopping = EarlyStopping(tower, dev, learner.parameters, patience=config.patience, progress=progress)
    count = pairs.count(config.max_positives)
    per_epoch = pairs.batches(config.max_positives, config.batch_size)
    steps = per_epoch * config.epochs
    losses: list[float] = []
    with bar("train retriever", steps, unit="steps", shown=progress) as steps_done:
        for step, batch in enumerate(_batches(pairs, config, rng), start=1):
            losses.append(learner.step(batch, rate_share=rate_share(step, steps, config.warmup_share)))
            steps_done.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            steps_done.update()
            if _is_look(step, per_epoch, config.evaluations) and stopping.look(epoch=step / per_epoch, step=step):
                break
    stopping.restore()
    return TrainingReport(
        queries=len(pairs.queries),
        pairs=count,
        missing=pairs.missing,
        steps=len(losses),
        seconds=time.perf_counter() - started,
        losses=tuple(losses),
        dev_queries=len(dev.queries) if dev else 0,
        dev=tuple(stopping.points),
        best_epoch=stopping.best.epoch if stopping.best else float(config.epochs),
        stopped_early=len(losses) < steps,
        device=tower.device,
        precision=tower.precision.value,
    )


def _is_look(step: int, per_epoch: int, evaluations: int) -> bool:
    """Return whether a step (from 1) ends one of the ``evaluations`` even parts of its epoch."""
    within = (step - 1) % per_epoch + 1
    return within * evaluations // per_epoch > (within - 1) * evaluations // per_epoch


def _batches(pairs: TrainingPairs, config: ContrastiveConfig, rng: np.random.Generator) -> Iterator[PairBatch]:
    for _ in range(config.epochs):
        yield from pairs.epoch(rng, max_positives=config.max_positives, batch_size=config.batch_size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch (dropout) for the block and give the caller's random state back."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _plain(config: ContrastiveConfig | EncoderConfig) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Precision) else value for name, value in asdict(config).items()}
