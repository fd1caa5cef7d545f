"""Steps ``reranker``, ``student`` and ``confidence``: the second stage of a recipe, and how far it can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.exact import ExactIndex
from indexing.types import BoolVector
from indexing.vectors import ArrayVectors
from rerank.answer import LOOKED_AT, Shown
from rerank.confidence import CONFIDENCE_FILE, Confidence, write_confidence
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig
from rerank.corrected import products_of
from rerank.final import FinalFusion
from rerank.fusion import FloatVector
from rerank.reranker import PassThrough, Reranker, open_reranker, rerank
from rerank.training import train_reranker
from retrieval.products import ProductTable
from retrieval.records import Candidate, Query, Run
from retrieval.retriever import Retriever
from retrieval.text import normalise_query
from shortlist.generation import Ranking
from shortlist.jobs.confidence import learn
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.cross_fitting import cross_fit
from shortlist.jobs.train.fitted import training_record
from shortlist.jobs.train.ground import LEARN, TUNE
from shortlist.jobs.train.steps import Made, Ranker
from shortlist.progress import progress

HYBRID_RERANK, HYBRID_STUDENT = "hybrid_rerank", "hybrid_student"


class TrainReranker:
    """A cross-encoder on the labels, over what the first stage recalls; its weight is chosen on the tuning queries."""

    name = "reranker"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("reranker",)
    decides = HYBRID_RERANK
    labels = True

    def __init__(self) -> None:
        """Remember scores, since every later step is measured with the same pairs."""
        self._scorers = Scorers()

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train behind the first stage as it is."""
        train = cross_fit if bench.config.inner_folds else fit
        return train(bench, folder, bench.config.reranker, "reranker")

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """The first stage, reranked."""
        return {HYBRID_RERANK: self._scorers.ranker(bench, "reranker")}


class TrainStudent:
    """A cross-encoder of fewer layers that learns the scores of the larger one: its quality beside its cost."""

    name = "student"
    needs: tuple[str, ...] = ("reranker",)
    makes: tuple[str, ...] = ("student",)
    decides = HYBRID_STUDENT
    labels = True

    def __init__(self) -> None:
        """Remember scores, as above."""
        self._scorers = Scorers()

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train on the pairs of the reranker and more of the first stage's candidates."""
        config = bench.config
        taught = replace(config.reranker, layers=config.student_layers, teacher=str(bench.artefacts["reranker"]))
        return fit(bench, folder, taught, "student")

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """The first stage, reranked by the student."""
        return {HYBRID_STUDENT: self._scorers.ranker(bench, "student")}


class LearnConfidence:
    """Probabilities of hits and the threshold of "no good match", on the tuning queries; it changes no order."""

    name = "confidence"
    needs: tuple[str, ...] = ("reranker",)
    makes: tuple[str, ...] = ("reranker", "confidence")
    decides = ""
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Ask the tuning queries, and put what was learned beside a copy of the reranker."""
        config, ground = bench.config, bench.ground
        made = folder / "reranker"
        link(bench.artefacts["reranker"], made)
        answers = BenchAnswers.over(bench, folder / "products.parquet")
        confidence, report = learn(
            config.confidence,
            answers,
            ground.queries[TUNE],
            ground.grades,
            depth=config.depth,
            complete=config.reranker.complete_grades,
        )
        told = asdict(report)
        write_confidence(made, confidence, {name: value for name, value in told.items() if name != "missing"})
        storage.remove_file(folder / "products.parquet")
        return Made(
            artefacts={"reranker": made, "confidence": made / CONFIDENCE_FILE},
            record={"confidence": told, "seed": config.confidence.seed},
        )

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own."""
        return {}


def fit(bench: Bench, folder: Path, config: CrossEncoderTrainerConfig, name: str) -> Made:
    """Train a cross-encoder behind the first stage as it is, stopped and weighed on the tuning queries."""
    ground = bench.ground
    queries = [*ground.queries[LEARN], *ground.queries[TUNE]]
    report = train_reranker(
        config,
        runtime=bench.config.runtime,
        queries=queries,
        judgments=ground.judgments(LEARN, TUNE),
        product_texts=ground.texts,
        dev_query_ids={query.query_id for query in ground.queries[TUNE]},
        first_stage=bench.run("hybrid", queries, bench.config.depth),
        out=folder / name,
    )
    record = training_record(report, report.choice) | {"seed": config.seed}
    return Made(artefacts={name: folder / name}, record=record)


def link(source: Path, target: Path) -> None:
    """Link a cross-encoder's files, but its confidence, which holds for the scores that it had so far."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            storage.make_folder(place)
        elif place.name != CONFIDENCE_FILE:
            storage.make_folder(place.parent)
            storage.link_or_copy(path, place)


class Scorers:
    """Opened cross-encoders that score no pair twice, however often a system is measured."""

    def __init__(self) -> None:
        self._opened: dict[Path, _Cached] = {}

    def opened(self, bench: Bench, name: str) -> Reranker:
        """Return the artefact of that name, opened."""
        folder = bench.artefacts[name]
        if folder not in self._opened:
            self._opened = {folder: _Cached(open_reranker(CrossEncoderConfig(model=str(folder)), bench.config.runtime))}
        return self._opened[folder]

    def ranker(self, bench: Bench, name: str) -> Ranker:
        """Return the first stage as it is, reranked by the artefact of that name."""
        reranker = self.opened(bench, name)

        def rank(queries: Sequence[Query], depth: int) -> Run:
            found: Run = {}
            with progress(name, len(queries), unit="queries") as advance:
                for query, candidates in zip(queries, bench.recalled(queries, depth), strict=True):
                    found[query.query_id] = _reranked(bench, reranker, query, candidates)
                    advance(1)
            return found

        return rank


@dataclass(slots=True)
class _Cached:
    """A reranker with a memory of every pair."""

    reranker: Reranker
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def fusion(self) -> FinalFusion:
        """Of the reranker behind it."""
        return self.reranker.fusion

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Return one score per text, float32 [n]."""
        new = [text for text in dict.fromkeys(texts) if (query, text) not in self.known]
        if new:
            scores = self.reranker.score(query, new).tolist()
            self.known |= {(query, text): score for text, score in zip(new, scores, strict=True)}
        return np.array([self.known[query, text] for text in texts], dtype=np.float32)


def _reranked(
    bench: Bench, reranker: Reranker, query: Query, candidates: Sequence[Candidate]
) -> list[tuple[str, float]]:
    depth = bench.config.depth
    seen = [candidate.product_id for candidate in candidates[:depth]]
    ranked = rerank(
        normalise_query(query.text),
        candidates,
        texts=[bench.ground.texts[product_id] for product_id in seen],
        reranker=reranker,
        depth=depth,
        products=products_of(bench.by_id, seen),
    )
    return [(hit.product_id, hit.score) for hit in ranked]


@dataclass(frozen=True)
class BenchAnswers:
    """A recipe's system as it is now, answering as a bundle of it will.

    Attributes:
        bench: The recipe.
        products: Its catalogue, rows in the order of the bench's.
        retriever: First stage, exact.
        reranker: Second stage.
        confidence: Nothing: it is what is to be learned.
    """

    bench: Bench
    products: ProductTable
    retriever: Retriever
    reranker: Reranker
    confidence: Confidence = field(default_factory=Confidence)

    @classmethod
    def over(cls, bench: Bench, path: Path) -> "BenchAnswers":
        """Put the system together; the catalogue is written to ``path`` for it."""
        ProductTable.write(path, [[bench.by_id[product_id] for product_id in bench.product_ids]])
        products = ProductTable.open(path)
        dense = ExactIndex(ArrayVectors(bench.product_vectors()), tie_rank=products.tie_rank)
        return cls(
            bench=bench,
            products=products,
            retriever=Retriever(bench.tower(), dense, bench.lexical, products, bench.fusion),
            reranker=open_reranker(CrossEncoderConfig(model=str(bench.artefacts["reranker"])), bench.config.runtime),
        )

    def rank(
        self,
        texts: Sequence[str],
        *,
        recall_depth: int,
        rerank_depth: int,
        eligible: BoolVector | None = None,
        reranking: bool = True,
    ) -> list[Ranking]:
        """Rank queries as a generation does."""
        second = self.reranker if reranking else PassThrough()
        found = []
        for text, recall in zip(
            texts, self.retriever.retrieve(texts, depth=recall_depth, eligible=eligible), strict=True
        ):
            seen = [candidate.product_id for candidate in recall.candidates[:rerank_depth]]
            read = [self.bench.ground.texts[product_id] for product_id in seen]
            ranked = rerank(
                text,
                recall.candidates,
                texts=read,
                reranker=second,
                depth=rerank_depth,
                products=products_of(self.bench.by_id, seen),
            )
            found.append(Ranking(tuple(ranked), dict(recall.timings_ms)))
        return found

    def shown(self, ranking: Ranking) -> list[Shown]:
        """Return the first hits as `rerank.answer` looks at them."""
        return [Shown(hit.stages, self.bench.ground.texts[hit.product_id]) for hit in ranking.ranked[:LOOKED_AT]]
