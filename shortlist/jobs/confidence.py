"""Learn on held-out queries how far the answers of a bundle with a cross-encoder can be trusted.

Every held-out query is asked as it stands, and again as if the shop did not have what it asks for: without its good
products, without every product that has a grade, and without the categories of its good products, as a shop that does
not sell such things at all. The engine's own code gives all these answers, so what is
learned is learned of what will be served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from indexing.errors import SourceDataError
from indexing.types import BoolVector
from rerank.abstention import Abstention, AnswerExample, Evidence, fit_answers
from rerank.answer import FIRST_STAGE, LOOKED_AT, RERANKED, Shown, answer_features
from rerank.calibration import Calibration, cross_fitted, fit_calibration
from rerank.confidence import Confidence, ConfidenceReport, write_confidence
from rerank.config import ConfidenceConfig, CrossEncoderConfig
from rerank.fusion import FloatVector
from rerank.reliability import Reliability, reliability
from rerank.reranker import Reranker, open_reranker
from retrieval.config import RuntimeConfig
from retrieval.filters import Filters
from retrieval.names import Brands
from retrieval.records import Product, Qrels, Query
from shortlist.bundle import open_bundle
from shortlist.generation import Ranking
from shortlist.living.changing import up_to_date
from shortlist.loading import load_generation
from shortlist.progress import progress


def learn_confidence(
    config: ConfidenceConfig,
    *,
    bundle: Path,
    reranker: Path,
    queries: Sequence[Query],
    qrels: Qrels,
    depth: int,
    complete: bool,
    runtime: RuntimeConfig,
) -> ConfidenceReport:
    """Learn probabilities and a threshold behind a bundle's first stage, and write them beside the cross-encoder.

    Args:
        config: What counts as good, and what is wanted of the threshold.
        bundle: Its first stage, whatever reranker it has.
        reranker: Folder of the cross-encoder, with its weight in the final fusion; ``confidence.json`` is written
            there.
        queries: Held out from every training; no test query may be among them.
        qrels: Their judgments.
        depth: Candidates handed to the cross-encoder.
        complete: Whether an unjudged product is known to be a bad one. Otherwise it counts neither way, and a query
            whose first hits hold no product judged good says nothing.
        runtime: Device and threads.

    Raises:
        ArtifactError: The bundle or the cross-encoder cannot be used.
        StorageError: The file cannot be written.
    """
    generation = replace(
        up_to_date(load_generation(open_bundle(bundle), runtime=runtime, reranking=False)),
        reranker=open_reranker(CrossEncoderConfig(model=str(reranker)), runtime),
    )
    confidence, report = learn(config, generation, queries, qrels, depth=depth, complete=complete)
    evidence = {name: value for name, value in asdict(report).items() if name != "missing"}
    write_confidence(reranker, confidence, evidence)
    return report


CALIBRATED_AT = 2 * LOOKED_AT
"""Hits whose probabilities are fitted: as many again as are seen first, or a good engine would show no bad ones."""


class Catalogue(Protocol):
    """What must be known of the products."""

    @property
    def count(self) -> int:
        """Number of rows."""

    @property
    def brands(self) -> Brands:
        """Their makers."""

    def __contains__(self, product_id: object) -> bool:
        """Say whether there is a product of this id."""

    def row_of(self, product_id: str) -> int:
        """Return the row of a product."""

    def get(self, row: int) -> Product:
        """Return a product."""

    def eligible(self, filters: Filters | None) -> BoolVector:
        """Return which rows match filters, bool [n]."""


class Answering(Protocol):
    """A generation, or what ranks as one does: a dataclass with the fields ``reranker`` and ``confidence``."""

    @property
    def reranker(self) -> Reranker:
        """Second stage."""

    @property
    def products(self) -> Catalogue:
        """The products that are ranked."""

    def reading(self, query: object) -> str:
        """Return a query as it is searched."""

    def rank(
        self,
        texts: Sequence[str],
        *,
        recall_depth: int,
        rerank_depth: int,
        eligible: BoolVector | None = None,
        reranking: bool = True,
    ) -> list[Ranking]:
        """Rank queries as `shortlist.generation.Generation.rank` does."""

    def shown(self, ranking: Ranking) -> list[Shown]:
        """Return the first hits as `rerank.answer` looks at them."""


def learn(
    config: ConfidenceConfig,
    generation: Answering,
    queries: Sequence[Query],
    qrels: Qrels,
    *,
    depth: int,
    complete: bool,
) -> tuple[Confidence, ConfidenceReport]:
    """Ask a generation held-out queries, and return what its answers teach and how well it holds.

    Takes what `learn_confidence` does; the generation's own confidence has no part in it.
    """
    remembering: Any = {"reranker": Remembering(generation.reranker), "confidence": Confidence()}
    asked: Answering = replace(generation, **remembering)  # type: ignore[type-var]
    judged = [query for query in queries if any(grade >= config.good for grade in qrels[query.query_id].values())]
    shuffled = np.random.default_rng(config.seed).permutation(len(judged))[: config.queries]
    found = _Found(asked, config.good, depth, complete)
    with progress("confidence", len(shuffled), unit="queries") as advance:
        for place in sorted(shuffled.tolist()):
            found.ask(judged[place], qrels[judged[place].query_id])
            advance(1)
    return _learned(found, config, len(shuffled))


class Remembering:
    """A reranker that scores no pair twice: the answers to a query with and without its products are nearly the same.

    Attributes:
        fusion: Of the reranker behind it.
    """

    def __init__(self, reranker: Reranker) -> None:
        """Remember what ``reranker`` says of the query at hand."""
        self._reranker = reranker
        self._query = ""
        self._known: dict[str, float] = {}
        self.fusion = reranker.fusion

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Return one score per text, float32 [n]."""
        if query != self._query:
            self._query, self._known = query, {}
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._reranker.score(query, new).tolist(), strict=True))
        return np.array([self._known[text] for text in texts], dtype=np.float32)


@dataclass(slots=True)
class _Found:
    """What the held-out queries were answered."""

    generation: Answering
    good: int
    depth: int
    complete: bool
    scores: list[float] = field(default_factory=list)
    is_good: list[bool] = field(default_factory=list)
    whose: list[str] = field(default_factory=list)
    answers: dict[bool, list[AnswerExample]] = field(default_factory=lambda: {True: [], False: []})

    def ask(self, query: Query, grades: Mapping[str, int]) -> None:
        """Ask a query with all products, and in every way in which the shop might not have what it asks for."""
        text = self.generation.reading(query.text)
        for eligible in (None, *self._absences(grades)):
            for reranking in (True, False):
                if reranking and not self.generation.reranker.fusion.asks:
                    continue
                ranking = self.generation.rank(
                    [text], recall_depth=self.depth, rerank_depth=self.depth, eligible=eligible, reranking=reranking
                )[0]
                if eligible is None and reranking:
                    self._note_pairs(query.query_id, ranking, grades)
                self._note_answer(query.query_id, text, ranking, grades, reranking=reranking, whole=eligible is None)

    def _absences(self, grades: Mapping[str, int]) -> list[BoolVector]:
        """Return what is left without the good products, without the graded ones, and without their categories."""
        products, ungraded = self.generation.products, self._without(grades, 1)
        good = [product_id for product_id, grade in grades.items() if grade >= self.good and product_id in products]
        categories = sorted({products.get(products.row_of(product_id)).category for product_id in good} - {""})
        left = [self._without(grades, self.good), ungraded]
        if categories:
            left.append(ungraded & ~products.eligible([("category", "in", categories)]))
        return left

    def _without(self, grades: Mapping[str, int], least: int) -> BoolVector:
        products = self.generation.products
        eligible = np.ones(products.count, dtype=np.bool_)
        taken = [product_id for product_id, grade in grades.items() if grade >= least and product_id in products]
        rows = np.array([products.row_of(product_id) for product_id in taken], np.int64)
        eligible[rows] = False
        return eligible

    def _note_pairs(self, query_id: str, ranking: Ranking, grades: Mapping[str, int]) -> None:
        for hit in ranking.ranked[:CALIBRATED_AT]:
            grade = grades.get(hit.product_id, 0 if self.complete else None)
            if grade is not None:
                self.scores.append(hit.stages["rerank"])
                self.is_good.append(grade >= self.good)
                self.whose.append(query_id)

    def _note_answer(
        self, query_id: str, text: str, ranking: Ranking, grades: Mapping[str, int], *, reranking: bool, whole: bool
    ) -> None:
        first = [hit.product_id for hit in ranking.ranked[:LOOKED_AT]]
        has_match = whole and any(grades.get(product_id, 0) >= self.good for product_id in first)
        if not first or (whole and not has_match and not self.complete):
            return
        features = answer_features(text, self.generation.shown(ranking), self.generation.products.brands)
        self.answers[reranking].append(AnswerExample(query_id, features, has_match))


def _learned(found: _Found, config: ConfidenceConfig, queries: int) -> tuple[Confidence, ConfidenceReport]:
    """Fit what the answers suffice for; what they do not suffice for is named in the report."""
    missing: list[str] = []
    calibration: Calibration | None = None
    pairs: Reliability | None = None
    fitted: dict[bool, Any] = {}
    evidence: dict[bool, Evidence] = {}
    if found.scores:
        try:
            settings: dict[str, int] = {"good": config.good, "seed": config.seed}
            calibration = fit_calibration(found.scores, found.is_good, found.whose, **settings)
            held = cross_fitted(found.scores, found.is_good, found.whose, **settings)
            pairs = reliability(held, found.is_good, found.whose, seed=config.seed)
        except SourceDataError as error:
            missing.append(str(error))
    for reranked, names in ((False, FIRST_STAGE), (True, (*FIRST_STAGE, *RERANKED))):
        if reranked and not found.answers[True]:
            continue
        try:
            fitted[reranked], evidence[reranked] = fit_answers(
                found.answers[reranked], names, precision=config.precision, share=config.share, seed=config.seed
            )
        except SourceDataError as error:
            missing.append(str(error))
    abstention = None
    if False in fitted:
        abstention = Abstention(config.good, config.precision, config.share, fitted[False], fitted.get(True))
    report = ConfidenceReport(
        queries=queries,
        pairs=pairs,
        reranked=evidence.get(True),
        first_stage=evidence.get(False),
        missing=tuple(dict.fromkeys(missing)),
    )
    return Confidence(calibration, abstention), report
