"""The second stage as steps measure it: the first stage's candidates, reranked by a model that scores no pair twice."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rerank.config import CrossEncoderConfig
from rerank.corrected import products_of
from rerank.remembering import RememberingReranker
from rerank.reranker import Reranker, open_reranker, rerank
from retrieval.records import Candidate, Query, Run
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.steps import Ranker
from shortlist.progress import progress

HYBRID_RERANK, HYBRID_STUDENT = "hybrid_rerank", "hybrid_student"


class SecondStage:
    """What steps have in common that make one cross-encoder and decide by the first stage reranked by it.

    Attributes:
        makes: The cross-encoder alone.
        decides: The system that is the first stage reranked by it.
    """

    makes: tuple[str, ...]
    decides: str

    def __init__(self) -> None:
        """Remember scores, since every later step is measured with the same pairs."""
        self._scorers = Scorers()

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """Return the system that it decides by."""
        (name,) = self.makes
        return {self.decides: self._scorers.ranker(bench, name)}


class Scorers:
    """Opened cross-encoders that score no pair twice, however often a system is measured."""

    def __init__(self) -> None:
        self._opened: dict[Path, RememberingReranker] = {}

    def opened(self, bench: Bench, name: str) -> Reranker:
        """Return the artefact of that name, opened."""
        folder = bench.artefacts[name]
        if folder not in self._opened:
            self._opened = {
                folder: RememberingReranker(open_reranker(CrossEncoderConfig(model=str(folder)), bench.config.runtime))
            }
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


def _reranked(
    bench: Bench, reranker: Reranker, query: Query, candidates: Sequence[Candidate]
) -> list[tuple[str, float]]:
    depth = bench.config.depth
    seen = [candidate.product_id for candidate in candidates[:depth]]
    ranked = rerank(
        bench.asked(query.text),
        candidates,
        texts=[bench.ground.texts[product_id] for product_id in seen],
        reranker=reranker,
        depth=depth,
        products=products_of(bench.by_id, seen),
    )
    return [(hit.product_id, hit.score) for hit in ranked]
