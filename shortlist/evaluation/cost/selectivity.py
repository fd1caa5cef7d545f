"""Search under filters, from all products down to a handful: what is found, what must not be, and how long it takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexing.exact import ExactIndex
from indexing.recall import recall_at
from indexing.types import BoolVector, FloatMatrix, IntVector, Neighbors, Vectors
from indexing.vectors import ArrayVectors
from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost.indexes import MeasuredIndex, one_by_one
from shortlist.evaluation.cost.noise import Judge
from shortlist.evaluation.cost.records import FilteredPoint, Skipped
from shortlist.evaluation.cost.turns import Task, Timed


@dataclass(frozen=True, slots=True)
class Filter:
    """Which products may be returned.

    Attributes:
        kind: ``random``, or the column whose value the products share.
        label: In words.
        eligible: bool [n].
    """

    kind: str
    label: str
    eligible: BoolVector

    @property
    def rows(self) -> int:
        """Number of eligible products."""
        return int(np.count_nonzero(self.eligible))


def random_filters(config: CostSweepConfig, count: int) -> list[Filter]:
    """Draw the products that each share and each number leaves, out of ``count``; equal numbers come once."""
    wanted = {max(1, round(share * count)): f"{share:g} of all" for share in config.filter_shares}
    wanted |= {min(rows, count): f"{min(rows, count)} products" for rows in config.filter_rows}
    generator = np.random.default_rng(config.seed)
    filters = []
    for rows, label in sorted(wanted.items(), reverse=True):
        eligible = np.zeros(count, dtype=np.bool_)
        eligible[generator.choice(count, size=rows, replace=False)] = True
        filters.append(Filter("random", label, eligible))
    return filters


def shared_filters(
    config: CostSweepConfig, column: str, values: Sequence[str | None]
) -> tuple[list[Filter], list[Skipped]]:
    """Choose for each share below 1 the value that comes nearest to it by ratio, none twice.

    Products of one category lie together in the space of the vectors, which is where an index that drops what a filter
    forbids loses most: a query of another category finds none of its neighbours eligible.

    Args:
        config: Shares.
        column: Name of the column.
        values: Of every product; ``None`` or empty for none.
    """
    names, counts = np.unique([value for value in values if value], return_counts=True)
    left = dict(zip(names.tolist(), counts.tolist(), strict=True))
    filters, skipped = [], []
    for share in sorted((share for share in config.filter_shares if share < 1), reverse=True):
        if not left:
            skipped.append(Skipped(f"filter by {column} leaving {share:g}", f"the products have no further {column}"))
            continue
        nearest = min(left, key=lambda value: (abs(log(left[value] / (share * len(values)))), value))
        del left[nearest]
        eligible = np.array([value == nearest for value in values], dtype=np.bool_)
        filters.append(Filter(column, f"{column} = {nearest}", eligible))
    return filters, skipped


def shared_column(path: Path, columns: Sequence[str]) -> tuple[str, list[str | None]] | None:
    """Return the first of ``columns`` of a products file that holds texts, and its values; ``None`` when none does."""
    with pq.ParquetFile(path) as file:
        for column in columns:
            if column in file.schema_arrow.names and pa.types.is_string(file.schema_arrow.field(column).type):
                values = file.read(columns=[column])[column].to_pylist()
                if any(values):
                    return column, values
    return None


def exact_among(
    vectors: Vectors, queries: FloatMatrix, k: int, eligible: BoolVector, *, tie_rank: IntVector
) -> Neighbors:
    """Return the exact answer over a catalogue that holds the eligible products alone, with its rows in the whole one.

    This is what a filter promises, reached without one: it shares nothing with the way indexes apply theirs.
    """
    if eligible.all():
        return ExactIndex(vectors, tie_rank=tie_rank).search(queries, k)
    rows = np.flatnonzero(eligible)
    alone = ExactIndex(ArrayVectors(vectors.take(rows)), tie_rank=tie_rank[rows])
    found = alone.search(queries, k)
    return Neighbors(scores=found.scores, rows=np.where(found.rows >= 0, rows[found.rows], -1))


@dataclass(frozen=True, slots=True)
class FilterTask:
    """One index under one filter, what it answered, and how to time it."""

    measured: MeasuredIndex
    filter: Filter
    queries: int
    recall: float
    violations: int
    short: int
    task: Task


def filter_tasks(
    config: CostSweepConfig,
    indexes: Sequence[MeasuredIndex],
    filters: Iterable[Filter],
    vectors: Vectors,
    queries: FloatMatrix,
    tie_rank: IntVector,
) -> list[FilterTask]:
    """Ask every index every query under every filter, once, and check the answers.

    Args:
        config: The cut-off.
        indexes: What is searched.
        filters: Under these.
        vectors: What the indexes hold.
        queries: float32 [q, d].
        tie_rank: Orders equal scores, int64 [n].
    """
    k = min(config.filter_k, vectors.count)
    found = []
    for kept in filters:
        exact = exact_among(vectors, queries, k, kept.eligible, tie_rank=tie_rank)
        for measured in indexes:
            answers = measured.index.search(queries, k, eligible=kept.eligible)
            found.append(
                FilterTask(
                    measured,
                    kept,
                    queries=len(queries),
                    recall=recall_at(k, allowed(answers, kept.eligible), exact),
                    violations=violations(answers, kept.eligible),
                    short=short(answers, min(k, kept.rows)),
                    task=Task(
                        f"{measured.kind} {kept.kind} {kept.label}",
                        one_by_one(measured.index, queries, k, eligible=kept.eligible),
                    ),
                )
            )
    return found


def allowed(answers: Neighbors, eligible: BoolVector) -> Neighbors:
    """Return the answers without what the filter forbids, which recall, counted by score, would take for found."""
    keep = (answers.rows >= 0) & eligible[answers.rows]
    return Neighbors(
        scores=np.where(keep, answers.scores, -np.inf).astype(np.float32), rows=np.where(keep, answers.rows, -1)
    )


def violations(answers: Neighbors, eligible: BoolVector) -> int:
    """Return how many rows were returned that the filter forbids, over all queries."""
    rows = answers.rows[answers.rows >= 0]
    return int(np.count_nonzero(~eligible[rows]))


def short(answers: Neighbors, possible: int) -> int:
    """Return how many answers have fewer different rows than were possible."""
    return sum(len(np.unique(rows[rows >= 0])) < possible for rows in answers.rows)


def filtered_points(
    tasks: Sequence[FilterTask], timed: Mapping[str, Timed], judge: Judge, *, k: int
) -> tuple[FilteredPoint, ...]:
    """Put what was measured together, in the order of the tasks."""
    return tuple(
        FilteredPoint(
            kind=found.measured.kind,
            own=found.measured.own,
            filter=found.filter.kind,
            label=found.filter.label,
            eligible=found.filter.rows,
            share=found.filter.rows / len(found.filter.eligible),
            k=min(k, len(found.filter.eligible)),
            queries=found.queries,
            recall=found.recall,
            violations=found.violations,
            short=found.short,
            latency=judge.latency(timed[found.task.name]),
        )
        for found in tasks
    )
