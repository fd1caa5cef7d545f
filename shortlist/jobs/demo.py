"""Job ``demo``: the whole life of a search engine on the built-in store, shown working.

Store, untrained index, dual-encoder training, index, cross-encoder training, published bundle, held-out evaluation,
five
searches. It is a demonstration, not a benchmark: the store is generated, and its grades follow from the generator's
facts.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexing import storage
from indexing.config import FlatConfig
from indexing.errors import ConfigError
from rerank.config import CrossEncoderConfig, RerankerConfig
from retrieval.catalog import open_catalog
from retrieval.config import EncoderConfig
from retrieval.records import Query
from shortlist.building.job import build
from shortlist.bundle import Bundle
from shortlist.caches import CacheConfig
from shortlist.config import BuildConfig, EvaluateConfig, System
from shortlist.engine import SearchEngine
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.records import Evaluation, EvaluationOptions, Provenance, SystemRun
from shortlist.evaluation.report import table, write_evaluation
from shortlist.jobs.evaluate import bundle_facts, judged_queries, run_system
from shortlist.jobs.provenance import configuration_of, with_bundle
from shortlist.jobs.training import run_train_reranker, run_train_retriever
from shortlist.progress import say
from shortlist.store import write_store
from shortlist.store.judgments import completed
from shortlist.training_config import DemoConfig, TrainRerankerConfig, TrainRetrieverConfig

MARKER = "DEMO"
"""File that says a folder is the demo's own, to be started afresh."""

TEST_SPLIT = "test"
UNTRAINED = "dense_untrained"
SHOWN_QUERIES = 5
SHOWN_HITS = 3


@dataclass(slots=True)
class DemoReport:
    """What the demo did and where it left it.

    Attributes:
        out: Folder of everything.
        report: The page to look at.
        bundle: The bundle, ready for ``shortlist search --bundle``.
        metrics: System -> measure -> mean over the held-out queries.
        searches: Five searches as printed.
        seconds: Per stage.
        table: The systems' table as printed.
    """

    out: str
    report: str = ""
    bundle: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    searches: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    table: str = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and note its seconds."""
        say(f"\n== {name}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)

    def text(self) -> str:
        """Return what the demo prints at its end."""
        width = max(len(name) for name in self.seconds)
        times = [f"  {name:<{width}}  {seconds:6.1f} s" for name, seconds in self.seconds.items()]
        return "\n".join(
            [
                *self.searches,
                "\nheld-out queries (whole templates and synonym groups that training never saw):",
                self.table,
                "\ntime",
                *times,
                f"  {'total':<{width}}  {sum(self.seconds.values()):6.1f} s",
                f"\nreport  {self.report}",
                f"bundle  {self.bundle}",
                f'try     shortlist search "black couch" --bundle {self.bundle} runtime.precision=bf16',
            ]
        )


def run_demo(config: DemoConfig, *, out: Path) -> DemoReport:
    """Run every stage.

    Args:
        config: Models, trainers and index.
        out: Folder for store, models, bundle and report; an earlier demo's is started afresh.

    Raises:
        ConfigError: ``out`` holds something that no demo wrote.
    """
    _start_afresh(out)
    report = DemoReport(out=str(out), bundle=str(out / "bundle"), report=str(out / "report" / "report.html"))
    store, models = out / "store", out / "models"
    with report.stage("generate the store"):
        written = write_store(store, seed=config.store_seed)
        splits = ", ".join(f"{split} {count}" for split, count in written.queries.items())
        say(f"{written.products} products of {written.types} types and {written.brands} brands; queries: {splits}")
    with report.stage("index it untrained"):
        untrained = _build(config, config.encoder, RerankerConfig(), store, out / "untrained")
    with report.stage("train the dual encoder"):
        run_train_retriever(_retriever_config(config), source=store, out=models / "retriever")
    trained = replace(config.encoder, model=str(models / "retriever"))
    with report.stage("build and publish the bundle"):
        _build(config, trained, RerankerConfig(), store, out / "bundle")
    with report.stage("train the cross-encoder"):
        run_train_reranker(
            TrainRerankerConfig(
                catalog=config.catalog, trainer=config.reranker, runtime=config.runtime, depth=config.depth
            ),
            source=store,
            bundle=out / "bundle",
            out=models / "reranker",
        )
    with report.stage("publish it with the reranker"):
        reranker = CrossEncoderConfig(model=str(models / "reranker"))
        _build(config, trained, reranker, store, out / "bundle")
    with report.stage("evaluate on held-out queries"):
        engine = _open(out / "bundle", config)
        evaluation = _evaluate(config, engine, _open(untrained, config), store)
        write_evaluation(evaluation, out / "report")
    report.table = table(evaluation)
    report.metrics = {name: dict(result.means) for name, result in evaluation.systems.items()}
    report.searches = _searches(engine, _test_queries(config, store), config.depth)
    return report


def _start_afresh(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise ConfigError(f"{out} holds files that no demo wrote; choose an empty folder with --out DIR")
    storage.remove_folder(out)
    storage.make_folder(out)
    storage.write_bytes(out / MARKER, b"Written by `shortlist demo`, which starts this folder afresh.\n")


def _retriever_config(config: DemoConfig) -> TrainRetrieverConfig:
    return TrainRetrieverConfig(
        catalog=config.catalog,
        text=config.text,
        encoder=config.encoder,
        trainer=config.retriever,
        runtime=config.runtime,
    )


def _build(config: DemoConfig, encoder: EncoderConfig, reranker: RerankerConfig, source: Path, out: Path) -> Path:
    build_config = BuildConfig(
        catalog=config.catalog,
        text=config.text,
        encoder=encoder,
        lexical=config.lexical,
        index=config.index if out.name == "bundle" else FlatConfig(),
        fusion=config.fusion,
        reranker=reranker,
        runtime=config.runtime,
    )
    report = build(build_config, source=source, out=out)
    say(f"published {report.version}: {report.encoded} texts encoded, {report.reused} vectors reused")
    return out


def _open(bundle: Path, config: DemoConfig) -> SearchEngine:
    runtime = config.runtime
    return SearchEngine.open(
        bundle,
        device=runtime.device,
        threads=runtime.threads,
        precision=runtime.precision.name,
        cache=CacheConfig.off(),  # every system is asked the same queries, and is timed
    )


def _test_queries(config: DemoConfig, store: Path) -> list[Query]:
    catalog = open_catalog(replace(config.catalog, split=TEST_SPLIT), store)
    return judged_queries(catalog, None)[0]


def _evaluate(config: DemoConfig, engine: SearchEngine, untrained: SearchEngine, store: Path) -> Evaluation:
    catalog = open_catalog(replace(config.catalog, split=TEST_SPLIT), store)
    queries, qrels = judged_queries(catalog, None)
    asked = EvaluateConfig(catalog=config.catalog, runtime=config.runtime, depth=config.depth)
    runs: dict[str, SystemRun] = {
        System.bm25.name: run_system(engine, System.bm25, queries, asked),
        UNTRAINED: run_system(untrained, System.dense, queries, asked),
        System.dense.name: run_system(engine, System.dense, queries, asked),
        System.hybrid.name: run_system(engine, System.hybrid, queries, asked),
        System.hybrid_rerank.name: run_system(engine, System.hybrid_rerank, queries, asked),
    }
    bundle: Bundle = engine.bundle
    qrels = completed(qrels, [system.run for system in runs.values()], depth=asked.k)
    return evaluate_runs(
        "demo",
        qrels,
        runs,
        options=EvaluationOptions(k=asked.k, recall_k=asked.recall_k, min_grade_recall=asked.recall_grade),
        products_for_display=engine.product,
        query_texts={query.query_id: query.text for query in queries},
        facts=bundle_facts(bundle, {product_id for grades in qrels.values() for product_id in grades}),
        provenance=with_bundle(
            Provenance(source=str(store), judgments=config.catalog.judgments, configuration=configuration_of(asked)),
            bundle,
        ),
    )


def _searches(engine: SearchEngine, queries: Sequence[Query], depth: int) -> list[str]:
    step = max(1, len(queries) // SHOWN_QUERIES)
    lines = ["\nfive searches"]
    for query in queries[::step][:SHOWN_QUERIES]:
        result = engine.search(query.text, k=SHOWN_HITS, depth=depth)
        lines.append(f"  {query.text!r} ({result.timings_ms['total']:.0f} ms)")
        lines += [f"    {hit.rank}. {hit.product.title}" for hit in result.hits]
    return lines
