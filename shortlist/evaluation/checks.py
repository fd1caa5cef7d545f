"""What runs and judgments must be before anything is measured; what breaks a rule is an error, never a silent drop."""

import math
from collections.abc import Iterable, Mapping

from indexing.errors import SourceDataError
from retrieval.records import Qrels, Run
from shortlist.config import Gains

# trec_eval's code allots memory by the highest grade of every query: a grade of 10,000,000 costs it 80 MB.
MAX_GRADE = 1000
# 2^10 - 1 = 1023 is what that leaves for exponential gains; no published scale goes beyond 4.
MAX_EXPONENTIAL_GRADE = 10

_NAMED = 3  # offenders named in a message


def check_qrels(qrels: Qrels, gains: Gains) -> None:
    """Refuse judgments that no measure can read.

    Raises:
        SourceDataError: If a grade is not a whole number in 0..1000 (0..10 with exponential gains), naming up to
            three, or an id could not stand in a TREC file.
    """
    top = MAX_EXPONENTIAL_GRADE if gains is Gains.exponential else MAX_GRADE
    bad = [
        f"{grade!r} (query {query_id!r}, product {product_id!r})"
        for query_id, grades in qrels.items()
        for product_id, grade in grades.items()
        if not (type(grade) is int and 0 <= grade <= top)
    ]
    if bad:
        raise SourceDataError(
            f"grades must be whole numbers from 0 to {top} with {gains.value} gains, got {len(bad)} others: "
            f"{', '.join(bad[:_NAMED])}; map them where the judgments are read"
        )
    check_ids(qrels, "query", "judgments")
    for query_id, grades in qrels.items():
        check_ids(grades, "product", f"judgments of query {query_id!r}")


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
