"""What every reader does alike: stream, check, settle, report; keep queries and judgments to the configured split."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import BATCH_ROWS, ProductBatch, ReadReport
from retrieval.config import CatalogConfig
from retrieval.readers.ledger import Ledger
from retrieval.readers.rows import CheckedRow, RawRow, RowContract
from retrieval.readers.vectors import VectorColumn
from retrieval.records import Judgment, Query
from retrieval.suggestions import did_you_mean, listed


class Reader(ABC):
    """A source folder in one layout; the layouts below say where things lie in it."""

    def __init__(self, config: CatalogConfig, source: Path) -> None:
        """Take a folder; nothing in it is read yet.

        Raises:
            SourceDataError: If there is no such folder.
        """
        if not source.is_dir():
            siblings = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
            raise SourceDataError(f"there is no source folder {source}{did_you_mean(source.name, siblings)}")
        self._base_config = config
        self.source = source
        self._report = ReadReport()

    @property
    def name(self) -> str:
        """Name for reports and manifests."""
        return self._base_config.name

    @property
    def report(self) -> ReadReport:
        """What became of the rows that the latest ``products()`` has read so far."""
        return self._report

    def files(self) -> list[Path]:
        """Return the source files that exist, products first, each once."""
        files = [*self.product_files(), *self.label_files()]
        return [path for path in dict.fromkeys(files) if path.is_file()]

    # --- what a layout says -------------------------------------------------------------------------------------------

    @abstractmethod
    def product_files(self) -> list[Path]:
        """Return the files of products in order; missing ones raise ``SourceDataError``."""

    @abstractmethod
    def label_files(self) -> list[Path]:
        """Return where queries, judgments and splits may lie."""

    @abstractmethod
    def contract(self) -> RowContract:
        """Return how a row becomes a product; what the files' headers can show to be wrong raises here."""

    @abstractmethod
    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the rows of all product files."""

    @abstractmethod
    def read_queries(self) -> list[Query]:
        """Return all queries."""

    @abstractmethod
    def read_judgments(self) -> list[Judgment]:
        """Return all judgments."""

    @abstractmethod
    def read_splits(self) -> dict[str, str]:
        """Return query_id -> split; empty when the source has none."""

    # --- products -----------------------------------------------------------------------------------------------------

    def products(self, *, quarantine: Path | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[ProductBatch]:
        """Stream the products; see `retrieval.catalog.Catalog.products`."""
        self._report = ReadReport()
        contract = self.contract()
        column = contract.columns.get("vector")
        vectors = VectorColumn(column) if column is not None else None
        rows = self.rows(batch_rows=batch_rows)
        on_bad_rows, id_column = self._base_config.on_bad_rows, contract.columns["product_id"]
        with Ledger(on_bad_rows, id_column=id_column, quarantine=quarantine) as ledger:
            while batch := [contract.check(raw) for raw in islice(rows, batch_rows)]:
                good = _settle(batch, vectors, ledger)
                matrix = vectors.unit([row.vector for row in good]) if vectors and good else None
                self._report = ledger.report(
                    rescaled_vectors=vectors.rescaled if vectors else 0, absent_columns=self.absent_columns()
                )
                if good:
                    yield ProductBatch(tuple(row.product for row in good if row.product), matrix)

    def absent_columns(self) -> frozenset[str]:
        """Return the configured columns that no row had so far; none where the header proves they exist."""
        return frozenset()

    # --- queries and judgments ----------------------------------------------------------------------------------------

    def queries(self) -> list[Query]:
        """Return the queries of the configured split, or all; see `retrieval.catalog.Catalog.queries`."""
        split = self._base_config.split
        if not split:
            return list(self._queries)
        self._require_split(split)
        return [query for query in self._queries if self._splits.get(query.query_id) == split]

    def judgments(self) -> list[Judgment]:
        """Return the judgments of those queries; see `retrieval.catalog.Catalog.judgments`."""
        kept = {query.query_id for query in self.queries()}
        return [judgment for judgment in self._judgments if judgment.query_id in kept]

    def splits(self) -> dict[str, str]:
        """Return query_id -> split over all queries."""
        return dict(self._splits)

    @cached_property
    def _queries(self) -> list[Query]:
        return self.read_queries()

    @cached_property
    def _judgments(self) -> list[Judgment]:
        return self.read_judgments()

    @cached_property
    def _splits(self) -> dict[str, str]:
        return self.read_splits()

    def _require_split(self, split: str) -> None:
        known = sorted(set(self._splits.values()))
        if not known:
            raise ConfigError(f"catalog.split is {split!r}, but {self.source} has no splits; leave catalog.split empty")
        if split not in known:
            hint = did_you_mean(split, known)
            raise ConfigError(f"catalog.split is {split!r}, but {self.source} has {', '.join(known)}{hint}")


def _settle(batch: list[CheckedRow], vectors: VectorColumn | None, ledger: Ledger) -> list[CheckedRow]:
    """Add what only the batch can show (vectors, duplicates) and return the good rows."""
    if vectors is not None:
        apart = [row for row in batch if not row.raw.problem]  # a row that could not be taken apart has no cells
        for row, problem in zip(apart, vectors.problems([row.vector for row in apart]), strict=True):
            row.problems.extend([problem] if problem else [])
    return ledger.settle(batch)


def matching_files(source: Path, pattern: str, *, what: str) -> list[Path]:
    """Return the files in ``source`` that a name or glob means, sorted by name.

    Raises:
        SourceDataError: If there is none; the message says what is there.
        ConfigError: If the pattern is empty or no glob.
    """
    if pattern and (source / pattern).is_file():
        return [source / pattern]  # a name may hold brackets, which a glob would read as its own
    try:
        found = sorted(path for path in source.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"expected the name or glob of {what} inside {source}, got {pattern!r}: {error}") from error
    if not found:
        there = sorted(path.name for path in source.iterdir())
        raise SourceDataError(f"{source} has no {what} {pattern} {listed(there)}{did_you_mean(pattern, there)}")
    return found
