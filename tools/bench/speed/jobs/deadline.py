"""Reranking within a deadline: how late answers are, whether all that were cut say so, and what the cut costs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np

from rerank.cost import BatchCost
from retrieval.metrics import ndcg
from retrieval.records import SearchResult
from shortlist import SearchEngine
from tools.bench.speed.jobs._shop import WEIGHT, Shop, more_queries, open_shop
from tools.bench.speed.records import Compared, Measurement, Options, Plot, Row, Side, Target

NAME = "deadline"
DEADLINE_MS = 100.0
DEPTH = 100
DEADLINES_MS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)


@dataclass(slots=True)
class Noted:
    """A search, and the micro-batches that ran in it."""

    result: SearchResult
    taken_ms: float
    batches_ms: list[float]

    @property
    def late_ms(self) -> float:
        """How long after its deadline the answer came; below 0 when before."""
        return self.taken_ms - DEADLINE_MS

    @property
    def is_within_one_batch(self) -> bool:
        """Whether it was in time, or late by no more than the longest of its batches."""
        return self.late_ms <= max(self.batches_ms, default=0.0)

    @property
    def is_honest(self) -> bool:
        """Whether ``degraded``, the warning and the count of scored candidates agree with what was scored."""
        scored, of = self.result.reranked
        seen = sum("rerank" in hit.stages for hit in self.result.hits)
        cut = scored < of
        told = self.result.degraded == (("rerank",) if cut else ())
        counted = not cut or any(f"{scored} of {of}" in warning for warning in self.result.warnings)
        return told and counted and of > 0 and seen <= scored


def measure(options: Options) -> Measurement:
    """Search with a deadline of 100 ms, many times over; then the judged queries at many deadlines."""
    shop = open_shop(options)
    precision = options.settings.get("deadline.precision", "auto")
    engine = shop.open(rerank=True, precision=precision)
    count = options.number("deadline.queries", 5_000, quick=40)
    texts = [*shop.queries, *more_queries(engine, count, seed=options.seed)][:count]
    generator = np.random.default_rng(options.seed)
    while len(texts) < count:  # a small catalogue has fewer titles
        texts.append(texts[int(generator.integers(len(texts)))])
    generator.shuffle(texts)
    noted = watched(engine, texts)
    late = np.array([each.late_ms for each in noted])
    cut = [each for each in noted if each.result.degraded]
    longest = max((max(each.batches_ms, default=0.0) for each in noted), default=0.0)
    outside = sum(not each.is_within_one_batch for each in noted)
    dishonest = sum(not each.is_honest for each in noted)
    cost = engine._generation.cost
    rows = (
        _count(
            f"of {count:,} searches with a deadline of {DEADLINE_MS:.0f} ms, those late by more than one micro-batch",
            outside,
        ),
        _count("those cut short or skipped that do not say so, or say so and were not", dishonest),
        Row(
            job="how much later than the deadline the slowest in a hundred came (p99)",
            compared=Compared.alone,
            ours=Side(name="Shortlist", values=(float(np.percentile(late, 99)),)),
            few_because=f"one run of {count:,} searches",
        ),
    )
    scored = [each.result.reranked[0] for each in noted]
    return Measurement(
        name=NAME,
        rows=rows,
        threads=options.threads,
        plots=(_plot(shop, engine),),
        notes=(
            f"{shop.name}, depth {DEPTH}, k=10, a 6-layer cross-encoder of weight {WEIGHT} (precision {precision}) "
            f"trained on {shop.trained_on} queries; the plot is over the other {len(shop.queries)}. {len(cut):,} "
            f"searches were cut short; a median of {np.median(scored):.0f} candidates were scored (5 % to 95 %: "
            f"{np.percentile(scored, 5):.0f} to {np.percentile(scored, 95):.0f}). {int((late > 0).sum()):,} were late "
            f"at all, the latest by {late.max():.1f} ms; the longest micro-batch took {longest:.1f} ms.",
        ),
        facts={
            "searches": count,
            "cut": len(cut),
            "late": int((late > 0).sum()),
            "late_ms": {str(p): round(float(np.percentile(late, p)), 3) for p in (50, 90, 99, 99.9, 100)},
            "batch_ms": cost.batch_ms,
            "token_ms": cost.token_ms,
            "pace": cost.pace,
        },
    )


def watched(engine: SearchEngine, texts: Sequence[str]) -> list[Noted]:
    """Search every text with the deadline, and note its micro-batches by what the cost model was told of each."""
    noted: list[Noted] = []
    heard: list[float] = []
    observe = BatchCost.observe

    def listening(cost: BatchCost, tokens: float, taken_ms: float) -> None:
        heard.append(taken_ms)
        observe(cost, tokens, taken_ms)

    with mock.patch.object(BatchCost, "observe", listening):
        for text in texts:
            heard.clear()
            start = time.perf_counter()
            result = engine.search(text, k=10, depth=DEPTH, deadline_ms=DEADLINE_MS)
            taken_ms = (time.perf_counter() - start) * 1000
            noted.append(Noted(result, taken_ms, list(heard)))
    return noted


def _count(job: str, value: int) -> Row:
    return Row(
        job=job,
        compared=Compared.alone,
        unit="",
        ours=Side(name="Shortlist", values=(float(value),)),
        target=Target(at_most=0),
    )


def _plot(shop: Shop, engine: SearchEngine) -> Plot:
    """nDCG@10 of the judged queries at every deadline, between the first stage's and that of the whole depth."""

    def mean(**options: float | bool) -> float:
        found = []
        for query, grades in shop.queries.items():
            hits = engine.search(query, k=10, depth=DEPTH, **options).hits  # type: ignore[arg-type]
            found.append(ndcg([hit.product_id for hit in hits], grades, k=10))
        return float(np.mean(found))

    first, whole = mean(rerank=False), mean()
    ends = (DEADLINES_MS[0], DEADLINES_MS[-1])
    return Plot(
        file="deadline",
        title=f"nDCG@10 of {len(shop.queries)} held-out queries of {shop.name} against the deadline",
        x="deadline, ms",
        y="nDCG@10",
        series={
            "within the deadline": tuple((float(ms), mean(deadline_ms=float(ms))) for ms in DEADLINES_MS),
            "first stage alone": tuple((float(ms), first) for ms in ends),
            "no deadline": tuple((float(ms), whole) for ms in ends),
        },
        log_x=True,
    )
