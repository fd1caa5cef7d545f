"""Steps ``reranker``, ``student`` and ``confidence``: the second stage of a recipe, and how far it can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from indexing import storage
from indexing.exact import ExactIndex
from indexing.types import BoolVector
from indexing.vectors import ArrayVectors
from rerank.answer import LOOKED_AT, Shown
from rerank.confidence import CONFIDENCE_FILE, Confidence, write_confidence
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig
from rerank.corrected import products_of
from rerank.reranker import PassThrough, Reranker, open_reranker, rerank
from rerank.training import train_reranker
from retrieval.products import ProductTable
from retrieval.retriever import Retriever
from shortlist.generation import Ranking
from shortlist.jobs.confidence import learn
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.cross_fitting import cross_fit
from shortlist.jobs.train.fitted import training_record
from shortlist.jobs.train.ground import LEARN, TUNE
from shortlist.jobs.train.second_stage import HYBRID_RERANK, HYBRID_STUDENT, SecondStage
from shortlist.jobs.train.steps import Made, Ranker


class TrainReranker(SecondStage):
    """A cross-encoder on the labels, over what the first stage recalls; its weight is chosen on the tuning queries."""

    name = "reranker"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("reranker",)
    decides = HYBRID_RERANK
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train behind the first stage as it is."""
        train = cross_fit if bench.config.inner_folds else fit
        return train(bench, folder, bench.config.reranker, "reranker")


class TrainStudent(SecondStage):
    """A cross-encoder of fewer layers that learns the scores of the larger one: its quality beside its cost."""

    name = "student"
    needs: tuple[str, ...] = ("reranker",)
    makes: tuple[str, ...] = ("student",)
    decides = HYBRID_STUDENT
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train on the pairs of the reranker and more of the first stage's candidates."""
        config = bench.config
        taught = replace(config.reranker, layers=config.student_layers, teacher=str(bench.artefacts["reranker"]))
        return fit(bench, folder, taught, "student")


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
    queries = bench.queries(LEARN, TUNE)
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

    def reading(self, query: object) -> str:
        """Return a query as it is searched."""
        return self.bench.asked(str(query))

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
        texts, by_id = self.bench.ground.texts, self.bench.by_id
        return [
            Shown(hit.stages, texts[hit.product_id], by_id[hit.product_id].brand) for hit in ranking.ranked[:LOOKED_AT]
        ]
