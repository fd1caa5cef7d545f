"""What counts as late, and as told, in the measurement of deadlines."""

import pytest

from retrieval.records import Hit, Product, SearchResult
from tools.bench.speed.jobs.deadline import DEADLINE_MS, Noted


def result(scored, of, *, degraded, warnings=(), seen=None):
    reranked = scored if seen is None else seen
    hits = tuple(
        Hit(str(n), n, 1.0, {"fusion": 1.0} | ({"rerank": 1.0} if n <= reranked else {}), Product(str(n), "x"))
        for n in range(1, 11)
    )
    return SearchResult("q", hits, "v", {}, degraded=degraded, warnings=warnings, reranked=(scored, of))


@pytest.mark.parametrize(
    ("late_ms", "batches", "within"),
    [(-1.0, [], True), (0.0, [], True), (4.0, [3.0, 5.0], True), (5.1, [3.0, 5.0], False), (0.1, [], False)],
)
def test_an_answer_may_be_late_by_its_longest_batch_and_no_more(late_ms, batches, within):
    noted = Noted(result(100, 100, degraded=()), DEADLINE_MS + late_ms, batches)
    assert noted.is_within_one_batch is within


@pytest.mark.parametrize(
    ("found", "honest"),
    [
        (result(100, 100, degraded=()), True),
        (result(3, 100, degraded=("rerank",), warnings=("3 of 100",)), True),
        (result(3, 100, degraded=()), False),  # cut and not said
        (result(3, 100, degraded=("rerank",)), False),  # said without numbers
        (result(100, 100, degraded=("rerank",)), False),  # said and not cut
        (result(3, 100, degraded=("rerank",), warnings=("3 of 100",), seen=5), False),  # more than was counted
    ],
)
def test_a_cut_must_be_said_with_its_numbers_and_nothing_else_must_be(found, honest):
    assert Noted(found, 1.0, []).is_honest is honest
