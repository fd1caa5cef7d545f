"""A cross-encoder for few labels: weighed by models that each left some queries out, then trained on all of them.

Held-out queries that stop and weigh a training are missing from it, and a dozen of them decide nothing: the gain of a
weight is then smaller than its own error. Here every query is left out once, by a model of its own, and all of them
choose the weight; the model that stays has learned from all, for a fixed number of passes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexing import storage
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.folder import FUSION_FILE
from rerank.fusion import HeldOutQuery, WeightChoice, best_weight
from rerank.training import RerankerReport, train_reranker
from retrieval.metrics import has_gain
from retrieval.records import Query, Run
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.fitted import training_record
from shortlist.jobs.train.ground import LEARN, TUNE
from shortlist.jobs.train.steps import Made
from shortlist.jobs.train.twins import fold_of
from shortlist.progress import say


def cross_fit(bench: Bench, folder: Path, config: CrossEncoderTrainerConfig, name: str) -> Made:
    """Train behind the first stage as it is, on the queries that are learned from and those that choose.

    Args:
        bench: With ``config.inner_folds`` of at least 2.
        folder: Of the step; the parts that an interrupted run scored are not scored again.
        config: How to train; its ``patience`` and ``evaluations`` have no part, as nothing is held out.
        name: Of the artefact.

    Raises:
        SourceDataError: Fewer queries than inner folds, or a part with nothing to learn from.
    """
    queries = bench.queries(LEARN, TUNE)
    lists = bench.run("hybrid", queries, bench.config.depth)
    folds = bench.config.inner_folds
    parts = fold_of([query.text for query in queries], folds=folds, seed=bench.config.fold_seed)
    held: list[HeldOutQuery] = []
    for part in range(folds):
        say(f"{name}: inner fold {part + 1} of {folds}")
        left = [query for query, its in zip(queries, parts, strict=True) if its == part]
        learned = [query for query, its in zip(queries, parts, strict=True) if its != part]
        held += _held_out(bench, config, learned, left, lists, folder / "inner" / str(part + 1))
    choice = best_weight(held)
    report = _train(bench, config, queries, lists, folder / name)
    storage.replace_json(folder / name / FUSION_FILE, choice.record())
    storage.remove_folder(folder / "inner")
    return Made(
        artefacts={name: folder / name},
        record=training_record(report, choice) | {"seed": config.seed, "inner_folds": folds},
        refused="" if choice.weight > 0 else _why_not(choice),
        decided=True,
    )


def _why_not(choice: WeightChoice) -> str:
    return f"no weight above 0 won on {choice.queries} queries that its models had not seen"


def _held_out(
    bench: Bench,
    config: CrossEncoderTrainerConfig,
    learned: Sequence[Query],
    left: Sequence[Query],
    lists: Run,
    folder: Path,
) -> list[HeldOutQuery]:
    """Return what a model that learned from some queries makes of others; kept in ``scores.json``, the model is not."""
    path = folder / "scores.json"
    if not path.exists():
        storage.remove_folder(folder)
        storage.make_folder(folder)
        _train(bench, config, learned, lists, folder / "model")
        opened = CrossEncoderReranker.open(
            CrossEncoderConfig(model=str(folder / "model"), weight=1.0), bench.config.runtime
        )
        scores = {query.query_id: _scores(bench, opened, query, lists) for query in left}
        storage.write_json(path, scores)
        storage.remove_folder(folder / "model")
    known, grades = storage.read_json(path), bench.ground.grades
    return [
        HeldOutQuery(
            product_ids=tuple(product_id for product_id, _ in lists[query.query_id]),
            first=np.array([score for _, score in lists[query.query_id]], np.float32),
            cross=np.array(known[query.query_id], np.float32),
            grades=grades[query.query_id],
        )
        for query in left
        if has_gain(grades[query.query_id])
    ]


def _scores(bench: Bench, reranker: CrossEncoderReranker, query: Query, lists: Run) -> list[float]:
    texts = [bench.ground.texts[product_id] for product_id, _ in lists[query.query_id]]
    return [float(score) for score in reranker.score(bench.asked(query.text), texts)] if texts else []


def _train(
    bench: Bench, config: CrossEncoderTrainerConfig, queries: Sequence[Query], lists: Run, out: Path
) -> RerankerReport:
    wanted = {query.query_id for query in queries}
    return train_reranker(
        config,
        runtime=bench.config.runtime,
        queries=queries,
        judgments=[one for one in bench.ground.judgments(LEARN, TUNE) if one.query_id in wanted],
        product_texts=bench.ground.texts,
        dev_query_ids=(),
        first_stage={query_id: lists[query_id] for query_id in wanted},
        out=out,
    )
