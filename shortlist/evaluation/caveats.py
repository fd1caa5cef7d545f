"""What a reader must know before quoting a number of an evaluation."""

from shortlist.evaluation.figures import counted
from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.records import Evaluation

# Unjudged products count as irrelevant: a system that brings 2 % more of them can lose as much nDCG as is usually at
# stake between systems, without being worse.
_JUDGED_GAP = 0.02
# Below about 50 topics even large differences often come out the other way round on other topics: Voorhees & Buckley,
# The effect of topic set size on retrieval experiment error, SIGIR 2002.
_FEW_QUERIES = 50


def caveats(evaluation: Evaluation) -> list[str]:
    """Return warnings in whole sentences, the gravest first; often none."""
    found = (
        _judged_gap(evaluation),
        _outside(evaluation),
        _unanswered(evaluation),
        _not_evaluated(evaluation),
        _unjudged(evaluation),
        _few(evaluation),
    )
    return [caveat for caveat in found if caveat]


def _judged_gap(evaluation: Evaluation) -> str:
    names = measure_names(evaluation.options)
    judged = {name: result.means[names.judged] for name, result in evaluation.systems.items()}
    low, high = min(judged, key=judged.__getitem__), max(judged, key=judged.__getitem__)
    if judged[high] - judged[low] < _JUDGED_GAP:
        return ""
    return (
        f"{names.judged} runs from {judged[low]:.3f} ({low}) to {judged[high]:.3f} ({high}), and unjudged products "
        f"count as irrelevant: differences in {names.ndcg} are biased against {low}. Read {names.condensed_ndcg} "
        "beside it, or judge what is missing."
    )


def _unanswered(evaluation: Evaluation) -> str:
    silent = {name: result.unanswered for name, result in evaluation.systems.items() if result.unanswered}
    if not silent:
        return ""
    counts = ", ".join(f"{name} {count}" for name, count in silent.items())
    return f"Queries left without an answer, each scored 0: {counts} of {evaluation.queries}."


def _outside(evaluation: Evaluation) -> str:
    gaps = evaluation.gaps
    sentences = []
    if gaps.outside:
        sentences.append(
            f"The catalogue does not hold the products of {counted(gaps.outside, 'judgment', 'judgments')}, "
            f"{gaps.outside_relevant} of them with a grade above 0, such as {', '.join(gaps.outside_examples)}: no "
            "system can find them, and they stay in the ideal."
        )
    if gaps.outside_runs:
        counts = ", ".join(f"{name} {count}" for name, count in gaps.outside_runs.items())
        sentences.append(f"Ranked products that the catalogue does not hold: {counts}.")
    return " ".join(sentences)


def _not_evaluated(evaluation: Evaluation) -> str:
    extra = {name: result.not_evaluated for name, result in evaluation.systems.items() if result.not_evaluated}
    if not extra:
        return ""
    counts = ", ".join(f"{name} {count}" for name, count in extra.items())
    return f"Answers to queries that are not evaluated (no judgments that count), ignored: {counts}."


def _unjudged(evaluation: Evaluation) -> str:
    count = evaluation.gaps.unjudged_queries
    have = "has no judgments and is" if count == 1 else "have no judgments and are"
    return f"{counted(count, 'query', 'queries')} of the catalogue {have} in no number here." if count else ""


def _few(evaluation: Evaluation) -> str:
    if evaluation.queries >= _FEW_QUERIES:
        return ""
    queries = counted(evaluation.queries, "query", "queries")
    return f"Only {queries}: expect the order of close systems to change on others."
