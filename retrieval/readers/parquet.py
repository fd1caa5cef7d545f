"""Rows of Parquet files, batch by batch, with page checksums verified and every batch validated."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexing.errors import SourceDataError
from indexing.types import IntVector
from retrieval.readers.rows import TEXT_FIELDS, RawRow

UnreadableFile = (pa.ArrowException, OSError)
"""What pyarrow raises on a file that is no Parquet, is cut short, or fails a checksum."""


def parquet_schema(path: Path) -> pa.Schema:
    """Return the Arrow schema of a Parquet file.

    Raises:
        SourceDataError: If the file is not Parquet, or two columns have one name.
    """
    with _explained(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise SourceDataError(
            f"{path} has several columns named {', '.join(twice)}; give each column a name of its own"
        )
    return schema


def check_types(path: Path, columns: Mapping[str, str]) -> None:
    """Refuse columns whose type no row can make right.

    Args:
        path: A Parquet file.
        columns: Product field -> column; columns that the file lacks are passed over.

    Raises:
        SourceDataError: Naming file, column, the type found and the one expected, and how many rows it concerns.
    """
    schema = parquet_schema(path)
    wrong = [
        f"  {column}: expected {expected}, got {schema.field(column).type}{hint}"
        for name, column in columns.items()
        if column in schema.names
        for expected, hint in _type_problem(name, schema.field(column).type)
    ]
    if wrong:
        with _explained(path), pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
        raise SourceDataError(f"{path}: wrong column types, in all {rows} rows:\n" + "\n".join(wrong))


def parquet_rows(
    path: Path,
    columns: Collection[str],
    *,
    batch_rows: int,
    vector: str | None = None,
    where: Mapping[str, str | int] | None = None,
    salvage: bool = False,
) -> Iterator[RawRow]:
    """Stream the rows of a Parquet file.

    Args:
        path: The file.
        columns: Columns to read; those that the file lacks are passed over.
        batch_rows: Rows held at a time.
        vector: The one of the columns that holds vectors; its cells come as arrays [d], nulls as ``None``.
        where: Column -> value, of the columns read: other rows are passed over, and keep their numbers.
        salvage: Where a row group cannot be read to its end, each row that is lost comes without cells, with the reason
            as its problem, and reading goes on with the next row group.

    Raises:
        SourceDataError: If the file has no readable footer or, without ``salvage``, cannot be read to its end.
    """
    for part in _parts(path, columns, batch_rows=batch_rows):
        if isinstance(part, _Lost):
            if not salvage:
                raise part.error(path)
            yield from (RawRow(path, part.first + place, {}, problem=part.problem) for place in range(part.count))
            continue
        first, batch = part
        places = _places(batch, where or {})
        chosen = batch if len(places) == batch.num_rows else batch.take(places)
        names = chosen.schema.names
        cells = [_vectors(chosen.column(name)) if name == vector else _values(chosen.column(name)) for name in names]
        for place, values in zip(places, zip(*cells, strict=True), strict=True):
            yield RawRow(path, first + int(place), dict(zip(names, values, strict=True)))


def parquet_batches(path: Path, columns: Collection[str], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Stream validated record batches.

    Raises:
        SourceDataError: If the file cannot be read to its end.
    """
    for part in _parts(path, columns, batch_rows=batch_rows):
        if isinstance(part, _Lost):
            raise part.error(path)
        yield part[1]


@dataclass(frozen=True, slots=True)
class _Lost:
    """Rows of a row group that cannot be read; ``first`` counts from 1 in the file."""

    group: int
    groups: int
    first: int
    count: int
    reason: str

    @property
    def problem(self) -> str:
        return f"row group {self.group + 1} of {self.groups} cannot be read as Parquet: {self.reason}"

    def error(self, path: Path) -> SourceDataError:
        rows = f"rows {self.first} to {self.first + self.count - 1}"
        return SourceDataError(
            f"{path}: {self.problem} ({rows}); write or copy the file again, or set catalog.on_bad_rows=quarantine to "
            "set such rows aside"
        )


def _parts(path: Path, columns: Collection[str], *, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch] | _Lost]:
    """Yield validated batches with the number of their first row, and what of a row group is lost.

    ``ParquetFile.iter_batches`` keeps one batch in memory where ``Dataset.to_batches`` keeps adding to it (arrow issue
    39808), and Arrow takes data for valid unless it is asked to look (its security page, 2026).
    """
    first = 1
    with _explained(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        present = [name for name in file.schema_arrow.names if name in columns]
        groups = file.metadata.num_row_groups
        for group in range(groups):
            end = first + file.metadata.row_group(group).num_rows
            batches = file.iter_batches(batch_size=batch_rows, row_groups=[group], columns=present)
            while first < end:
                try:
                    batch = next(batches)
                    batch.validate(full=True)
                except (*UnreadableFile, StopIteration) as error:
                    yield _Lost(group, groups, first, end - first, str(error) or "it ends early")
                    break
                yield first, batch
                first += batch.num_rows
            first = end


def is_scalar(kind: pa.DataType) -> bool:
    """Return whether a column of this type can be kept: text, numbers, true/false, dates and times."""
    if pa.types.is_dictionary(kind):
        return is_scalar(kind.value_type)
    tests = (_is_text, _is_number, pa.types.is_boolean, pa.types.is_temporal, pa.types.is_null)
    return any(test(kind) for test in tests)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableFile as error:
        raise SourceDataError(f"{path} cannot be read as Parquet: {error}; write or copy it again") from error


def _places(batch: pa.RecordBatch, where: Mapping[str, str | int]) -> IntVector:
    """Return the places in a batch, from 0, of the rows where every column has its value; null is no value."""
    chosen = np.ones(batch.num_rows, dtype=np.bool_)
    for name, value in where.items():
        column = batch.column(name)
        decoded = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        chosen &= np.asarray(pc.fill_null(pc.equal(decoded, value), False))
    return np.flatnonzero(chosen)


def _values(column: pa.Array) -> list[Any]:
    """Return the cells as Python values; dates and times as ISO text, because nanoseconds have no Python type."""
    if pa.types.is_temporal(column.type):
        column = pc.cast(column, pa.string())
    cells: list[Any] = column.to_pylist()
    return cells


def _vectors(column: pa.Array) -> Sequence[Any]:
    """Return every cell as an array [d] without making Python floats; a null number inside becomes NaN."""
    valid = np.asarray(column.is_valid())
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), dtype=np.int64)
    numbers = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
    ends = np.cumsum(lengths)
    return [
        numbers[end - length : end] if present else None
        for end, length, present in zip(ends, lengths, valid, strict=True)
    ]


def _type_problem(name: str, kind: pa.DataType) -> Iterator[tuple[str, str]]:
    """Yield what the field ``name`` expects and a hint, when ``kind`` is not it."""
    if pa.types.is_null(kind):
        return
    if name in TEXT_FIELDS and not _is_text(kind):
        yield "text", "; write ids as text, or leading zeros are lost" if name == "product_id" else ""
    if name == "price" and not _is_number(kind):
        yield "a number", ""
    if name == "vector" and not (_is_list(kind) and pa.types.is_floating(kind.value_type)):
        yield "a list of float or half float", ""
    if name == "attributes" and not (_is_text(kind) or pa.types.is_map(kind) or pa.types.is_struct(kind)):
        yield "a map, a struct, or a JSON object as text", ""


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
