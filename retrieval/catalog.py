"""What a catalogue is to the rest: products in batches, queries, judgments, splits, and an account of every row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from indexing.types import FloatMatrix
from retrieval.config import BeirCatalog, CatalogConfig, EsciCatalog, IcecatCatalog, TabularCatalog, WandsCatalog
from retrieval.records import Judgment, Product, Query

BATCH_ROWS = 4096
"""Rows a reader holds at a time: a few MB of products, and enough of them to keep an encoder's batches full."""


@dataclass(frozen=True, slots=True)
class ProductBatch:
    """Some products in the order of the files.

    Attributes:
        products: Never empty.
        vectors: float32 [n, d], unit length, aligned with ``products``; ``None`` when the catalogue brings no vectors.
    """

    products: tuple[Product, ...]
    vectors: FloatMatrix | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that breaks the contract.

    Attributes:
        file: Path of the source file.
        row: Its number there, from 1: the row of a Parquet file, the line of a JSONL file, the row of a CSV file as a
            spreadsheet counts it (the header is row 1), the element of a JSON array.
        problems: What is wrong with it, each as ``column: what``.
    """

    file: str
    row: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What became of the rows read so far; ``rows == accepted + quarantined`` always.

    Attributes:
        rows: Rows read and accounted for.
        accepted: Rows that became products.
        quarantined: Rows set aside.
        problems: ``column: what`` -> rows that have it; a row with two problems counts under both.
        examples: The first quarantined rows.
        rescaled_vectors: Vectors that were not of unit length and were scaled to it.
        absent_columns: Configured columns that no row had (JSONL, where rows need not have the same fields).
    """

    rows: int = 0
    accepted: int = 0
    quarantined: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[BadRow, ...] = ()
    rescaled_vectors: int = 0
    absent_columns: tuple[str, ...] = ()


class Catalog(Protocol):
    """A source folder, read through one of the layouts."""

    @property
    def name(self) -> str:
        """Name for reports and manifests."""

    @property
    def report(self) -> ReadReport:
        """What became of the rows that the latest ``products()`` has read so far."""

    def files(self) -> list[Path]:
        """Return the source files that exist, products first, each once."""

    def products(self, *, quarantine: Path | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[ProductBatch]:
        """Stream the products in the order of the files; every call starts anew, with a new report.

        Args:
            quarantine: With ``on_bad_rows=quarantine``, a new JSON Lines file for the rows set aside (file, row,
                problem, values); written only when there are any. ``None`` counts them without writing.
            batch_rows: Source rows read at a time; a batch may hold fewer products.

        Raises:
            SourceDataError: If a file is missing, unreadable or lacks a required column, or, with ``on_bad_rows=fail``,
                at the first batch with a bad row; the message names file, column and rows, with counts.
        """

    def queries(self) -> list[Query]:
        """Return the queries of the configured split (all when none is set); none when there is no file of them.

        Raises:
            SourceDataError: If the file breaks its contract.
            ConfigError: If a split is configured that the source does not have.
        """

    def judgments(self) -> list[Judgment]:
        """Return the judgments of those queries; none when there is no file of them.

        Raises:
            SourceDataError: On an unknown query, a grade that is no whole number, or one pair with two grades.
        """

    def splits(self) -> dict[str, str]:
        """Return query_id -> split over all queries; empty when the source has no splits."""


def open_catalog(config: CatalogConfig, source: str | Path) -> Catalog:
    """Return the reader for ``config`` over the folder ``source``; nothing is read but the folder's listing.

    Raises:
        SourceDataError: If ``source`` is no folder.
        TypeError: If ``config`` is of a kind without a reader.
    """
    # Imported here: pyarrow costs 0.1 s, which the types above need not pay.
    folder = Path(source)
    match config:
        case TabularCatalog():
            from retrieval.readers.tabular import TabularReader

            return TabularReader(config, folder)
        case IcecatCatalog():
            from retrieval.readers.icecat import IcecatReader

            return IcecatReader(config, folder)
        case WandsCatalog():
            from retrieval.readers.wands import WandsReader

            return WandsReader(config, folder)
        case EsciCatalog():
            from retrieval.readers.esci import EsciReader

            return EsciReader(config, folder)
        case BeirCatalog():
            from retrieval.readers.beir import BeirReader

            return BeirReader(config, folder)
    raise TypeError(f"no reader for a catalogue of type {type(config).__name__}")


def read_judgments_csv(path: str | Path, queries: Sequence[Query]) -> tuple[list[Query], list[Judgment]]:
    """Read judgments from a file of their own, to evaluate a catalogue against other grades than its own.

    Args:
        path: CSV with ``query,product_id,grade``, where ``query`` is the text, or with ``query_id,product_id,grade``.
        queries: The queries of the catalogue. A text among them keeps its query_id, another gets one made from it.

    Returns:
        The queries that the file judges, in its order, and its judgments.

    Raises:
        SourceDataError: On a missing column, an unknown query_id, a grade that is no whole number, or one pair with two
            grades; the message names file and rows.
    """
    from retrieval.readers.labels import read_judgment_file

    return read_judgment_file(Path(path), queries)
