"""Approximate search with exact answers on what was retrieved: FAISS proposes, the exact vectors decide.

How FAISS is asked is in `indexing.proposals`, what becomes of its answer in `indexing.refine`, and what a filter
changes in `indexing.filtered`.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from indexing import coded_scan, faiss_gpu, faiss_io, faiss_kinds, storage
from indexing.auto import choose_index
from indexing.checks import check_search, check_tie_rank
from indexing.config import AutoConfig, IndexConfig
from indexing.distinct import DistinctRows, number_vectors
from indexing.errors import ArtifactCorrupt, VectorError
from indexing.exact import ExactIndex
from indexing.faiss_kinds import Plan
from indexing.filter_plan import FilterPlan
from indexing.filtered import FilteredSearch
from indexing.forks import claim_threads
from indexing.huge_pages import use_huge_pages
from indexing.index_record import (
    INDEX_FILE,
    NUMBERS_FILE,
    RECORD_FILE,
    IndexRecord,
    read_record,
    verify_files,
    write_record,
)
from indexing.proposals import Proposer
from indexing.refine import SLACK, Refiner
from indexing.storage import FileDigest
from indexing.threads import keep_budget, set_budget
from indexing.types import BoolVector, FloatMatrix, IntVector, Neighbors, Vectors

_log = logging.getLogger(__name__)

_HELD_CHECKED = 256  # rows, evenly spread: rows in another order are seen for certain, and none is read twice


class FaissIndex:
    """A FAISS index over the distinct vectors, refined with the exact ones; implements `VectorIndex`.

    Made by `build_index` and `open_index`. Immutable; any number of threads may search it.
    """

    def __init__(
        self,
        index: Any,  # noqa: ANN401 - faiss has no types
        record: IndexRecord,
        distinct: DistinctRows,
        *,
        vectors: Vectors,
        tie_rank: IntVector | None,
        proposer: Proposer | None = None,
    ) -> None:
        """Take the parts; call `build_index` or `open_index` instead."""
        self._record = record
        matrix = faiss_kinds.held_vectors(index, record.plan)
        self._proposer = proposer or _proposer(index, record.plan, matrix)
        if matrix is None and distinct.is_plain:
            matrix = vectors.matrix
        self._refiner = Refiner(vectors, distinct, tie_rank, is_exact=self._proposer.plan.is_exact, matrix=matrix)
        self._most, self._factor = distinct.count, self._proposer.plan.refine_factor
        self._exact = ExactIndex(vectors, tie_rank=tie_rank)
        self._filtered = FilteredSearch(self._proposer, self._refiner, self._exact)

    @property
    def count(self) -> int:
        """Number of rows that can be found."""
        return self._record.count

    @property
    def dim(self) -> int:
        """Dimension of the vectors and of the queries."""
        return self._record.dim

    @property
    def record(self) -> IndexRecord:
        """How it was built."""
        return self._record

    def widened(self, factor: float) -> "FaissIndex":
        """Return the same index with a beam ``factor`` times as wide; itself when it is of a kind without a beam.

        For an index of which only one row in ``factor`` may be returned: the beam of a graph counts every vector it
        passes, and FAISS 1.15 does not widen it when more rows are asked for.
        """
        if self._record.plan.effort != "ef_search":
            return self
        return self._searching(faiss_kinds.widened(self._record.plan, factor))

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory: the FAISS index, and which rows hold which vector."""
        return self._proposer.size_bytes + self._refiner.distinct.size_bytes

    def tuned(self, **parameters: int | float) -> "FaissIndex":
        """Return the same index searched with other parameters; it shares everything with this one.

        Args:
            **parameters: ``ef_search`` of a graph, ``probes`` and ``refine_factor`` of inverted lists.

        Raises:
            ValueError: If the kind has no such parameter to search by, or a value is below 1.
        """
        return self._searching(faiss_kinds.tuned(self._record.plan, parameters))

    def filter_plan(self, eligible: int, *, k: int, queries: int = 1) -> FilterPlan:
        """Say how queries are answered under a filter that lets through so many rows, at least 1."""
        return self._filtered.plan(eligible, k=k, queries=queries)

    def search(self, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None) -> Neighbors:
        """Find ``k`` rows with the highest inner product for every query, by exact score among those retrieved.

        Where the kind retrieves fewer rows than asked for and than exist (few lists probed, a graph not fully
        connected), that query is answered by an exact scan: never a silently shorter list.

        Args:
            queries: float32 [q, d], finite, of any length.
            k: Rows wanted per query, at least 1; more than ``count`` leaves empty places.
            eligible: Rows that may be returned, bool [n]; `indexing.filter_plan` says how they are searched.

        Returns:
            Exactly ``k`` places per query, best first; empty places hold row -1 and score -inf. Equal scores are
            ordered by the tie rank.

        Raises:
            ValueError: If ``k`` is below 1 or ``eligible`` does not have one entry per row.
            VectorError: If the queries have the wrong shape or dtype or are not finite.
            ForkSafetyError: If this process was forked from one that has used native threads.
        """
        queries, length = check_search(queries, k, eligible, count=self._record.count, dim=self._record.dim)
        if eligible is not None:
            return self._filtered.search(queries, k, eligible)
        return self._unfiltered(queries, k, length)[0]

    def search_counting_scans(self, queries: FloatMatrix, k: int) -> tuple[Neighbors, int]:
        """Search as `search` does without a filter, and say how many queries an exact scan had to answer.

        A search so narrow that it finds fewer than ``k`` rows is completed by a scan, which is what it then costs.
        """
        queries, length = check_search(queries, k, None, count=self.count, dim=self.dim)
        return self._unfiltered(queries, k, length)

    def _unfiltered(self, queries: FloatMatrix, k: int, length: float) -> tuple[Neighbors, int]:
        """Return the answers, and the number of scans; the arguments were checked, ``length`` came of that."""
        claim_threads()
        keep_budget()
        fetch = min(self._most, math.ceil(k * self._factor) + SLACK)
        proposer = self._proposer.holding(k, count=self._most)
        first = proposer.ask(queries, fetch)
        found, left = self._refiner.quick(queries, *first, k=k, length=length)
        if not left:
            return found, 0
        short = self._refiner.settle(
            found,
            left,
            queries,
            proposer.ask,
            fetch=fetch,
            most=self._most,
            wanted=min(k, self.count),
            first=first,
        )
        for place in short:
            _log.debug("the index proposed too few of %d rows; the query is answered by an exact scan", k)
            answer = self._exact.search(queries[place : place + 1], k)
            found.scores[place], found.rows[place] = answer.scores[0], answer.rows[0]
        return found, len(short)

    def write(self, folder: Path) -> dict[str, FileDigest]:
        """Write ``faiss.index``, ``distinct.i64`` and ``index.json`` into a folder and return their digests.

        Raises:
            StorageFull, StorageError: If a file exists or cannot be written; that file is not left behind.
        """
        storage.make_folder(folder)
        numbers = self._refiner.distinct.numbers.astype("<i8", copy=False)
        digests = {
            INDEX_FILE: faiss_io.write(self._proposer.index, folder / INDEX_FILE),
            NUMBERS_FILE: storage.write_bytes(folder / NUMBERS_FILE, numbers),
        }
        return {**digests, RECORD_FILE: write_record(folder, self._record, digests)}

    @property
    def proposer(self) -> Proposer:
        """What proposes the vectors that are scored exactly."""
        return self._proposer

    @property
    def distinct_count(self) -> int:
        """Number of distinct vectors, which is what a proposer numbers."""
        return self._refiner.distinct.count

    def distinct_blocks(self) -> Iterator[FloatMatrix]:
        """Yield every distinct vector once, in the order of the numbers, float32 [<= u, d]."""
        return self._refiner.distinct.blocks(self._refiner.vectors)

    def proposed_by(self, proposer: Proposer) -> "FaissIndex":
        """Return the same index with another proposer over the same numbers; whatever it proposes is scored exactly."""
        return self._with(self._record, proposer)

    def _searching(self, plan: Plan) -> "FaissIndex":
        """Return the same index searched as ``plan`` says."""
        return self._with(replace(self._record, plan=plan), self._proposer.searching(plan))

    def _with(self, record: IndexRecord, proposer: Proposer) -> "FaissIndex":
        parts = self._refiner
        return FaissIndex(
            proposer.index, record, parts.distinct, vectors=parts.vectors, tie_rank=parts.tie_rank, proposer=proposer
        )


def _proposer(index: Any, plan: Plan, held: FloatMatrix | None) -> Proposer:  # noqa: ANN401 - faiss has no types
    if plan.kind == "flat" and held is not None and len(held) >= coded_scan.LEAST_ROWS:
        return coded_scan.CodedProposer.over(index, plan, held)
    return Proposer.of(index, plan)


def build_index(
    config: IndexConfig,
    vectors: Vectors,
    *,
    tie_rank: IntVector | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> FaissIndex:
    """Build an index over vectors of unit length.

    Args:
        config: What to build; ``auto`` is resolved by `choose_index` and logged with its reason.
        vectors: n >= 1 rows; read in blocks, once to number them and once to add them.
        tie_rank: Orders rows of equal score, lower first, int64 [n]; default: row.
        threads: Threads for FAISS, here and in later calls of this process; 0 for what it has. A graph built with 1 is
            the same byte for byte every time.
        device: ``cuda`` trains and fills inverted lists on the first CUDA device that FAISS sees; what comes of it lies
            on the CPU. Other kinds have nothing to gain there.

    Raises:
        EnvironmentProblem: ``cuda`` was asked for, and the installed FAISS has no such device.
        VectorError: If there are no vectors, or some cannot be indexed.
        ConfigError: If the kind cannot be built over so few vectors or this dimension.
        ForkSafetyError: If this process was forked from one that has used native threads.
        ValueError: If ``tie_rank`` does not have one entry per vector.
    """
    if vectors.count == 0:
        raise VectorError("expected at least one vector to index, got none; is the catalogue empty?")
    check_tie_rank(tie_rank, count=vectors.count)
    if isinstance(config, AutoConfig):
        choice = choose_index(config, count=vectors.count, dim=vectors.dim)
        _log.info("index=auto: %s", choice.reason)
        config = choice.config
    claim_threads()
    set_budget(threads)
    numbers, vectors_sha256 = number_vectors(vectors)
    distinct = DistinctRows.of(numbers, tie_rank=tie_rank)
    plan = faiss_kinds.plan(config, count=distinct.count, dim=vectors.dim)
    index = faiss_kinds.construct(plan, dim=vectors.dim)
    worker = faiss_gpu.trainer(index, plan.kind) if device == "cuda" else index
    chosen = faiss_kinds.training_rows(plan, count=distinct.count)
    if chosen is not None:
        worker.train(vectors.take(distinct.first_rows(chosen)))
    for block in distinct.blocks(vectors):
        worker.add(block)
    index = faiss_gpu.trained(worker)
    use_huge_pages(*faiss_kinds.graph_arrays(index, plan))
    record = IndexRecord(
        plan=plan,
        count=vectors.count,
        distinct=distinct.count,
        dim=vectors.dim,
        faiss=faiss_kinds.version(),
        threads=threads,
        vectors_sha256=vectors_sha256,
    )
    return FaissIndex(index, record, distinct, vectors=vectors, tie_rank=tie_rank)


def open_index(
    folder: Path, vectors: Vectors, *, tie_rank: IntVector | None = None, threads: int = 0, verify: bool = True
) -> FaissIndex:
    """Open an index that `FaissIndex.write` wrote.

    Args:
        folder: Where its files lie.
        vectors: The vectors it was built from, in the same order.
        tie_rank: As in `build_index`; need not be the one of the build.
        threads: Threads for FAISS, here and in later calls of this process; 0 for what it has.
        verify: Compare the digests of its files and of the vectors (about 1 s per GiB); only a caller that has just
            done so itself should pass ``False``, because FAISS accepts most damaged files.

    Raises:
        ArtifactNotFound: If a file is missing.
        ArtifactCorrupt: If a file or the vectors are not what ``index.json`` says.
        ArtifactIncompatible: If it was written in another format.
        ArtifactUntrusted: If the FAISS file is of a type that is never written here.
        ForkSafetyError: If this process was forked from one that has used native threads.
        ValueError: If ``tie_rank`` does not have one entry per vector.
    """
    check_tie_rank(tie_rank, count=vectors.count)
    record, files = read_record(folder)
    if (record.count, record.dim) != (vectors.count, vectors.dim):
        raise ArtifactCorrupt(
            f"{folder / RECORD_FILE} is about {record.count} vectors of dimension {record.dim}, "
            f"got {vectors.count} of {vectors.dim}; build the index again"
        )
    if record.distinct > record.count:
        raise ArtifactCorrupt(
            f"{folder / RECORD_FILE} counts {record.distinct} distinct vectors among {record.count}; build it again"
        )
    if verify:
        verify_files(folder, files, record, vectors)
    numbers = storage.map_array(folder / NUMBERS_FILE, "<i8", (record.count,))
    fits = numbers.min() >= 0 and numbers.max() < record.distinct
    if not fits or not np.bincount(numbers, minlength=record.distinct).all():
        raise ArtifactCorrupt(f"{folder / NUMBERS_FILE} does not number {record.distinct} vectors; build it again")
    claim_threads()
    set_budget(threads)
    index = faiss_io.read(folder / INDEX_FILE, record.plan, count=record.distinct, dim=record.dim)
    use_huge_pages(*faiss_kinds.graph_arrays(index, record.plan))
    _check_held(folder, faiss_kinds.held_vectors(index, record.plan), numbers, vectors)
    return FaissIndex(index, record, DistinctRows.of(numbers, tie_rank=tie_rank), vectors=vectors, tie_rank=tie_rank)


def _check_held(folder: Path, held: FloatMatrix | None, numbers: IntVector, vectors: Vectors) -> None:
    """Hold some of the vectors inside an index against those given: what it holds is scored in their place."""
    if held is None or not vectors.count:
        return
    rows = np.unique(np.linspace(0, vectors.count - 1, _HELD_CHECKED).astype(np.int64))
    differ = (held[numbers[rows]] != vectors.take(rows)).any(axis=1)
    if differ.any():
        raise ArtifactCorrupt(
            f"{folder / INDEX_FILE} holds another vector for row {rows[differ][0]} than the one given, and for "
            f"{np.count_nonzero(differ)} of {len(rows)} rows looked at; build the index again"
        )
