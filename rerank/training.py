"""Train a cross-encoder on graded judgments and choose its weight in the final fusion, on held-out queries."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from indexing import storage
from indexing.types import IntVector
from rerank.confidence import ConfidenceReport
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.examples import Example, choose_examples, usable_grades, with_candidates
from rerank.final import Convex
from rerank.fitting import Fit, fit, plan
from rerank.folder import FUSION_FILE
from rerank.fusion import FloatVector, HeldOutQuery, WeightChoice, best_weight
from rerank.model import new_cross_encoder, quiet_transformers
from rerank.objectives import make_objective
from rerank.pairs import Pair
from retrieval.bars import bar
from retrieval.config import Precision, RuntimeConfig
from retrieval.dev import split_queries
from retrieval.folder import require_empty
from retrieval.metrics import has_gain
from retrieval.models import model_folder
from retrieval.records import Judgment, Qrels, Query
from retrieval.runtime import choose_device, has_bf16, set_threads

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

NAMED, SHOWN = 3, 60
"""Pairs of a batch that an error quotes, and characters of their products."""

TAUGHT_AT_ONCE = 4096
"""Pairs that a teacher scores between two movements of the bar."""

FirstStage = Mapping[str, Sequence[tuple[str, float]]]
"""query_id -> (product_id, first-stage score), best first, as deep as the reranker will look."""


@dataclass(frozen=True, slots=True)
class RerankerReport:
    """What a training did.

    Attributes:
        queries: Queries trained on.
        dev_queries: Queries held out.
        pairs: Pairs trained on.
        grades: Grade -> pairs of it; -1 for those that only a teacher has judged.
        precision: Arithmetic of the layers: as configured, or fp32 where the device has no bfloat16.
        fit: Steps, losses, and at each evaluation the held-out nDCG@10 at its best weight.
        choice: The final fusion's weight and its evidence; ``None`` without first-stage lists or held-out queries.
        seconds: Time of the whole training.
        confidence: What was then learned of how far answers can be trusted; ``None`` where nobody asked for it.
    """

    queries: int
    dev_queries: int
    pairs: int
    grades: Mapping[int, int]
    precision: Precision
    fit: Fit
    choice: WeightChoice | None
    seconds: float
    confidence: ConfidenceReport | None = None


def train_reranker(
    config: CrossEncoderTrainerConfig,
    *,
    runtime: RuntimeConfig,
    queries: Sequence[Query],
    judgments: Sequence[Judgment],
    product_texts: Mapping[str, str],
    out: Path,
    dev_query_ids: Collection[str] | None = None,
    first_stage: FirstStage | None = None,
    progress: bool = True,
) -> RerankerReport:
    """Train a cross-encoder and write a CrossEncoder folder with the final fusion's weight in ``final_fusion.json``.

    ``training.json`` beside it holds the configuration and the report.

    With ``first_stage``, held-out queries stop the training early and choose the weight. Without it there is nothing to
    rerank: all but ``dev_query_ids`` are trained on to the end and no weight is stored, so that whoever opens the
    folder has to set one.

    Args:
        config: How to train.
        runtime: Device and threads.
        queries: Queries to learn from, held-out ones included; no test query may be among them.
        judgments: Their grades, 0 or more.
        product_texts: product_id -> text of the whole catalogue, as the reranker will see it.
        out: Folder to write; must not exist, or be empty.
        dev_query_ids: Queries to hold out; ``None`` draws ``config.dev_share`` of them.
        first_stage: What the first stage finds for each query; every product of it in ``product_texts``.
        progress: Show a bar on stderr when it takes more than two seconds.

    Raises:
        SourceDataError: If there is nothing to learn from (no grade above 0, one grade only, a negative one), or a
            grade exceeds ``config.top_grade``.
        ConfigError: If the base is no sentence-transformers folder or has fewer layers than asked for, or the loss is
            no longer finite; the best weights so far then stay in a folder beside ``out``, which the message names.
        EnvironmentProblem: If a step does not fit into memory.
        StorageError: If ``out`` holds something or cannot be written; nothing half-written bears its name then.
    """
    started = time.perf_counter()
    require_empty(out)
    qrels = usable_grades(queries, judgments, product_texts.keys())
    lists = first_stage or {}
    learned, dev = split_queries(
        queries,
        judgments,
        dev_query_ids=dev_query_ids,
        dev_share=config.dev_share if lists else 0.0,
        rng=np.random.default_rng(config.seed),
    )
    examples = choose_examples(
        config,
        qrels,
        query_ids=[query.query_id for query in learned],
        product_ids=list(product_texts),
        recalled={query_id: [product_id for product_id, _ in found] for query_id, found in lists.items()},
    )
    if config.teacher:
        found = {query_id: [product_id for product_id, _ in of] for query_id, of in lists.items()}
        examples = with_candidates(examples, [query.query_id for query in learned], found, config.teacher_depth)
    session = _Session(config, runtime, _held_out(dev, lists, product_texts, qrels))
    text_of = {query.query_id: query.text for query in learned}
    pairs = [(text_of[example.query_id], product_texts[example.product_id]) for example in examples]

    def rescue(choice: WeightChoice, step: int) -> str:
        kept = _free_name(out)
        _write_folder(session.model, choice, {"trainer": _plain(config), "stopped_at_step": step}, kept)
        return str(kept)

    fitted, choice = session.fit(pairs, examples, rescue=rescue, progress=progress)
    report = RerankerReport(
        queries=len(learned),
        dev_queries=len(dev),
        pairs=len(examples),
        grades=dict(sorted(Counter(example.grade for example in examples).items())),
        precision=session.precision,
        fit=fitted,
        choice=choice,
        seconds=time.perf_counter() - started,
    )
    _write(session.model, report, config, out)
    return report


@dataclass(frozen=True, slots=True)
class _Unscored:
    """A held-out query with its first-stage list, before the cross-encoder saw it."""

    query: str
    product_ids: tuple[str, ...]
    first: FloatVector
    texts: tuple[str, ...]
    grades: Mapping[str, int]


def _held_out(
    queries: Sequence[Query], lists: FirstStage, product_texts: Mapping[str, str], qrels: Qrels
) -> list[_Unscored]:
    """Return the queries that can be scored; none without lists, as there is nothing to rerank then."""
    found = [(query, lists.get(query.query_id, ()), qrels[query.query_id]) for query in queries if lists]
    return [
        _Unscored(
            query=query.text,
            product_ids=tuple(product_id for product_id, _ in recalled),
            first=np.array([score for _, score in recalled], dtype=np.float32),
            texts=tuple(product_texts[product_id] for product_id, _ in recalled),
            grades=grades,
        )
        for query, recalled, grades in found
        if has_gain(grades)
    ]


class _Session:
    """The model in training, its device, and the held-out queries that judge it."""

    def __init__(
        self, config: CrossEncoderTrainerConfig, runtime: RuntimeConfig, held_out: Sequence[_Unscored]
    ) -> None:
        self._config, self._runtime = config, runtime
        self._held_out = held_out
        self._device = choose_device(runtime)
        set_threads(runtime)
        self.precision = config.precision if has_bf16(self._device) else Precision.fp32
        base = model_folder(config.base)
        with _seeded(config.seed):
            self.model = new_cross_encoder(base, layers=config.layers, max_tokens=config.max_tokens)
        self.model.transformers_model.get_input_embeddings().requires_grad_(not config.freeze_embeddings)
        self._scorer = CrossEncoderReranker(
            self.model,
            folder=base,
            fusion=Convex(0.0),
            max_tokens=config.max_tokens,
            device=self._device,
            precision=self.precision,
            batch_tokens=runtime.batch_tokens,
        )

    def fit(
        self,
        pairs: Sequence[Pair],
        examples: Sequence[Example],
        *,
        rescue: Callable[[WeightChoice, int], str],
        progress: bool,
    ) -> tuple[Fit, WeightChoice | None]:
        """Fit the model and return how it went, and the weight chosen with the weights that were kept."""
        encoded = self._scorer.tokenizer.encode(pairs)
        objective = make_objective(
            self._config, examples, device=self._device, teacher=self._taught(pairs, progress=progress)
        )
        batches = plan(objective, encoded, self._config)
        choices: list[WeightChoice] = []

        def evaluate() -> float:
            choices.append(best_weight(self._scored()))
            return max(choices[-1].ndcg.values())  # what the model is worth where it will be used: fused

        def named(batch: IntVector) -> str:
            shown = ", ".join(f"{query!r} and {text[:SHOWN]!r}" for query, text in (pairs[i] for i in batch[:NAMED]))
            return shown + (f" and {len(batch) - NAMED} more pairs" if len(batch) > NAMED else "")

        bar_shown = bar("train reranker", len(batches), unit="steps", shown=progress)
        with _seeded(self._config.seed), bar_shown as shown:
            fitted = fit(
                self.model,
                encoded,
                objective,
                batches,
                config=self._config,
                device=self._device,
                precision=self.precision,
                evaluate=evaluate if self._held_out else None,
                advance=shown.update,
                named=named,
                rescue=lambda step: rescue(max(choices, key=lambda choice: max(choice.ndcg.values())), step),
            )
        looks = zip(fitted.evaluations, choices, strict=True)
        return fitted, next((choice for look, choice in looks if look.step == fitted.best_step), None)

    def _taught(self, pairs: Sequence[Pair], *, progress: bool) -> FloatVector | None:
        """Return the teacher's scores of the pairs; ``None`` without a teacher."""
        if not self._config.teacher:
            return None
        teacher = CrossEncoderReranker.open(CrossEncoderConfig(model=self._config.teacher, weight=0.0), self._runtime)
        with bar("teacher", len(pairs), unit="pairs", shown=progress) as shown:
            parts = []
            for start in range(0, len(pairs), TAUGHT_AT_ONCE):
                parts.append(teacher.score_many(pairs[start : start + TAUGHT_AT_ONCE]))
                shown.update(len(parts[-1]))
        return np.concatenate(parts)

    def _scored(self) -> list[HeldOutQuery]:
        """Return the held-out queries with the scores of the model as it stands."""
        pairs = [(unscored.query, text) for unscored in self._held_out for text in unscored.texts]
        ends = np.cumsum([len(unscored.texts) for unscored in self._held_out])[:-1]
        return [
            HeldOutQuery(unscored.product_ids, unscored.first, cross, unscored.grades)
            for unscored, cross in zip(self._held_out, np.split(self._scorer.score_many(pairs), ends), strict=True)
        ]


def _write(model: "CrossEncoder", report: RerankerReport, config: CrossEncoderTrainerConfig, out: Path) -> None:
    _write_folder(model, report.choice, {"trainer": _plain(config), "report": _plain(report)}, out)


def _free_name(out: Path) -> Path:
    """Return a folder beside ``out`` that is not there yet."""
    names = (out.with_name(f"{out.name}.last-good{number}") for number in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _write_folder(
    model: "CrossEncoder", choice: WeightChoice | None, training: Mapping[str, object], out: Path
) -> None:
    """Write the folder beside its place and give it its name when it is whole."""
    staging = out.with_name(f".{out.name}.{os.getpid()}.staging")
    storage.make_folder(staging)
    try:
        with quiet_transformers():
            model.save_pretrained(str(staging), create_model_card=False)
        if choice is not None:
            storage.write_json(staging / FUSION_FILE, choice.record())
        storage.write_json(staging / "training.json", training)
        storage.adopt_folder(staging)
        storage.remove_folder(out)  # empty, if it is there at all
        storage.publish_folder(staging, out)
    finally:
        storage.remove_folder(staging)


def _plain(record: CrossEncoderTrainerConfig | RerankerReport) -> dict[str, Any]:
    """Return a record as JSON values, without what differs between two runs of the same training."""
    fields = {name: value.value if isinstance(value, Enum) else value for name, value in asdict(record).items()}
    return {name: value for name, value in fields.items() if name not in ("seconds", "choice", "confidence")}


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch for the block and give the process its own random state back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
