"""What an nDCG should be read between: a floor that chance reaches, and a ceiling that people reach."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.chance import random_ndcg, tied_ndcg
from retrieval.metrics import condensed, ndcg
from retrieval.records import Qrels, Run
from shortlist.evaluation.conventions import RULES
from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.paired import bootstrap_interval
from shortlist.evaluation.records import Ceiling, Estimate, EvaluationOptions, Floors


def random_floors(qrels: Qrels, options: EvaluationOptions, *, products: int | None) -> Floors:
    """Return the mean nDCG of a random order of the judged products, and of the whole catalogue.

    Args:
        qrels: Judgments of the evaluated queries, at least one.
        options: Convention and cut-off.
        products: Size of the catalogue; ``None`` when it is not known. Judged products that it does not hold are
            counted as held.
    """
    form = RULES[options.convention].form(options.k)

    def mean(among: int | None) -> float:
        sizes = (None if among is None else max(among, len(grades)) for grades in qrels.values())
        floors = (random_ndcg(of, among=size, **form) for of, size in zip(qrels.values(), sizes, strict=True))
        return float(np.mean(list(floors)))

    return Floors(judged=mean(None), catalogue=None if products is None else mean(products))


def rater_ceiling(
    qrels: Qrels, raters: Mapping[str, Qrels], runs: Mapping[str, Run], options: EvaluationOptions
) -> Ceiling | None:
    """Score every rater as a system against the adopted grades.

    The adopted grades were made from these raters', so each is measured against a verdict that is partly its own: the
    ceiling is a little too high.

    Args:
        qrels: The adopted grades of the evaluated queries.
        raters: Rater -> query_id -> product_id -> grade.
        runs: System -> run, to be measured on the same products.
        options: Convention, cut-off, resampling.

    Returns:
        The ceiling over the products that all raters graded and that are judged; ``None`` if there is no rater, or no
        query counts on them.
    """
    pool = _pool(qrels, raters, options)
    if not pool:
        return None
    form = RULES[options.convention].form(options.k)
    by_rater = {
        name: [tied_ndcg(_tied(grades[query_id], of), of, **form) for query_id, of in pool.items()]
        for name, grades in raters.items()
    }
    by_system = {
        name: [ndcg(condensed(_ids(run, query_id), of), of, **form) for query_id, of in pool.items()]
        for name, run in runs.items()
    }
    return Ceiling(
        measure=measure_names(options).ndcg,
        raters={name: _estimate(values, options) for name, values in by_rater.items()},
        systems={name: _estimate(values, options) for name, values in by_system.items()},
        random=float(np.mean([random_ndcg(of, **form) for of in pool.values()])),
        queries=len(pool),
        products=sum(map(len, pool.values())),
    )


def _pool(qrels: Qrels, raters: Mapping[str, Qrels], options: EvaluationOptions) -> Qrels:
    """Return the adopted grades of what all raters graded, for the queries that count on it."""
    if not raters:
        return {}
    pool = {}
    for query_id, grades in qrels.items():
        rated = set(grades).intersection(*(of_rater.get(query_id, {}) for of_rater in raters.values()))
        pool[query_id] = {product_id: grade for product_id, grade in grades.items() if product_id in rated}
    counts = RULES[options.convention].counts
    return {query_id: grades for query_id, grades in pool.items() if counts(grades)}


def _tied(grades: Mapping[str, int], products: Mapping[str, int]) -> list[list[str]]:
    """Return the products grouped by a rater's grade, best first."""
    groups: dict[int, list[str]] = defaultdict(list)
    for product_id in products:
        groups[grades[product_id]].append(product_id)
    return [groups[grade] for grade in sorted(groups, reverse=True)]


def _ids(run: Run, query_id: str) -> list[str]:
    return [product_id for product_id, _ in run.get(query_id, [])]


def _estimate(values: Sequence[float], options: EvaluationOptions) -> Estimate:
    interval = bootstrap_interval(np.array(values), trials=options.trials, seed=options.seed)
    return Estimate(float(np.mean(values)), interval)
