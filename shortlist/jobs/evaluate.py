"""Job ``evaluate``: ask every system every judged query, measure, compare, write run files and reports."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from indexing.errors import ConfigError, InvalidQuery, SourceDataError
from retrieval.catalog import Catalog, open_catalog
from retrieval.fingerprint import Fingerprint
from retrieval.records import Judgment, Qrels, Query
from shortlist.bundle import Bundle
from shortlist.config import EvaluateConfig, System
from shortlist.engine import SearchEngine
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.records import Evaluation, EvaluationOptions, Provenance, SystemRun
from shortlist.evaluation.report import write_evaluation
from shortlist.progress import progress, say

WARM_UP = 3
"""Queries asked before the clock counts, so that the first call's allocations are nobody's latency."""


def evaluate(
    config: EvaluateConfig, *, source: Path, bundle: Path, out: Path, judgments: Path | None = None
) -> Evaluation:
    """Measure the systems of a bundle on a catalogue's judged queries.

    Args:
        config: Systems, cut-offs and the catalogue's layout.
        source: Folder of the catalogue's files.
        bundle: Bundle directory.
        out: Folder for ``qrels.txt``, ``<system>.trec``, ``report.json`` and ``report.html``.
        judgments: CSV in place of the catalogue's judgments.

    Raises:
        ConfigError: ``hybrid_rerank`` is asked of a bundle without a reranker.
        SourceDataError: No judged query, or judgments that break their contract.
        ArtifactError: The bundle cannot be used.
    """
    catalog = open_catalog(config.catalog, source)
    queries, judged = judged_queries(catalog, judgments)
    precision = config.runtime.precision.name
    engine = SearchEngine.open(
        bundle, device=config.runtime.device, threads=config.runtime.threads, precision=precision
    )
    _require_reranker(engine, config, bundle)
    asked = [query for query in queries if any(judged[query.query_id].values())]
    runs = {system.name: run_system(engine, system, asked, config) for system in config.systems}
    evaluation = evaluate_runs(
        catalog.name,
        judged,
        runs,
        options=EvaluationOptions(
            k=config.k,
            recall_k=config.recall_k,
            min_grade_recall=config.recall_grade,
            convention=config.convention,
        ),
        products_for_display=engine.product,
        query_texts={query.query_id: query.text for query in queries},
        provenance=_provenance(config, engine.bundle, source, judgments),
    )
    write_evaluation(evaluation, out)
    return evaluation


def judged_queries(catalog: Catalog, judgments: Path | None) -> tuple[list[Query], Qrels]:
    """Return the queries that have judgments, and those judgments.

    Args:
        catalog: Whose queries and judgments are meant.
        judgments: A file in place of the catalogue's judgments.

    Raises:
        SourceDataError: There is no judged query.
    """
    queries = catalog.queries()
    if judgments is None:
        found: Sequence[Judgment] = catalog.judgments()
    else:
        from retrieval.catalog import read_judgments_csv

        queries, found = read_judgments_csv(judgments, queries)
    qrels: Qrels = defaultdict(dict)
    for judgment in found:
        qrels[judgment.query_id][judgment.product_id] = judgment.grade
    kept = [query for query in queries if query.query_id in qrels]
    if not kept:
        raise SourceDataError(
            f"{catalog.name} has {len(queries)} queries and {len(found)} judgments, but no query with a judgment; "
            "give a file with --judgments FILE (columns query,product_id,grade)"
        )
    return kept, dict(qrels)


def run_system(engine: SearchEngine, system: System, queries: Sequence[Query], config: EvaluateConfig) -> SystemRun:
    """Ask one system every query, one at a time as a shopper would, and keep ids, scores and milliseconds."""

    def ask(text: str) -> tuple[list[tuple[str, float]], float]:
        return engine.run(text, system, depth=config.depth, run_depth=config.run_depth)

    for query in queries[:WARM_UP]:
        _answer(ask, query)
    run, latencies = {}, {}
    with progress(system.name, len(queries), unit="queries") as advance:
        for query in queries:
            answer, elapsed_ms = _answer(ask, query)
            if answer:
                run[query.query_id] = answer
                latencies[query.query_id] = elapsed_ms
            advance(1)
    return SystemRun(run, latencies)


def _answer(
    ask: Callable[[str], tuple[list[tuple[str, float]], float]], query: Query
) -> tuple[list[tuple[str, float]], float]:
    """Ask; a query that the engine refuses stays unanswered, which scores 0 and is said aloud."""
    try:
        return ask(query.text)
    except InvalidQuery as error:
        say(f"query {query.query_id} was refused and scores 0: {error}")
        return [], 0.0


def _require_reranker(engine: SearchEngine, config: EvaluateConfig, bundle: Path) -> None:
    if System.hybrid_rerank in config.systems and not engine.has_reranker:
        without = ",".join(system.name for system in config.systems if system is not System.hybrid_rerank)
        raise ConfigError(
            f"{bundle} has no reranker, so hybrid_rerank cannot be evaluated; leave it out with "
            f"'systems=[{without}]', or train one "
            "(shortlist train-reranker) and build with reranker=cross_encoder reranker.model=FOLDER"
        )


def _provenance(config: EvaluateConfig, bundle: Bundle, source: Path, judgments: Path | None) -> Provenance:
    manifest = bundle.manifest
    settings = {
        "index": str(dict(manifest.index["config"])),
        "fusion": str(manifest.fusion),
        "lexical": str(manifest.lexical),
        "depth": str(config.depth),
        "runtime": str({name: str(value) for name, value in asdict(config.runtime).items()}),
    }
    return Provenance(
        source=str(source),
        judgments=str(judgments or config.catalog.judgments),
        bundle=str(bundle.root),
        generation=manifest.version,
        fingerprint=Fingerprint(dict(manifest.fingerprint)).digest,
        digests=dict(manifest.catalogue["sources"]),
        settings=settings,
    )
