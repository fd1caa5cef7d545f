"""The measures, computed by ir-measures (trec_eval's code under it) from the order of a run.

trec_eval sorts a run by its scores, held in single precision, and parts equal ones by product id in descending order;
ir-measures' Judged parts them in ascending order. So scores would decide what the order already has. Runs are therefore
handed over with scores made from the ranks: n, n - 1, ..., 1.

``retrieval.metrics`` is the slow twin; the two are held together by value in the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from indexing.errors import EnvironmentProblem
from retrieval.metrics import exponential_gains, has_gain
from retrieval.records import Qrels, Run
from shortlist.config import Gains
from shortlist.evaluation.records import Conventions, EvaluationOptions


@dataclass(frozen=True, slots=True)
class MeasureNames:
    """What the measures of an evaluation are called: ir-measures' names, and ``condensed_`` before nDCG's.

    With exponential gains nDCG goes by ir-measures' name for that, so that nobody can take one for the other.
    """

    ndcg: str
    condensed_ndcg: str
    recall: str
    judged: str
    reciprocal_rank: str
    average_precision: str

    def all(self) -> tuple[str, ...]:
        """Return the names in the order of the table, the primary measure first."""
        return (self.ndcg, self.condensed_ndcg, self.recall, self.judged, self.reciprocal_rank, self.average_precision)


def measure_names(options: EvaluationOptions) -> MeasureNames:
    """Name the measures that the options ask for."""
    exponential = options.gains is Gains.exponential
    ndcg = f"nDCG(dcg='exp-log2')@{options.k}" if exponential else f"nDCG@{options.k}"
    relevant = "" if options.min_grade_recall == 1 else f"(rel={options.min_grade_recall})"
    return MeasureNames(
        ndcg=ndcg,
        condensed_ndcg=f"condensed_{ndcg}",
        recall=f"R{relevant}@{options.recall_k}",
        judged=f"Judged@{options.k}",
        reciprocal_rank="RR",
        average_precision="AP",
    )


def conventions(options: EvaluationOptions) -> Conventions:
    """Say in words what the numbers rest on."""
    exponential = options.gains is Gains.exponential
    return Conventions(
        name=options.gains.value,
        gains="2^grade - 1" if exponential else "the grade",
        discount="1 / log2(rank + 1)",
        ideal=f"the query's best {options.k} judged products, found or not",
        unjudged="counts as grade 0; condensed nDCG leaves such products out of the run",
        queries="those with a grade above 0; the others are left out and counted",
        unanswered="scores 0 and stays in every mean",
        ties="broken by the order of the run",
    )


def evaluated(qrels: Qrels) -> tuple[Qrels, tuple[str, ...]]:
    """Part the queries that have a grade above 0 from those left out, orders kept."""
    kept = {query_id: grades for query_id, grades in qrels.items() if has_gain(grades)}
    return kept, tuple(query_id for query_id in qrels if query_id not in kept)


class Scorer:
    """Measures runs against one set of judgments."""

    def __init__(self, qrels: Qrels, options: EvaluationOptions) -> None:
        """Prepare ir-measures.

        Args:
            qrels: Checked judgments; every query in them counts, so ``evaluated`` comes first.
            options: Cut-offs and gains.

        Raises:
            EnvironmentProblem: If the extra ``eval`` is not installed.
        """
        self._qrels = qrels
        self._measures = _measures(qrels, options)
        self._evaluator = _ir_measures().evaluator(list(self._measures), qrels)

    def per_query(self, run: Run) -> dict[str, dict[str, float]]:
        """Return measure -> query_id -> value, for every judged query in order; an unanswered one scores 0.

        Args:
            run: A checked run, best first; queries without judgments are ignored.
        """
        values = {name: dict.fromkeys(self._qrels, 0.0) for name in self._measures.values()}
        # An empty answer is no answer; handed over as such it would make Judged divide by zero.
        answered = {query_id: _ranked(run[query_id]) for query_id in self._qrels if run.get(query_id)}
        for metric in self._evaluator.iter_calc(answered):
            values[self._measures[metric.measure]][metric.query_id] = float(metric.value)
        return values


def _ranked(ranking: list[tuple[str, float]]) -> dict[str, float]:
    return {product_id: float(len(ranking) - place) for place, (product_id, _) in enumerate(ranking)}


def _measures(qrels: Qrels, options: EvaluationOptions) -> Mapping[Any, str]:
    """Return ir-measures' object -> our name, in the order of the table."""
    library = _ir_measures()
    # The parameter dcg='exp-log2' would shell out to a perl script; mapped grades give the same number without.
    gains = {} if options.gains is Gains.linear else {"gains": _gains(qrels)}
    names = measure_names(options)
    return {
        library.nDCG(**gains) @ options.k: names.ndcg,
        library.nDCG(judged_only=True, **gains) @ options.k: names.condensed_ndcg,
        library.R(rel=options.min_grade_recall) @ options.recall_k: names.recall,
        library.Judged @ options.k: names.judged,
        library.RR: names.reciprocal_rank,
        library.AP: names.average_precision,
    }


def _gains(qrels: Qrels) -> dict[int, int]:
    grades = {grade for of_query in qrels.values() for grade in of_query.values()}
    return {grade: int(gain) for grade, gain in exponential_gains(grades).items()}


def _ir_measures() -> ModuleType:
    try:
        return import_module("ir_measures")
    except ImportError as error:
        raise EnvironmentProblem(
            f"evaluation needs the package ir-measures, which is not installed ({error}); "
            "install the extra: pip install 'shortlist[eval]'"
        ) from error
