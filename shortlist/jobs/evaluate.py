"""Job ``evaluate``: ask every system every judged query, measure, compare, write run files and reports."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from indexing.errors import ConfigError, InvalidQuery, SourceDataError
from indexing.storage import digest
from rerank.reranker import Ranked
from retrieval.catalog import Catalog, open_catalog
from retrieval.config import CatalogConfig
from retrieval.postings import Postings
from retrieval.raters import read_rater_grades
from retrieval.records import Qrels, Query
from shortlist.bundle import Bundle
from shortlist.caches import CacheConfig
from shortlist.config import EvaluateConfig, System
from shortlist.cost import CostSweepConfig
from shortlist.engine import SearchEngine
from shortlist.evaluation.changes import Changes, changes_since, last_report
from shortlist.evaluation.conventions import RULES, evaluated
from shortlist.evaluation.cost.measure import measure_cost
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.facts import CatalogueFacts, collect_facts, stored_products
from shortlist.evaluation.interchange import read_judgments, read_runs
from shortlist.evaluation.records import Evaluation, EvaluationOptions, Provenance, SystemRun
from shortlist.evaluation.report import write_evaluation
from shortlist.evaluation.stored import read_report
from shortlist.jobs.provenance import configuration_of, with_bundle
from shortlist.progress import progress, say

WARM_UP = 3
"""Queries asked before the clock counts, so that the first call's allocations are nobody's latency."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSources:
    """What an evaluation is made from; at least a bundle or a run.

    Attributes:
        source: Folder of the catalogue's files; ``None`` when ``judgments`` and ``runs`` say all.
        bundle: Bundle whose systems are asked; ``None`` measures run files alone.
        judgments: File in place of the catalogue's judgments (`shortlist.evaluation.interchange`).
        runs: TREC run files, anybody's.
    """

    source: Path | None = None
    bundle: Path | None = None
    judgments: Path | None = None
    runs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to measure, or nothing to measure it by."""
        if self.bundle is None and not self.runs:
            raise ConfigError(
                "there is nothing to measure: give a bundle (--bundle DIR) or a run (--run FILE), or both"
            )
        if self.bundle is not None and self.source is None:
            raise ConfigError("a bundle is asked the queries of its catalogue: give --source DIR")
        if self.source is None and self.judgments is None:
            raise ConfigError("there are no judgments: give a catalogue (--source DIR) or a file (--judgments FILE)")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation and what changed against an earlier one; ``None`` when there is none."""

    evaluation: Evaluation
    changes: Changes | None


def evaluate(
    config: EvaluateConfig, sources: EvaluationSources, *, out: Path, against: Path | None = None, command: str = ""
) -> Evaluated:
    """Measure the systems of a bundle, and runs from elsewhere, on judged queries.

    Args:
        config: Systems, cut-offs, convention and the catalogue's layout.
        sources: Catalogue, bundle, judgments and runs. Systems stand in the report after the runs.
        out: Folder for ``qrels.txt``, ``<system>.trec``, ``per_query.json``, ``report.json`` and ``report.html``.
        against: Folder of the report that this one is held against; ``None`` takes the one it replaces, if any.
        command: The command line, for the report.

    Raises:
        ConfigError: ``hybrid_rerank`` is asked of a bundle without a reranker, or ``cost`` without a bundle.
        SourceDataError: No judged query, a judged query that the catalogue does not have, or judgments or runs that
            break their contract.
        ArtifactError: The bundle cannot be used, or there is no report in ``against``.
    """
    _require_bundle_for_cost(config, sources)
    earlier = last_report(out) if against is None else read_report(against)
    catalog = open_catalog(config.catalog, sources.source) if sources.source is not None else None
    every = every_split(config.catalog, sources.source) if sources.source is not None else None
    known, queries, qrels = _judged(catalog, sources, every)
    engine = None if sources.bundle is None else _open(config, sources.bundle)
    if engine is not None and not config.systems:
        has = [system for system in System if engine.has_reranker or system is not System.hybrid_rerank]
        config = replace(config, systems=has)
    theirs = {name: SystemRun(run) for name, run in read_runs(sources.runs, taken=_taken(config, sources)).items()}
    facts = _facts(config, catalog, engine, qrels)
    ours = {} if engine is None or facts is None else _ask_all(engine, config, queries, qrels, facts)
    evaluation = evaluate_runs(
        catalog.name if catalog is not None else str(sources.judgments and sources.judgments.stem),
        qrels,
        theirs | ours,
        options=EvaluationOptions(
            k=config.k,
            recall_k=config.recall_k,
            min_grade_recall=config.recall_grade,
            convention=config.convention,
        ),
        products_for_display=None if engine is None else engine.product,
        query_texts={query.query_id: query.text for query in known},
        facts=facts,
        raters=_raters(config, sources, queries),
        provenance=replace(_provenance(config, sources, engine), command=command),
    )
    if engine is not None and isinstance(config.cost, CostSweepConfig):
        evaluation = replace(evaluation, cost=measure_cost(config, engine.bundle, evaluation))
    changes = None if earlier is None else changes_since(earlier, evaluation)
    write_evaluation(evaluation, out, changes=changes)
    return Evaluated(evaluation, changes)


def every_split(config: CatalogConfig, source: Path) -> Catalog | None:
    """Return the catalogue with the queries of all splits; ``None`` when it is not cut to one."""
    return open_catalog(replace(config, split=""), source) if config.split else None


def judged_queries(
    catalog: Catalog, judgments: Path | None, *, every: Catalog | None = None
) -> tuple[list[Query], Qrels]:
    """Return the queries that have judgments, and those judgments.

    Args:
        catalog: Whose queries and judgments are meant.
        judgments: A file in place of the catalogue's judgments.
        every: The catalogue with the queries of all splits, when ``catalog`` is cut to one: a query of another split
            that the file judges is then left out, instead of being taken for a new one.

    Raises:
        SourceDataError: There is no judged query.
    """
    queries = catalog.queries()
    if judgments is not None:
        known = every.queries() if every is not None else queries
        kept, qrels = read_judgments(judgments, known)
        elsewhere = {query.query_id for query in known} - {query.query_id for query in queries}
        kept = [query for query in kept if query.query_id not in elsewhere]
        qrels = {query_id: grades for query_id, grades in qrels.items() if query_id not in elsewhere}
    else:
        qrels = defaultdict(dict)
        for judgment in catalog.judgments():
            qrels[judgment.query_id][judgment.product_id] = judgment.grade
        kept = [query for query in queries if query.query_id in qrels]
    if not qrels:
        raise SourceDataError(
            f"{catalog.name} has {len(queries)} queries, but none with a judgment; "
            "give a file with --judgments FILE (columns query,product_id,grade)"
        )
    return kept, dict(qrels)


def _judged(
    catalog: Catalog | None, sources: EvaluationSources, every: Catalog | None
) -> tuple[list[Query], list[Query], Qrels]:
    """Return the catalogue's queries, the judged ones with a text, and the judgments."""
    if catalog is None:
        return [], *read_judgments(sources.judgments or Path(), [])
    queries, qrels = judged_queries(catalog, sources.judgments, every=every)
    strangers = sorted(qrels.keys() - {query.query_id for query in queries})
    if strangers and sources.bundle is not None:
        raise SourceDataError(
            f"{sources.judgments} judges {len(strangers)} queries that {catalog.name} does not have, such as "
            f"{strangers[:3]}: a bundle cannot be asked them; are the query ids those of another data set or split?"
        )
    return list({query.query_id: query for query in (*catalog.queries(), *queries)}.values()), queries, qrels


# --- asking -----------------------------------------------------------------------------------------------------------


def _open(config: EvaluateConfig, bundle: Path) -> SearchEngine:
    runtime = config.runtime
    engine = SearchEngine.open(
        bundle,
        device=runtime.device,
        threads=runtime.threads,
        precision=runtime.precision.name,
        cache=CacheConfig.off(),  # every system is asked the same queries, and none may profit from another
    )
    _require_reranker(engine, config, bundle)
    return engine


def _taken(config: EvaluateConfig, sources: EvaluationSources) -> list[str]:
    return [] if sources.bundle is None else [system.name for system in config.systems]


def _ask_all(
    engine: SearchEngine, config: EvaluateConfig, queries: Sequence[Query], qrels: Qrels, facts: CatalogueFacts
) -> dict[str, SystemRun]:
    rules = RULES[config.convention]
    counted, _ = evaluated(qrels, rules)
    asked = [query for query in queries if query.query_id in counted]
    held = facts.product_ids
    judged = {query_id: [product_id for product_id in of if product_id in held] for query_id, of in counted.items()}
    among = judged if rules.judged_only else None
    return {system.name: run_system(engine, system, asked, config, among=among) for system in config.systems}


def run_system(
    engine: SearchEngine,
    system: System,
    queries: Sequence[Query],
    config: EvaluateConfig,
    *,
    among: Mapping[str, Collection[str]] | None = None,
) -> SystemRun:
    """Ask one system every query, one at a time as a shopper would, and keep ids, scores and milliseconds.

    Args:
        engine: What is asked.
        system: Which of its sources and stages.
        queries: In this order.
        config: Depths.
        among: query_id -> the only products to be ranked. Those that the system does not return (words alone find only
            what shares one) follow in the order of their ids, so that all are ranked. ``None`` ranks the catalogue.
    """
    probabilities: dict[str, dict[str, float]] = {}

    def ask(query: Query) -> tuple[list[tuple[str, float]], float]:
        def see(ranked: Sequence[Ranked]) -> None:
            told = {hit.product_id: hit.probability for hit in ranked[: config.k] if hit.probability is not None}
            probabilities[query.query_id] = told

        if among is None:
            return engine.run(query.text, system, depth=config.depth, run_depth=config.run_depth, see=see)
        wanted = among[query.query_id]
        filters = [("product_id", "in", sorted(wanted))]
        answer, elapsed_ms = engine.run(
            query.text, system, depth=config.depth, run_depth=max(config.run_depth, len(wanted)), filters=filters
        )
        return _completed(answer, wanted), elapsed_ms

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
    told = {query_id: of for query_id, of in probabilities.items() if of and query_id in run}
    return SystemRun(run, latencies, probability_of=engine.good_grade if told else None, probabilities=told)


def _completed(answer: list[tuple[str, float]], wanted: Collection[str]) -> list[tuple[str, float]]:
    """Put the products that were not returned at the end, by id, each a step below."""
    returned = {product_id for product_id, _ in answer}
    lowest = min((score for _, score in answer), default=0.0)
    missing = sorted(product_id for product_id in wanted if product_id not in returned)
    return [*answer, *((product_id, lowest - step) for step, product_id in enumerate(missing, start=1))]


def _answer(
    ask: Callable[[Query], tuple[list[tuple[str, float]], float]], query: Query
) -> tuple[list[tuple[str, float]], float]:
    """Ask; a query that the engine refuses stays unanswered, which scores 0 and is said aloud."""
    try:
        return ask(query)
    except InvalidQuery as error:
        say(f"query {query.query_id} was refused and scores 0: {error}")
        return [], 0.0


def _require_bundle_for_cost(config: EvaluateConfig, sources: EvaluationSources) -> None:
    if isinstance(config.cost, CostSweepConfig) and sources.bundle is None:
        raise ConfigError(
            "cost is measured by searching, and run files cannot be searched: give a bundle (--bundle DIR), or leave "
            "cost= out"
        )


def _require_reranker(engine: SearchEngine, config: EvaluateConfig, bundle: Path) -> None:
    if System.hybrid_rerank in config.systems and not engine.has_reranker:
        without = ",".join(system.name for system in config.systems if system is not System.hybrid_rerank)
        raise ConfigError(
            f"{bundle} has no reranker, so hybrid_rerank cannot be evaluated; leave it out with "
            f"'systems=[{without}]', or train one "
            "(shortlist train-reranker) and build with reranker=cross_encoder reranker.model=FOLDER"
        )


# --- what the numbers are read beside ---------------------------------------------------------------------------------


def _facts(
    config: EvaluateConfig, catalog: Catalog | None, engine: SearchEngine | None, qrels: Qrels
) -> CatalogueFacts | None:
    """Read the catalogue once more: from the bundle when there is one, which holds exactly what was searched."""
    judged = {product_id for grades in qrels.values() for product_id in grades}
    if engine is not None:
        return bundle_facts(engine.bundle, judged, popularity=config.popularity)
    if catalog is not None:
        stream = (product for batch in catalog.products() for product in batch.products)
        return collect_facts(stream, judged, popularity=config.popularity)
    return None


def bundle_facts(bundle: Bundle, judged: Collection[str], *, popularity: str = "") -> CatalogueFacts:
    """Collect the facts of a bundle's products; its vocabulary is that of its lexical index."""
    products = stored_products(bundle.folder / "products.parquet", extra=popularity)
    vocabulary = Postings.open(bundle.folder / "lexical").vocabulary
    return collect_facts(products, judged, popularity=popularity, vocabulary=vocabulary)


def _raters(config: EvaluateConfig, sources: EvaluationSources, queries: Sequence[Query]) -> dict[str, Qrels]:
    if sources.source is None or not config.raters:
        return {}
    path = sources.source / config.raters
    return read_rater_grades(path, queries) if path.is_file() else {}


def _provenance(config: EvaluateConfig, sources: EvaluationSources, engine: SearchEngine | None) -> Provenance:
    given = [path for path in (sources.judgments, *sources.runs) if path is not None]
    told = Provenance(
        source=str(sources.source or ""),
        judgments=str(sources.judgments or config.catalog.judgments),
        digests={str(path): digest(path).sha256 for path in given},
        configuration=configuration_of(config),
    )
    return told if engine is None else with_bundle(told, engine.bundle)
