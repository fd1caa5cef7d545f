"""What runs and judgments must be before anything is measured; what breaks a rule is an error, never a silent drop."""

import math
from collections.abc import Iterable, Mapping

from indexing.errors import SourceDataError
from retrieval.records import Qrels, Run
from shortlist.evaluation.conventions import MAX_GRADE, Rules

_NAMED = 3  # offenders named in a message


def check_qrels(qrels: Qrels, rules: Rules) -> None:
    """Refuse judgments that the convention cannot read.

    Raises:
        SourceDataError: If a grade is not a whole number on the convention's scale (0..1000 with linear gains), naming
            up to three, or an id could not stand in a TREC file.
    """
    scale = range(MAX_GRADE + 1) if rules.gains is None else rules.gains
    bad = [
        f"{grade!r} (query {query_id!r}, product {product_id!r})"
        for query_id, grades in qrels.items()
        for product_id, grade in grades.items()
        if type(grade) is not int or grade not in scale
    ]
    if bad:
        raise SourceDataError(
            f"{_expected(rules)}, got {len(bad)} others: {', '.join(bad[:_NAMED])}; map them where the judgments are "
            "read, or choose another convention"
        )
    check_ids(qrels, "query", "judgments")
    for query_id, grades in qrels.items():
        check_ids(grades, "product", f"judgments of query {query_id!r}")


def _expected(rules: Rules) -> str:
    if rules.scale_text and rules.gains is not None:
        listed = ", ".join(map(str, rules.gains))
        return f"grades must be one of {listed} under convention {rules.title} ({rules.scale_text})"
    top = MAX_GRADE if rules.gains is None else max(rules.gains)
    return f"grades must be whole numbers from 0 to {top} with {rules.title} gains"


def check_run(name: str, run: Run) -> None:
    """Refuse a run that would be paid twice for one product, or whose scores are not numbers.

    Raises:
        SourceDataError: Naming system, query, product and ranks.
    """
    check_ids(run, "query", f"run {name!r}")
    for query_id, ranking in run.items():
        where = f"run {name!r}, query {query_id!r}"
        seen: dict[str, int] = {}
        for rank, (product_id, score) in enumerate(ranking, start=1):
            if product_id in seen:
                raise SourceDataError(
                    f"a run must hold each product once per query, got {product_id!r} at ranks {seen[product_id]} and "
                    f"{rank} ({where}); keep the better rank"
                )
            if not math.isfinite(score):
                raise SourceDataError(f"scores must be finite, got {score} for product {product_id!r} ({where})")
            seen[product_id] = rank
        check_ids(seen, "product", where)


def check_probabilities(name: str, run: Run) -> None:
    """Refuse scores that claim to be probabilities and cannot be.

    Raises:
        SourceDataError: Naming the first score outside [0, 1].
    """
    for query_id, ranking in run.items():
        for product_id, score in ranking:
            if not 0 <= score <= 1:
                raise SourceDataError(
                    f"the scores of {name!r} claim to be probabilities, which lie in [0, 1], got {score} for product "
                    f"{product_id!r} of query {query_id!r}; leave out probability_of, or calibrate them"
                )


def check_known(qrels: Qrels, runs: Mapping[str, Run]) -> None:
    """Refuse runs that answer none of the judged queries: ids of another set, or another spelling.

    Raises:
        SourceDataError: Naming a query of each side.
    """
    for name, run in runs.items():
        if run and qrels and not run.keys() & qrels.keys():
            raise SourceDataError(
                f"run {name!r} answers {len(run)} queries, none of them judged: it has {min(run)!r}, the judgments "
                f"have {min(qrels)!r}; are the query ids those of another data set?"
            )


def check_ids(ids: Iterable[str], kind: str, where: str) -> None:
    """Refuse ids that a TREC file cannot carry: its columns are parted by white space.

    Args:
        ids: What to check.
        kind: ``query``, ``product`` or ``system``, for the message.
        where: Where they stand, for the message.

    Raises:
        SourceDataError: If an id is empty, holds white space or a NUL, or is not Unicode text.
    """
    for identity in ids:
        if identity.split() != [identity] or "\0" in identity or not _encodes(identity):
            raise SourceDataError(
                f"a {kind} id must be text without white space, got {identity!r} ({where}): TREC files part their "
                "columns by it; replace it in the source, for instance by '_'"
            )


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
