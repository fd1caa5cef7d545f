"""How good a system is on some queries, per query, so that two systems can be compared pair by pair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.metrics import condensed, has_gain, judged_share, ndcg, recall
from retrieval.records import Qrels, Query, Run
from shortlist.evaluation.paired import bootstrap_interval, differences, randomisation_p

K = 10
RECALL_K = 100
DEPTH = 1000
"""Length of the runs; condensed nDCG needs more than its cut-off."""

PRIMARY = "nDCG@10"

_ORDER = (PRIMARY, f"condensed_{PRIMARY}", "R(", f"Judged@{K}")


@dataclass(frozen=True, slots=True)
class Measured:
    """One system on one set of queries.

    Attributes:
        values: Measure -> query_id -> value, over the queries with a grade above 0.
    """

    values: Mapping[str, Mapping[str, float]]

    @classmethod
    def read(cls, values: Mapping[str, Mapping[str, float]]) -> "Measured":
        """Return what was written, the measures in their order again: the names of a JSON file are sorted."""
        return cls({label: values[label] for begin in _ORDER for label in values if label.startswith(begin)})

    @property
    def means(self) -> dict[str, float]:
        """Measure -> mean; 0 without queries."""
        return {name: float(np.mean([*of.values()])) if of else 0.0 for name, of in self.values.items()}

    def interval(self, measure: str = PRIMARY) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of a mean."""
        found = bootstrap_interval(np.array([*self.values[measure].values()], dtype=np.float64))
        return found.low, found.high

    def against(self, before: "Measured", measure: str = PRIMARY) -> tuple[float, float, tuple[float, float]]:
        """Return the mean difference to another system, its two-sided paired p, and its 95 % interval."""
        difference = differences(before.values[measure], self.values[measure])
        found = bootstrap_interval(difference)
        return float(difference.mean()), randomisation_p(difference), (found.low, found.high)


def recall_grade(grades: Qrels) -> int:
    """Return the grade from which recall counts a product: 3 on a scale to 4, 2 on one to 3, else the highest."""
    highest = max((grade for of in grades.values() for grade in of.values()), default=1)
    return {4: 3, 3: 2}.get(highest, highest)


def measure(run: Run, queries: Sequence[Query], grades: Qrels, *, min_grade: int) -> Measured:
    """Measure a run per query: nDCG@10 (linear gains), the same of the judged products alone, recall@100, Judged@10.

    Args:
        run: Of depth `DEPTH`; a query that it lacks scores 0.
        queries: Which queries; those without a grade above 0 are left out.
        grades: query_id -> product_id -> grade.
        min_grade: Grade from which recall counts.
    """
    measures: dict[str, Callable[[list[str], Mapping[str, int]], float]] = {
        PRIMARY: lambda ranked, of: ndcg(ranked, of, k=K),
        f"condensed_{PRIMARY}": lambda ranked, of: ndcg(condensed(ranked, of), of, k=K),
        f"R(rel={min_grade})@{RECALL_K}": lambda ranked, of: recall(ranked, of, k=RECALL_K, min_grade=min_grade),
        f"Judged@{K}": lambda ranked, of: judged_share(ranked, of, k=K),
    }
    counted = [query.query_id for query in queries if has_gain(grades[query.query_id])]
    ranked = {name: [product_id for product_id, _ in run.get(name, ())] for name in counted}
    return Measured(
        {label: {name: one(ranked[name], grades[name]) for name in counted} for label, one in measures.items()}
    )
