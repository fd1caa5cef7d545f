"""Step ``fusion``: how the first stage weighs words against meaning, chosen on queries not learned from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from indexing import storage
from rerank.fusion import choose
from retrieval.config import ConvexConfig, FusionConfig, RrfConfig, ZscoreConfig
from retrieval.fusion import fuse
from retrieval.metrics import has_gain, ndcg, recall
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.measure import PRIMARY, RECALL_K, K, recall_grade
from shortlist.jobs.train.steps import Made, Ranker
from shortlist.stored import freeze

SHARES = tuple(step / 10 for step in range(11))
"""Shares of the dense source that are tried, 0 and 1 among them: a source that does not help is not asked."""

SAME = 1e-9
"""Means that differ by less are equal: sums in another order do."""

SEED = 7
"""Of the folds of the nested gain; the choice does not depend on it."""


class LearnFusion:
    """The kind and the weights of the first fusion: the configured one, unless another wins over it.

    What finds less among its first hundred does not win, however well it orders ten: the first stage has to find what
    the second can put in order.
    """

    name = "fusion"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("fusion",)
    decides = "hybrid"
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Measure every fusion on the same lists, and write the chosen one."""
        grades = bench.ground.grades
        queries = [query for query in bench.unseen if has_gain(grades[query.query_id])]
        lists = bench.sources([bench.asked(query.text) for query in queries])
        tried = [bench.fusion, *candidates(bench.fusion)]
        everything = np.arange(len(bench.product_ids))
        measured, recalled = np.zeros((2, len(tried), max(1, len(queries))))
        grade = recall_grade(grades)
        for place, config in enumerate(tried):
            for number, (query, sources) in enumerate(zip(queries, lists, strict=True)):
                rows, _ = fuse(config, sources, tie_rank=everything, depth=RECALL_K)
                found, judged = [bench.product_ids[row] for row in rows], grades[query.query_id]
                measured[place, number] = ndcg(found, judged, k=K)
                recalled[place, number] = recall(found, judged, k=RECALL_K, min_grade=grade)
        found_less = recalled.mean(axis=1) < recalled[0].mean() - SAME
        choice = choose(np.where(found_less[:, None], np.minimum(measured, measured[0]), measured), seed=SEED)
        storage.replace_json(folder / "fusion.json", freeze("fusion", tried[choice.place]))
        means = {_named(config): float(mean) for config, mean in zip(tried, measured.mean(axis=1), strict=True)}
        lost = int(found_less.sum())
        record = {"choice": asdict(choice), "queries": len(queries), PRIMARY: means, "found less": lost, "seed": SEED}
        return Made(artefacts={"fusion": folder / "fusion.json"}, record=record)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own: ``hybrid`` follows the fusion."""
        return {}


def candidates(configured: FusionConfig) -> Iterator[FusionConfig]:
    """Yield every kind of fusion at every share of the dense source; each source recalls as many as configured."""
    kinds: tuple[FusionConfig, ...] = (ZscoreConfig(), ConvexConfig(), RrfConfig())
    for kind in kinds:
        for share in SHARES:
            yield replace(kind, dense=share, lexical=round(1 - share, 1), source_depth=configured.source_depth)


def _named(config: FusionConfig) -> str:
    frozen = freeze("fusion", config)
    return f"{frozen['kind']} dense={config.dense:g} lexical={config.lexical:g}"
