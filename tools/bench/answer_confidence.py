"""Hold a bundle's confidence against queries that had no part in learning it, answerable ones and others.

Prints, for the built-in store or any catalogue with such splits, how well answers with a good match and answers without
one are told apart (by the bundle, and by the highest cosine alone), how often each is called "no good match", and the
Brier skill and calibration error of the hits' probabilities.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rerank.abstention import area_under_curve
from rerank.reliability import reliability
from retrieval.catalog import open_catalog
from retrieval.records import Query, SearchResult
from shortlist import SearchEngine
from shortlist.compose import load_config
from shortlist.config import CheckConfig

TRIALS, SEED = 10_000, 7


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True, help="folder of the catalogue, with splits")
    parser.add_argument("--catalog", default="demo")
    parser.add_argument("--answerable", default="test", help="split whose queries have a good match")
    parser.add_argument("--unanswerable", default="no_answer", help="split whose queries have none")
    parser.add_argument("--good", type=int, default=2, help="smallest grade that counts as a good match")
    parser.add_argument("--depth", type=int, default=30)
    arguments = parser.parse_args()
    catalog = open_catalog(load_config(CheckConfig, [f"catalog={arguments.catalog}"]).catalog, arguments.source)
    engine = SearchEngine.open(arguments.bundle)
    splits, grades = catalog.splits(), {}
    for judgment in catalog.judgments():
        grades.setdefault(judgment.query_id, {})[judgment.product_id] = judgment.grade
    answers: dict[str, list[tuple[Query, SearchResult]]] = {arguments.answerable: [], arguments.unanswerable: []}
    for query in catalog.queries():
        if splits.get(query.query_id) in answers:
            answers[splits[query.query_id]].append((query, engine.search(query.text, depth=arguments.depth)))
    found, missing = answers[arguments.answerable], answers[arguments.unanswerable]
    with_match = [pair for pair in found if _has_match(pair, grades, arguments.good)]
    print(f"{arguments.answerable}: {len(found)} queries, {len(with_match)} with a good match among the first ten hits")
    print(f"{arguments.unanswerable}: {len(missing)} queries")
    for name, score in (("match probability", _probability), ("highest cosine", _cosine)):
        high, sure, low = (np.array([score(result) for _, result in of]) for of in (found, with_match, missing))
        low_end, high_end = _interval(high, low)
        print(
            f"  AUC of the {name}: {area_under_curve(high, low):.3f} [{low_end:.3f}, {high_end:.3f}]; "
            f"{area_under_curve(sure, low):.3f} of answers with a good match against those without one"
        )
    for name, of in ((arguments.answerable, found), (arguments.unanswerable, missing)):
        print(f'  called "no good match", {name}: {np.mean([result.abstained for _, result in of]):.1%}')
    _print_reliability(found, grades, arguments.good)
    return 0


def _has_match(pair: tuple[Query, SearchResult], grades: Mapping[str, Mapping[str, int]], good: int) -> bool:
    query, result = pair
    return any(grades.get(query.query_id, {}).get(hit.product_id, 0) >= good for hit in result.hits)


def _probability(result: SearchResult) -> float:
    return -1.0 if result.match_probability is None else result.match_probability


def _cosine(result: SearchResult) -> float:
    return max((hit.stages.get("dense", -1.0) for hit in result.hits), default=-1.0)


def _interval(high: np.ndarray, low: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(SEED)
    drawn = [
        area_under_curve(rng.choice(high, size=len(high)), rng.choice(low, size=len(low))) for _ in range(TRIALS // 10)
    ]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _print_reliability(
    found: Sequence[tuple[Query, SearchResult]], grades: Mapping[str, Mapping[str, int]], good: int
) -> None:
    pairs = [
        (hit.probability, grades.get(query.query_id, {}).get(hit.product_id, 0) >= good, query.query_id)
        for query, result in found
        for hit in result.hits
        if hit.probability is not None
    ]
    if not pairs:
        print("  hits have no probabilities")
        return
    told = reliability(*map(list, zip(*pairs, strict=True)))  # type: ignore[arg-type]
    print(
        f"  probabilities of {told.pairs} hits, {told.rate:.1%} of them good: Brier {told.brier:.4f}, skill "
        f"{told.skill:.3f} [{told.skill_interval[0]:.3f}, {told.skill_interval[1]:.3f}], debiased calibration error "
        f"{told.calibration_error:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
