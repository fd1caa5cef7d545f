"""Hold our measures against an independent implementation on random cases, and count the differences.

A case is a set of judgments and a run: tied scores, empty answers, unanswered queries, queries nobody judged, queries
without a good product, unjudged products, and now and then a product ranked twice, which has to be refused. Each case
draws a named convention and cut-offs. Three values are compared for every measure and query:

- the plain twin (``retrieval.metrics``) on the ranking,
- ir-measures on the same ranking (``shortlist.evaluation.measures``, what reports hold),
- pytrec_eval (trec_eval's own code) on the raw scores, ties and all, with the twin on trec_eval's order of them.

What trec_eval lacks (W-DT's discount and ideal) is held against numpy. Exits with 1 when there is a difference.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytrec_eval

from indexing.errors import SourceDataError
from retrieval.metrics import Measure, average_precision, judged_share, mean_over, recall, reciprocal_rank
from retrieval.records import Qrels, Run
from shortlist.config import Convention
from shortlist.evaluation.checks import check_run
from shortlist.evaluation.conventions import RULES, Rules, evaluated
from shortlist.evaluation.measures import Scorer, measure_names
from shortlist.evaluation.records import EvaluationOptions
from shortlist.evaluation.trec import trec_order

# trec_eval sums in another order than the twin; two values further apart than this are two values.
SAME = 1e-12
PRODUCTS = (*(f"p{number}" for number in range(14)), "P1", "é", "p-1", "商品", "10", "9")
QUERIES = ("q1", "q2", "Q1", "問")
# Few scores for many products, so that most rankings hold ties; some differ only beyond single precision.
SCORES = (0.0, -0.0, 1.0, 1.0 + 1e-12, 1.5, -2.0, 3.25e-30, 7.0, 16777216.0, 16777217.0)
GRADES = (0, 0, 1, 2, 3, 4)
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Judgments, scores of a run, and how they are measured."""

    qrels: Qrels
    scores: dict[str, dict[str, float]]
    options: EvaluationOptions

    @property
    def rules(self) -> Rules:
        """Return the rules of the convention."""
        return RULES[self.options.convention]


@dataclass(slots=True)
class Tally:
    """What was compared, what was met on the way, and what differed."""

    cases: int = 0
    values: int = 0
    met: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def compare(self, where: str, ours: float, theirs: float) -> None:
        """Note one pair of values."""
        self.values += 1
        if not abs(ours - theirs) <= SAME:
            self.differences.append(f"{where}: {ours!r} and {theirs!r}")


def draw(generator: random.Random) -> Case:
    """Draw a case."""
    convention = generator.choice(list(Convention))
    rules = RULES[convention]
    grades = tuple(rules.gains) if rules.scale_text and rules.gains else GRADES
    options = EvaluationOptions(
        k=generator.randint(1, 12),
        recall_k=generator.randint(1, 12),
        min_grade_recall=generator.randint(1, 4),
        convention=convention,
    )
    qrels = {
        query_id: {product_id: generator.choice(grades) for product_id in _some(generator, PRODUCTS, 9)}
        for query_id in _some(generator, QUERIES, 4, least=1)
    }
    answered = _some(generator, (*QUERIES, "nobody-judged", "nor-this"), 5)
    scores = {
        query_id: {product_id: generator.choice(SCORES) for product_id in _some(generator, PRODUCTS, 16)}
        for query_id in answered
    }
    return Case(qrels, scores, options)


def _some(generator: random.Random, of: Sequence[str], most: int, *, least: int = 0) -> list[str]:
    return generator.sample(of, generator.randint(least, min(most, len(of))))


def plain_measures(options: EvaluationOptions) -> Mapping[str, Measure]:
    """Return our name of every measure -> the plain twin."""
    names, rules = measure_names(options), RULES[options.convention]
    return {
        names.ndcg: rules.plain_ndcg(options.k),
        names.condensed_ndcg: rules.plain_condensed_ndcg(options.k),
        names.recall: partial(recall, k=options.recall_k, min_grade=options.min_grade_recall),
        names.judged: partial(judged_share, k=options.k),
        names.reciprocal_rank: reciprocal_rank,
        names.average_precision: average_precision,
    }


def check(case: Case, where: str, tally: Tally) -> None:
    """Compare all implementations on one case."""
    tally.cases += 1
    kept, _ = evaluated(case.qrels, case.rules)
    run: Run = {query_id: trec_order(of) for query_id, of in case.scores.items()}
    _note(case, kept, run, tally)
    if not kept:
        return
    library = Scorer(kept, case.options).per_query(run)
    measures = plain_measures(case.options)
    for name, measure in measures.items():
        for query_id, grades in kept.items():
            twin = measure([product_id for product_id, _ in run.get(query_id, [])], grades)
            tally.compare(f"{where} {name} {query_id} ir-measures", twin, library[name][query_id])
        mean = sum(library[name].values()) / len(kept)
        ours = mean_over(case.qrels, run, measure, counted=case.rules.counts)
        tally.compare(f"{where} {name} mean", ours, mean)
    for query_id in kept:
        ids = [product_id for product_id, _ in run.get(query_id, [])]
        for name, theirs in independent(case, query_id).items():
            ours = measures[name](ids, kept[query_id])
            tally.compare(f"{where} {name} {query_id} independent", ours, theirs)


def independent(case: Case, query_id: str) -> dict[str, float]:
    """Return our name of a measure -> its value by pytrec_eval, or by numpy where trec_eval has no such measure."""
    options, rules, names = case.options, case.rules, measure_names(case.options)
    grades, scores = case.qrels[query_id], case.scores.get(query_id, {})
    ndcg = "ndcg" if rules.whole else f"ndcg_cut_{options.k}"
    gained = grades if rules.gains is None else {p: rules.gains[grade] for p, grade in grades.items()}
    trec = partial(_trec_eval, scores)
    found = {
        names.recall: trec(grades, f"recall_{options.recall_k}", level=options.min_grade_recall),
        names.reciprocal_rank: trec(grades, "recip_rank"),
        names.average_precision: trec(grades, "map"),
    }
    if options.convention is Convention.w_dt:
        return found | {names.ndcg: _numpy_w_dt(scores, gained, options.k)}
    return found | {
        names.ndcg: trec(gained, ndcg, judged_only=rules.judged_only),
        names.condensed_ndcg: trec(gained, ndcg, judged_only=True),
    }


def _trec_eval(
    scores: Mapping[str, float],
    grades: Mapping[str, int],
    measure: str,
    *,
    level: int = 1,
    judged_only: bool = False,
) -> float:
    if not scores:  # trec_eval -c counts an unanswered query as 0
        return 0.0
    name = measure.replace("_cut_", "_cut.") if "_cut_" in measure else measure.replace("recall_", "recall.")
    evaluator = pytrec_eval.RelevanceEvaluator(
        {"q": dict(grades)}, {name}, relevance_level=level, judged_docs_only_flag=judged_only
    )
    return float(evaluator.evaluate({"q": dict(scores)})["q"][measure])


def _numpy_w_dt(scores: Mapping[str, float], gained: Mapping[str, int], k: int) -> float:
    """Return what cheat-at-search's eval.py computes: gains 3, 1, 0 over 1 / log2(2^rank), ideal 3 throughout."""
    ranked = sorted(sorted(scores, reverse=True), key=lambda product_id: -float(np.float32(scores[product_id])))
    gains = np.array([gained.get(product_id, 0) for product_id in ranked[:k]], dtype=np.float64)
    discounts = 1 / np.log2(2.0 ** np.arange(1, k + 1))
    return float((gains * discounts[: len(gains)]).sum() / (3 * discounts).sum())


def _note(case: Case, kept: Qrels, run: Run, tally: Tally) -> None:
    """Count the kinds of trouble in a case, and see that a product ranked twice is refused by both of ours."""
    ties = any(len(set(map(float, of.values()))) < len(of) for of in case.scores.values())
    tally.met["tied scores"] += ties
    tally.met["empty answers"] += any(not of for of in case.scores.values())
    tally.met["unanswered queries"] += any(query_id not in run for query_id in kept)
    tally.met["queries nobody judged"] += any(query_id not in case.qrels for query_id in run)
    tally.met["queries that do not count"] += len(kept) < len(case.qrels)
    tally.met["no query that counts"] += not kept
    tally.met[f"convention {case.rules.title}"] += 1
    for query_id, ranking in run.items():
        if ranking and query_id in kept:
            tally.met["products ranked twice, refused"] += _refuses(query_id, [*ranking, ranking[0]], case, tally)


def _refuses(query_id: str, ranking: list[tuple[str, float]], case: Case, tally: Tally) -> bool:
    refusals = 0
    try:
        check_run("drawn", {query_id: ranking})
    except SourceDataError:
        refusals += 1
    for name, measure in plain_measures(case.options).items():
        # Measures of the condensed ranking meet the product twice only when it is judged.
        judged = ranking[-1][0] in case.qrels[query_id]
        try:
            measure([product_id for product_id, _ in ranking], case.qrels[query_id])
        except ValueError:
            continue
        if judged or not (name.startswith("condensed") or case.rules.judged_only):
            tally.differences.append(f"{name} accepted {ranking[-1][0]!r} twice in {query_id}")
    if not refusals:
        tally.differences.append(f"check_run accepted {ranking[-1][0]!r} twice in {query_id}")
    return bool(refusals)


def fuzz(cases: int, *, seed: int) -> Tally:
    """Draw and check ``cases`` cases; the n-th depends on seed and n alone."""
    tally = Tally()
    for number in range(cases):
        check(draw(random.Random(f"{seed}/{number}")), f"case {number}", tally)
    return tally


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    start = time.perf_counter()
    tally = fuzz(arguments.cases, seed=arguments.seed)
    for kind, count in sorted(tally.met.items()):
        print(f"{count:>9,}  {kind}")
    for difference in tally.differences[:SHOWN]:
        print(f"differs: {difference}")
    print(
        f"{tally.cases:,} cases, {tally.values:,} pairs of values, {len(tally.differences)} differences "
        f"(seed {arguments.seed}, {time.perf_counter() - start:.0f} s)"
    )
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
