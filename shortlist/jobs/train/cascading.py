"""Step ``cascade``: whether the student in front of the whole cross-encoder pays, and with how many candidates.

On the choosing queries, every way is measured: student alone, whole model alone, and the cascade at several numbers of
candidates passed on. The cheapest cascade that loses next to nothing is taken; none where none is cheap enough.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from indexing import storage
from indexing.types import FloatVector
from rerank.cascade import RERANK_STAGE, STUDENT_STAGE
from rerank.corrected import TREES_FILE
from rerank.reranker import Ranked, Reranker, as_candidates, as_ranked, reorder
from retrieval.metrics import has_gain, ndcg
from retrieval.records import Candidate, Query, Run
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.ground import TUNE
from shortlist.jobs.train.measure import PRIMARY, K
from shortlist.jobs.train.second_stage import Scorers
from shortlist.jobs.train.steps import Made, Ranker
from shortlist.progress import progress

HYBRID_CASCADE = "hybrid_cascade"

TRIED = (10, 20, 30, 50)
"""Numbers of candidates passed on; those that are not below the recipe's depth say nothing."""

TIMED = 12
"""Queries that are timed, all ways of one after the other, so that other work on the machine slows all alike."""

LOSS = 0.002
"""Of nDCG@10 against the whole model that a cascade may cost: below what these sets of queries can see."""

SHARE = 0.7
"""Of the whole model's milliseconds that a cascade may take: less is no reason to keep two models."""


class ChooseCascade:
    """The student in front of the whole cross-encoder, where the table of quality and cost says that it pays."""

    name = "cascade"
    needs: tuple[str, ...] = ("reranker", "student")
    makes: tuple[str, ...] = ("cascade",)
    decides = HYBRID_CASCADE
    labels = True

    def __init__(self) -> None:
        """Remember scores, since every way asks for the same pairs."""
        self._whole, self._student = Scorers(), Scorers()

    def run(self, bench: Bench, folder: Path) -> Made:
        """Measure every way on the choosing queries, and write how many candidates are passed on."""
        whole, student = self._whole.opened(bench, "reranker"), self._student.opened(bench, "student")
        for name, model in (("reranker", whole), ("student", student)):
            if not model.fusion.asks:
                return Made(artefacts={}, refused=f"the {name} weighs 0 in the final fusion")
        if (bench.artefacts["reranker"] / TREES_FILE).is_file():
            return Made(artefacts={}, refused="the final fusion has trees, which were learned without a cascade")
        queries = [query for query in bench.ground.queries[TUNE] if has_gain(bench.ground.grades[query.query_id])]
        if not queries:
            return Made(artefacts={}, refused="no choosing queries")
        rows = _table(bench, queries, whole, student)
        passes = chosen(rows)
        record = {"table": rows, "passes": passes, "queries": len(queries), "loss": LOSS, "share": SHARE}
        if passes is None:
            why = f"no cascade within {LOSS:g} of the whole model's {PRIMARY} takes at most {SHARE:.0%} of its time"
            return Made(artefacts={}, record=record, refused=why)
        storage.write_json(folder / "cascade.json", {"passes": passes})
        return Made(artefacts={"cascade": folder / "cascade.json"}, record=record)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """The first stage, reranked by both."""
        passes = int(storage.read_json(bench.artefacts["cascade"])["passes"])
        whole, student = self._whole.opened(bench, "reranker"), self._student.opened(bench, "student")

        def rank(queries: Sequence[Query], depth: int) -> Run:
            found: Run = {}
            with progress("cascade", len(queries), unit="queries") as advance:
                for query, candidates in zip(queries, bench.recalled(queries, depth), strict=True):
                    ranked = cascaded(bench, query, candidates, whole, student, passes)
                    found[query.query_id] = [(one.product_id, one.score) for one in ranked]
                    advance(1)
            return found

        return {HYBRID_CASCADE: rank}


def cascaded(
    bench: Bench,
    query: Query,
    candidates: Sequence[Candidate],
    whole: Reranker | None,
    student: Reranker | None,
    passes: int,
) -> list[Ranked]:
    """Rank candidates as an engine does: the student sees as many as the recipe says, the whole model the first ones.

    Without a student the whole model sees that many; without a whole model, the student's order stands.
    """
    ranked, text = as_ranked(candidates), bench.asked(query.text)
    for reranker, count, stage in ((student, bench.config.depth, STUDENT_STAGE), (whole, passes, RERANK_STAGE)):
        if reranker is not None and ranked:
            seen = ranked[:count]
            said = reranker.score(text, _texts(bench, seen))
            mix = reranker.fusion.over(text, as_candidates(seen), list)
            ranked = reorder(ranked, said, mix.scores(said), stage=stage)
    return ranked


def chosen(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many candidates the cheapest cascade passes on that is good enough; ``None`` where none is.

    Args:
        rows: As `Made.record` has them under ``table``: ``way``, ``passes``, ``nDCG@10`` and ``ms``.
    """
    whole = next(row for row in rows if row["way"] == "whole")
    fit = [
        row
        for row in rows
        if row["way"] == "cascade" and row[PRIMARY] >= whole[PRIMARY] - LOSS and row["ms"] <= SHARE * whole["ms"]
    ]
    return int(min(fit, key=lambda row: (row["ms"], row["passes"]))["passes"]) if fit else None


def cascade_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the table of quality and cost as lines of Markdown."""
    lines = [
        f"## Quality and cost of a cascade ({record['queries']} choosing queries)",
        "",
        f"| way | passed on | {PRIMARY} | ms a query |",
        "|---|---|---|---|",
    ]
    for row in record["table"]:
        lines.append(f"| {row['way']} | {row['passes'] or ''} | {row[PRIMARY]:.4f} | {row['ms']:.1f} |")
    said = f"passes on {record['passes']}" if record["passes"] else "is not used"
    return [*lines, "", f"The cascade {said}."]


def _table(bench: Bench, queries: Sequence[Query], whole: Reranker, student: Reranker) -> list[dict[str, Any]]:
    depth = bench.config.depth
    ways: list[tuple[str, int, Reranker | None, Reranker | None]] = [
        ("student", 0, None, student),
        ("whole", depth, whole, None),
        *(("cascade", passes, whole, student) for passes in TRIED if passes < depth),
    ]
    recalled = bench.recalled(queries, max(depth, K))
    values: list[list[float]] = [[] for _ in ways]
    with progress("cascade", len(queries), unit="queries") as advance:
        for query, candidates in zip(queries, recalled, strict=True):
            for place, (_, passes, full, front) in enumerate(ways):
                ranked = cascaded(bench, query, candidates, full, front, passes)
                ids = [one.product_id for one in ranked[:K]]
                values[place].append(ndcg(ids, bench.ground.grades[query.query_id], k=K))
            advance(1)
    times = _times(bench, queries[:TIMED], recalled, ways)
    return [
        {"way": name, "passes": passes if name == "cascade" else None, PRIMARY: fmean(found), "ms": ms}
        for (name, passes, _, _), found, ms in zip(ways, values, times, strict=True)
    ]


def _times(
    bench: Bench,
    queries: Sequence[Query],
    recalled: Sequence[Sequence[Candidate]],
    ways: Sequence[tuple[str, int, Reranker | None, Reranker | None]],
) -> list[float]:
    """Return the mean milliseconds a query of every way, interleaved; the first query warms up unless it is alone."""
    taken = np.zeros((len(queries), len(ways)))
    for row, (query, candidates) in enumerate(zip(queries, recalled, strict=False)):
        for column, (_, passes, full, front) in enumerate(ways):
            fresh, fronts = full and _Fresh(full), front and _Fresh(front)
            start = time.perf_counter()
            cascaded(bench, query, candidates, fresh, fronts, passes)
            taken[row, column] = (time.perf_counter() - start) * 1000
    counted = taken[1:] if len(taken) > 1 else taken
    return [float(ms) for ms in counted.mean(axis=0)]


def _texts(bench: Bench, found: Sequence[Ranked]) -> list[str]:
    return [bench.ground.texts[one.product_id] for one in found]


class _Fresh:
    """A reranker without the memory that `Scorers` puts around it, so that its scores cost what they cost."""

    def __init__(self, remembering: Reranker) -> None:
        self.fusion = remembering.fusion
        score: Callable[[str, Sequence[str]], FloatVector] = getattr(remembering, "reranker", remembering).score
        self.score = score
