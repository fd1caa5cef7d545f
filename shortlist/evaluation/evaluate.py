"""Runs and judgments in, one ``Evaluation`` out."""

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata

import numpy as np

from indexing.errors import ConfigError, SourceDataError
from retrieval.records import Product, Qrels
from shortlist.evaluation.cells import Cells, ComparisonOptions, Pair, compare_pairs
from shortlist.evaluation.checks import check_ids, check_known, check_probabilities, check_qrels, check_run
from shortlist.evaluation.conventions import RULES, conventions, evaluated
from shortlist.evaluation.examples import extremes
from shortlist.evaluation.facts import CatalogueFacts
from shortlist.evaluation.measures import Scorer, measure_names
from shortlist.evaluation.paired import bootstrap_intervals
from shortlist.evaluation.records import (
    Evaluation,
    EvaluationOptions,
    Gaps,
    Interval,
    Provenance,
    Slices,
    SystemResult,
    SystemRun,
)
from shortlist.evaluation.references import random_floors, rater_ceiling
from shortlist.evaluation.scores import ScoreProfile, score_profile
from shortlist.evaluation.slices import slices_of

_PACKAGES = (
    "ir-measures",
    "pytrec-eval-terrier",
    "numpy",
    "faiss-cpu",
    "faiss-gpu",
    "torch",
    "sentence-transformers",
    "transformers",
    "bm25s",
)
"""Packages whose version can move a number of the report."""


_NAMED = 3  # products named in a warning


def evaluate_runs(
    dataset: str,
    qrels: Qrels,
    runs: Mapping[str, SystemRun],
    *,
    options: EvaluationOptions | None = None,
    products_for_display: Callable[[str], Product] | None = None,
    query_texts: Mapping[str, str] | None = None,
    facts: CatalogueFacts | None = None,
    raters: Mapping[str, Qrels] | None = None,
    provenance: Provenance | None = None,
    generated_at: str | None = None,
) -> Evaluation:
    """Measure every system on the same queries and compare them.

    The means are over all queries that count under the convention, by default those with a grade above 0; a query that
    a system leaves unanswered scores 0.

    Args:
        dataset: Name of the catalogue, for the report.
        qrels: query_id -> product_id -> grade.
        runs: Name of the system -> its answers; names become file names. The order is kept.
        options: Cut-offs, convention, baseline; ``None`` takes the defaults.
        products_for_display: Finds the product of an id, for the examples; without it, and where it raises
            ``KeyError``, ids are shown.
        query_texts: query_id -> text of the catalogue's queries, for slices and examples; absent ones show the id.
        facts: What the catalogue holds, for slices, the random floor and the count of what lies outside it.
        raters: Rater -> query_id -> product_id -> grade, for the ceiling.
        provenance: Where runs and judgments come from.
        generated_at: UTC time in ISO 8601 for the report; ``None`` takes the clock.

    Returns:
        The evaluation, ready for ``write_evaluation``.

    Raises:
        SourceDataError: If judgments or runs break a rule (``shortlist.evaluation.checks``), or no query counts.
        ConfigError: If there is no run, or the baseline named is none of them.
        EnvironmentProblem: If the extra ``eval`` is not installed.
    """
    options = options or EvaluationOptions()
    _check(qrels, runs, options)
    kept, left_out = _counted(dataset, qrels, options)
    check_known(kept, {name: answers.run for name, answers in runs.items()})
    texts = query_texts or {}
    scorer = Scorer(kept, options)
    systems = _measured(runs, kept, scorer, options)
    names = measure_names(options).all()
    baseline = options.baseline or _best_first_stage(systems, names[0])
    comparisons = {of.candidate: of for of in _compared(systems, baseline, names[0], options).comparisons}
    slices = slices_of(kept, texts, facts)
    by_slice = _compared(systems, baseline, names[0], options, slices)
    candidate = max(comparisons, key=lambda name: systems[name].means[names[0]], default="")
    best, worst = extremes(
        kept,
        (systems[baseline], systems[candidate]) if candidate else None,
        measure=names[0],
        options=options,
        products_for_display=products_for_display,
        query_texts=texts,
    )
    return Evaluation(
        dataset=dataset,
        qrels=kept,
        left_out=left_out,
        systems=systems,
        measures=names,
        baseline=baseline,
        comparisons=comparisons,
        candidate=candidate,
        best=best,
        worst=worst,
        options=options,
        conventions=conventions(options),
        floors=random_floors(kept, options, products=len(facts.product_ids) if facts else None),
        ceiling=rater_ceiling(kept, raters or {}, {name: system.run for name, system in systems.items()}, options),
        gaps=_gaps(qrels, kept, systems, texts, facts),
        query_texts={query_id: texts[query_id] for query_id in kept if query_id in texts},
        slices=slices,
        by_slice=by_slice.comparisons,
        untested=by_slice.untested,
        scores=_scores(runs, kept, options),
        provenance=provenance or Provenance(),
        versions=_versions(),
        generated_at=generated_at or datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check(qrels: Qrels, runs: Mapping[str, SystemRun], options: EvaluationOptions) -> None:
    if not runs:
        raise ConfigError("an evaluation needs at least one system, got none")
    if options.baseline and options.baseline not in runs:
        raise ConfigError(f"the baseline must be one of the systems {list(runs)}, got {options.baseline!r}")
    check_ids(runs, "system", "runs")
    for name, answers in runs.items():
        if "/" in name or name.startswith("."):
            raise ConfigError(f"a system's name becomes a file name, got {name!r}; leave out '/' and a leading '.'")
        check_run(name, answers.run)
        if answers.probability_of is not None:
            check_probabilities(name, answers.claims)
    check_qrels(qrels, RULES[options.convention])


def _counted(dataset: str, qrels: Qrels, options: EvaluationOptions) -> tuple[Qrels, tuple[str, ...]]:
    """Return the judgments of the queries that count and the other queries; refuse a set where none does."""
    rules = RULES[options.convention]
    kept, left_out = evaluated(qrels, rules)
    if not kept:
        wanted = "a grade above 0" if rules.counted_from <= 1 else f"a grade of {rules.counted_from} or more"
        raise SourceDataError(
            f"an evaluation needs a query with {wanted}, got {len(qrels)} judged queries of {dataset!r}, none with "
            "such a grade"
        )
    return kept, left_out


def _gaps(
    qrels: Qrels,
    kept: Qrels,
    systems: Mapping[str, SystemResult],
    texts: Mapping[str, str],
    facts: CatalogueFacts | None,
) -> Gaps:
    unjudged = sum(query_id not in qrels for query_id in texts)
    if facts is None:
        return Gaps(unjudged_queries=unjudged)
    held = facts.product_ids
    outside = [
        (product_id, grade) for of in kept.values() for product_id, grade in of.items() if product_id not in held
    ]
    ranked = {
        name: sum(product_id not in held for ranking in system.run.values() for product_id, _ in ranking)
        for name, system in systems.items()
    }
    return Gaps(
        unjudged_queries=unjudged,
        outside=len(outside),
        outside_relevant=sum(grade > 0 for _, grade in outside),
        outside_examples=tuple(dict.fromkeys(product_id for product_id, _ in outside))[:_NAMED],
        outside_runs={name: count for name, count in ranked.items() if count},
    )


def _measured(
    runs: Mapping[str, SystemRun], qrels: Qrels, scorer: Scorer, options: EvaluationOptions
) -> dict[str, SystemResult]:
    per_query = {name: scorer.per_query(answers.run) for name, answers in runs.items()}
    intervals = _intervals(per_query, options)
    return {
        name: SystemResult(
            name=name,
            run={query_id: answers.run[query_id] for query_id in qrels if answers.run.get(query_id)},
            latencies_ms=dict(answers.latencies_ms),
            per_query=per_query[name],
            means={measure: float(np.mean(list(of.values()))) for measure, of in per_query[name].items()},
            intervals=intervals[name],
            unanswered=sum(not answers.run.get(query_id) for query_id in qrels),
            not_evaluated=sum(query_id not in qrels for query_id in answers.run),
        )
        for name, answers in runs.items()
    }


def _intervals(
    per_query: Mapping[str, Mapping[str, Mapping[str, float]]], options: EvaluationOptions
) -> dict[str, dict[str, Interval]]:
    """Return system -> measure -> interval of the mean, all from the same resamples of the queries."""
    columns = [(name, measure) for name, measures in per_query.items() for measure in measures]
    values = np.array([list(per_query[name][measure].values()) for name, measure in columns]).T
    found = bootstrap_intervals(values, trials=options.trials, seed=options.seed)
    intervals: dict[str, dict[str, Interval]] = {name: {} for name in per_query}
    for (name, measure), interval in zip(columns, found, strict=True):
        intervals[name][measure] = interval
    return intervals


def _best_first_stage(systems: Mapping[str, SystemResult], measure: str) -> str:
    """Return the best system without a second stage, told by its name; the earlier one of equals."""
    first_stage = [name for name in systems if not name.endswith("_rerank")] or list(systems)
    return max(first_stage, key=lambda name: systems[name].means[measure])


def _compared(
    systems: Mapping[str, SystemResult],
    baseline: str,
    measure: str,
    options: EvaluationOptions,
    slices: Slices | None = None,
) -> Cells:
    """Hold every other system against the baseline, over all queries and in every slice given."""
    pairs = [
        Pair(baseline, name, systems[baseline].per_query, result.per_query)
        for name, result in systems.items()
        if name != baseline
    ]
    resampling = ComparisonOptions(trials=options.trials, seed=options.seed)
    return compare_pairs(pairs, measure=measure, slices=slices, options=resampling)


def _scores(runs: Mapping[str, SystemRun], qrels: Qrels, options: EvaluationOptions) -> dict[str, ScoreProfile]:
    return {
        name: score_profile(
            answers.claims,
            qrels,
            k=options.k,
            good=options.min_grade_recall if answers.probability_of is None else answers.probability_of,
            is_probability=answers.probability_of is not None,
            trials=options.trials,
            seed=options.seed,
        )
        for name, answers in runs.items()
    }


def _versions() -> dict[str, str]:
    """Return package -> version of what is installed; nothing is imported."""
    found = {"python": platform.python_version()}
    for package in ("shortlist", *_PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
