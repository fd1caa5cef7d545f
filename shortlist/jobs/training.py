"""Jobs ``train-retriever`` and ``train-reranker``: catalogue and judgments in, a plain model folder out."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexing.errors import ConfigError
from rerank.training import RerankerReport, train_reranker
from retrieval.catalog import Catalog, open_catalog
from retrieval.config import CatalogConfig, TextConfig
from retrieval.contrastive import TrainingReport, train_retriever
from retrieval.dev import split_queries
from retrieval.records import Judgment, Qrels, Query
from retrieval.renderings import renderings
from retrieval.text import TextTemplate, normalise_query
from shortlist.config import System
from shortlist.engine import SearchEngine
from shortlist.jobs.confidence import learn_confidence
from shortlist.jobs.evaluate import every_split, judged_queries
from shortlist.jobs.train.ground import variant_groups
from shortlist.progress import progress
from shortlist.stored import thaw
from shortlist.training_config import TrainRerankerConfig, TrainRetrieverConfig

TRAIN, DEV = "train", "dev"
"""Names of the splits that training reads; queries of any other split are never touched."""


def run_train_retriever(
    config: TrainRetrieverConfig, *, source: Path, out: Path, judgments: Path | None = None
) -> TrainingReport:
    """Fine-tune the dual encoder and save it as a sentence-transformers folder.

    Args:
        config: Model, text template and trainer.
        source: Folder of the catalogue's files; a split file keeps all but ``train`` and ``dev`` out of training.
        out: Folder for the model; must not exist, or be empty.
        judgments: CSV in place of the catalogue's judgments.

    Raises:
        SourceDataError: No judged query, or no positive at the trainer's grade.
        StorageError: ``out`` holds something.
    """
    queries, found, dev = training_queries(config.catalog, source, judgments)
    products = [product for batch in open_catalog(config.catalog, source).products() for product in batch.products]
    template = TextTemplate(config.text)
    return train_retriever(
        config.trainer,
        encoder=config.encoder,
        runtime=config.runtime,
        queries=queries,
        judgments=found,
        product_texts={product.product_id: template.render(product) for product in products},
        dev_query_ids=dev,
        out=out,
        variants=variant_groups(products, config.variants),
        renderings=renderings(products, config.text) if config.trainer.field_dropout else None,
    )


def run_train_reranker(
    config: TrainRerankerConfig, *, source: Path, bundle: Path, out: Path, judgments: Path | None = None
) -> RerankerReport:
    """Fine-tune a cross-encoder on what a bundle's first stage recalls, and save it.

    Its weight, the probabilities of hits and the threshold of "no good match" are learned on the dev queries.

    Args:
        config: Trainer and depth.
        source: Folder of the catalogue's files, with splits as for ``run_train_retriever``.
        bundle: Bundle whose first stage the reranker will follow; its text template is used.
        out: Folder for the model; must not exist, or be empty.
        judgments: CSV in place of the catalogue's judgments.

    Raises:
        SourceDataError: No judged query, or grades of one kind only.
        ArtifactError: The bundle cannot be used.
        StorageError: ``out`` holds something.
    """
    queries, found, dev = training_queries(config.catalog, source, judgments)
    catalog = open_catalog(config.catalog, source)
    precision = config.runtime.precision.name
    engine = SearchEngine.open(
        bundle, device=config.runtime.device, threads=config.runtime.threads, precision=precision, rerank=False
    )
    text = thaw("text", engine.bundle.manifest.text, TextConfig)
    trainer = config.trainer
    rng = np.random.default_rng(trainer.seed)
    _, held_out = split_queries(queries, found, dev_query_ids=dev, dev_share=trainer.dev_share, rng=rng)
    report = train_reranker(
        trainer,
        runtime=config.runtime,
        queries=queries,
        judgments=found,
        product_texts=product_texts(catalog, text),
        dev_query_ids={query.query_id for query in held_out},
        first_stage=first_stage(engine, queries, depth=config.depth),
        out=out,
    )
    if report.choice is None or not held_out:
        return report
    grades: Qrels = defaultdict(dict)
    for judgment in found:
        grades[judgment.query_id][judgment.product_id] = judgment.grade
    confidence = learn_confidence(
        config.confidence,
        bundle=bundle,
        reranker=out,
        queries=held_out,
        qrels=grades,
        depth=config.depth,
        complete=trainer.complete_grades,
        runtime=config.runtime,
    )
    return replace(report, confidence=confidence)


def training_queries(
    config: CatalogConfig, source: Path, judgments: Path | None
) -> tuple[list[Query], list[Judgment], Collection[str] | None]:
    """Return judged training and dev queries, their judgments, and the ids of the dev queries.

    Without splits every judged query is for training and the dev ids are ``None`` (the trainer holds some out). With
    splits, queries outside ``train`` and ``dev`` are left out, whatever file the judgments come from.

    Raises:
        ConfigError: ``catalog.split`` names a split that is for evaluation.
    """
    if config.split not in ("", TRAIN, DEV):
        raise ConfigError(
            f"catalog.split={config.split} is for evaluation; train on catalog.split={TRAIN}, or leave it empty to "
            "take "
            f"{TRAIN} and {DEV}: catalog.split="
        )
    catalog = open_catalog(config, source)
    queries, qrels = judged_queries(catalog, judgments, every=every_split(config, source))
    splits: Mapping[str, str] = {} if config.split else catalog.splits()
    if splits:
        queries = [query for query in queries if splits.get(query.query_id) in (TRAIN, DEV)]
    dev = {query.query_id for query in queries if splits.get(query.query_id) == DEV} or None
    kept = [
        Judgment(query.query_id, product_id, grade)
        for query in queries
        for product_id, grade in qrels[query.query_id].items()
    ]
    return queries, kept, dev


def product_texts(catalog: Catalog, text: TextConfig) -> dict[str, str]:
    """Render every product of a catalogue: product_id -> text."""
    template = TextTemplate(text)
    return {product.product_id: template.render(product) for batch in catalog.products() for product in batch.products}


def first_stage(engine: SearchEngine, queries: Sequence[Query], *, depth: int) -> dict[str, list[tuple[str, float]]]:
    """Return what the hybrid first stage recalls: query_id -> (product_id, score), best first."""
    recalled = {}
    with progress("recall", len(queries), unit="queries") as advance:
        for query in queries:
            text = normalise_query(query.text)
            recalled[query.query_id], _ = engine.run(text, System.hybrid, depth=depth, run_depth=depth)
            advance(1)
    return recalled
