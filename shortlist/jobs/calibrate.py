"""Job ``calibrate``: after a change of encoder or fusion, the cross-encoder's weight and confidence are learned anew.

Nothing is trained: the bundle's own cross-encoder is asked held-out queries behind its first stage as it is now.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.errors import ConfigError
from rerank.confidence import CONFIDENCE_FILE, ConfidenceReport
from rerank.config import CrossEncoderConfig
from rerank.corrected import TREES_FILE
from rerank.folder import FUSION_FILE
from rerank.fusion import HeldOutQuery, WeightChoice, best_weight
from rerank.reranker import Reranker, open_reranker
from retrieval.folder import require_empty
from retrieval.metrics import has_gain
from retrieval.records import Qrels, Query
from shortlist.building.copying import copy_folder
from shortlist.bundle import open_bundle
from shortlist.generation import Generation
from shortlist.jobs.confidence import learn_confidence
from shortlist.jobs.training import DEV, training_queries
from shortlist.living.changing import up_to_date
from shortlist.loading import load_generation
from shortlist.progress import progress
from shortlist.training_config import CalibrateConfig


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What was chosen and learned.

    Attributes:
        weight_before: Of the cross-encoder in the bundle, as it was configured or stored. Learned trees that went with
            it are left out: what they learned from has changed.
        choice: The weight now, and its evidence.
        confidence: What was learned of how far answers can be trusted.
    """

    weight_before: float
    choice: WeightChoice
    confidence: ConfidenceReport


def run_calibrate(
    config: CalibrateConfig, *, source: Path, bundle: Path, out: Path, judgments: Path | None = None
) -> CalibrationReport:
    """Choose the weight and learn the confidence of a bundle's cross-encoder, and save it with both.

    Args:
        config: Depth, and what counts as a good match.
        source: Folder of the catalogue's files, with a split ``dev``: queries that neither model was trained on.
        bundle: Bundle with a cross-encoder.
        out: Folder for the cross-encoder; must not exist, or be empty.
        judgments: CSV in place of the catalogue's judgments.

    Raises:
        ConfigError: The bundle has no cross-encoder, or the catalogue no split ``dev``.
        SourceDataError: No judged query.
        ArtifactError: The bundle cannot be used.
        StorageError: ``out`` holds something or cannot be written; nothing half-written bears its name then.
    """
    require_empty(out)
    queries, found, dev = training_queries(config.catalog, source, judgments)
    if dev is None:
        raise ConfigError(
            f"{source} has no queries in a split named {DEV!r}, so none is known to be held out from training; "
            "name the splits in splits.csv (columns query_id,split)"
        )
    held_out = [query for query in queries if query.query_id in dev]
    grades: Qrels = defaultdict(dict)
    for judgment in found:
        grades[judgment.query_id][judgment.product_id] = judgment.grade
    opened = open_bundle(bundle)
    if opened.manifest.reranker["kind"] != "cross_encoder":
        raise ConfigError(f"{bundle} has no cross-encoder to calibrate; train one with: shortlist train-reranker")
    generation = up_to_date(load_generation(opened, runtime=config.runtime, reranking=False))
    folder = opened.folder / "reranker"
    reranker = open_reranker(CrossEncoderConfig(model=str(folder), weight=1.0), config.runtime)
    choice = best_weight(_scored(generation, reranker, held_out, grades, config.depth))
    staging = out.with_name(f".{out.name}.{os.getpid()}.staging")
    try:
        copy_folder(folder, staging)
        for name in (FUSION_FILE, TREES_FILE, CONFIDENCE_FILE):
            if (staging / name).is_file():
                storage.remove_file(staging / name)
        storage.write_json(staging / FUSION_FILE, choice.record())
        confidence = learn_confidence(
            config.confidence,
            bundle=bundle,
            reranker=staging,
            queries=held_out,
            qrels=grades,
            depth=config.depth,
            complete=config.complete_grades,
            runtime=config.runtime,
        )
        storage.adopt_folder(staging)
        storage.remove_folder(out)  # empty, if it is there at all
        storage.publish_folder(staging, out)
    finally:
        storage.remove_folder(staging)
    stated = float(opened.manifest.reranker_fingerprint["final_weight"].split()[0])
    return CalibrationReport(weight_before=stated, choice=choice, confidence=confidence)


def _scored(
    generation: Generation, reranker: Reranker, queries: Sequence[Query], grades: Qrels, depth: int
) -> list[HeldOutQuery]:
    """Return what both stages make of each query that has a grade above 0."""
    found = []
    with progress("weight", len(queries), unit="queries") as advance:
        for query in queries:
            advance(1)
            if not has_gain(grades[query.query_id]):
                continue
            text = generation.reading(query.text)
            recall = generation.retriever.retrieve([text], depth=depth)[0]
            found.append(
                HeldOutQuery(
                    product_ids=tuple(candidate.product_id for candidate in recall.candidates),
                    first=np.array([candidate.score for candidate in recall.candidates], np.float32),
                    cross=reranker.score(text, generation.texts(recall, depth)),
                    grades=grades[query.query_id],
                )
            )
    return found
