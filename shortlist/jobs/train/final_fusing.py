"""Step ``final_fusion``: trees on top of the convex mix of both stages, learned from queries that no model has seen.

Three sets of queries keep the step honest: encoder and cross-encoder learned from one, the trees from another (how many
there are is cross-validated there), and the tuning queries decide between mix and trees, as for every step.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from rerank.boosting import Boosted, Lesson, boost, require_lightgbm
from rerank.corrected import Corrected, products_of, write_trees
from rerank.features import fixed_features
from rerank.final import Convex
from rerank.folder import stored_weight
from retrieval.metrics import has_gain
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.ground import FUSE
from shortlist.jobs.train.reranking import link
from shortlist.jobs.train.second_stage import HYBRID_RERANK, SecondStage
from shortlist.jobs.train.steps import Made
from shortlist.progress import progress


class LearnFinalFusion(SecondStage):
    """What both stages, the texts and the catalogue say of a candidate, weighed by small trees beside the mix."""

    name = "final_fusion"
    needs: tuple[str, ...] = ("reranker",)
    makes: tuple[str, ...] = ("reranker",)
    decides = HYBRID_RERANK
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Learn the trees, and put them beside a copy of the cross-encoder."""
        require_lightgbm()  # before pairs are scored for nothing
        made, config = folder / "reranker", bench.config
        link(bench.artefacts["reranker"], made)
        convex = Convex(stored_weight(made))
        lessons = self._lessons(bench)
        boosted = boost(lessons, convex, seed=config.reranker.seed)
        told = evidence(boosted, len(lessons))
        if len(boosted.trees.roots):  # none would ask the cross-encoder for nothing
            write_trees(made, Corrected(convex, boosted.trees, config.popularity), told)
        record = {**told, "weight": convex.weight, "seed": config.reranker.seed}
        return Made(artefacts={"reranker": made}, record=record)

    def _lessons(self, bench: Bench) -> list[Lesson]:
        """Return the queries kept for this step as both stages see them."""
        grades = bench.ground.grades
        queries = [query for query in bench.ground.queries[FUSE] if has_gain(grades[query.query_id])]
        reranker = self._scorers.opened(bench, "reranker")
        found = []
        with progress("final fusion", len(queries), unit="queries") as advance:
            for query, candidates in zip(queries, bench.recalled(queries, bench.config.depth), strict=True):
                advance(1)
                if not candidates:
                    continue
                text, product_ids = bench.asked(query.text), [candidate.product_id for candidate in candidates]
                products = products_of(bench.by_id, product_ids)()
                found.append(
                    Lesson(
                        product_ids=tuple(product_ids),
                        fixed=fixed_features(text, candidates, products, popularity=bench.config.popularity),
                        first=np.array([candidate.score for candidate in candidates], np.float32),
                        cross=reranker.score(text, [bench.ground.texts[product_id] for product_id in product_ids]),
                        grades=grades[query.query_id],
                    )
                )
        return found


def evidence(boosted: Boosted, queries: int) -> dict[str, object]:
    """Return what is told of the trees, as JSON values."""
    return {
        "queries": queries,
        "trees": len(boosted.trees.roots),
        "nDCG@10": {str(rounds): mean for rounds, mean in boosted.ndcg.items()},
        "choice": asdict(boosted.choice),
        "gains": dict(boosted.gains),
    }
