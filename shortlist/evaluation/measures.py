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
from retrieval.metrics import Measure
from retrieval.records import Qrels, Run
from shortlist.evaluation.conventions import RULES, Rules
from shortlist.evaluation.records import EvaluationOptions


@dataclass(frozen=True, slots=True)
class MeasureNames:
    """What the measures of an evaluation are called: ir-measures' names, and ``condensed_`` before nDCG's.

    An nDCG that ir-measures has no name for carries its convention in brackets, so that nobody can take one for the
    other.
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
    ndcg = RULES[options.convention].measure.format(k=options.k)
    relevant = "" if options.min_grade_recall == 1 else f"(rel={options.min_grade_recall})"
    return MeasureNames(
        ndcg=ndcg,
        condensed_ndcg=f"condensed_{ndcg}",
        recall=f"R{relevant}@{options.recall_k}",
        judged=f"Judged@{options.k}",
        reciprocal_rank="RR",
        average_precision="AP",
    )


class Scorer:
    """Measures runs against one set of judgments."""

    def __init__(self, qrels: Qrels, options: EvaluationOptions) -> None:
        """Prepare ir-measures.

        Args:
            qrels: Checked judgments; every query in them counts, so ``evaluated`` comes first.
            options: Cut-offs and convention.

        Raises:
            EnvironmentProblem: If the extra ``eval`` is not installed.
        """
        self._qrels = qrels
        self._plain = _plain_measures(options)
        self._measures = _measures(options)
        self._names = measure_names(options).all()
        self._evaluator = _ir_measures().evaluator(list(self._measures), qrels)

    def per_query(self, run: Run) -> dict[str, dict[str, float]]:
        """Return measure -> query_id -> value, for every judged query in order; an unanswered one scores 0.

        Args:
            run: A checked run, best first; queries without judgments are ignored.
        """
        values = {name: dict.fromkeys(self._qrels, 0.0) for name in self._names}
        # An empty answer is no answer; handed over as such it would make Judged divide by zero.
        answered = {query_id: _ranked(run[query_id]) for query_id in self._qrels if run.get(query_id)}
        for metric in self._evaluator.iter_calc(answered):
            values[self._measures[metric.measure]][metric.query_id] = float(metric.value)
        for name, measure in self._plain.items():
            for query_id, answer in answered.items():
                values[name][query_id] = measure(list(answer), self._qrels[query_id])
        return values


def _ranked(ranking: list[tuple[str, float]]) -> dict[str, float]:
    return {product_id: float(len(ranking) - place) for place, (product_id, _) in enumerate(ranking)}


def _measures(options: EvaluationOptions) -> Mapping[Any, str]:
    """Return ir-measures' object -> our name."""
    library = _ir_measures()
    rules, names = RULES[options.convention], measure_names(options)
    found = {
        library.R(rel=options.min_grade_recall) @ options.recall_k: names.recall,
        library.Judged @ options.k: names.judged,
        library.RR: names.reciprocal_rank,
        library.AP: names.average_precision,
    }
    return found if _by_hand(rules) else {**found, **_library_ndcg(library, rules, options)}


def _library_ndcg(library: ModuleType, rules: Rules, options: EvaluationOptions) -> Mapping[Any, str]:
    names, k = measure_names(options), rules.cutoff(options.k)
    # The parameter dcg='exp-log2' would shell out to a perl script; mapped grades give the same number without.
    gains = {} if rules.gains is None else {"gains": dict(rules.gains)}
    plain, judged = library.nDCG(judged_only=rules.judged_only, **gains), library.nDCG(judged_only=True, **gains)
    if rules.judged_only:  # then the two are one
        return {(judged if k is None else judged @ k): names.ndcg}
    return {
        (plain if k is None else plain @ k): names.ndcg,
        (judged if k is None else judged @ k): names.condensed_ndcg,
    }


def _plain_measures(options: EvaluationOptions) -> Mapping[str, Measure]:
    """Return our name -> plain function for what ir-measures lacks."""
    rules, names = RULES[options.convention], measure_names(options)
    condensed = {names.condensed_ndcg: rules.plain_condensed_ndcg(options.k)}
    if _by_hand(rules):
        return {names.ndcg: rules.plain_ndcg(options.k)} | condensed
    return condensed if rules.judged_only else {}


def _by_hand(rules: Rules) -> bool:
    """Tell whether ir-measures lacks this nDCG: it has one discount and one ideal."""
    return rules.steep or rules.ideal_grade is not None


def _ir_measures() -> ModuleType:
    try:
        return import_module("ir_measures")
    except ImportError as error:
        raise EnvironmentProblem(
            f"evaluation needs the package ir-measures, which is not installed ({error}); "
            "install the extra: pip install 'shortlist[eval]'"
        ) from error
