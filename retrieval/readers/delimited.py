"""Rows of CSV and tab-separated files as text; a wrong number of cells makes a bad row, not the end of the file."""

import codecs
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.csv as pc

from indexing.errors import SourceDataError
from retrieval.readers.rows import RawRow

BLOCK_BYTES = 8 * 2**20
"""Bytes read at a time; also the longest row. Arrow's default of 1 MiB is short for a row with a long description."""

FIRST_ROW = 2
"""The header is row 1, as in a spreadsheet."""

DROPPED_S = 5.0
"""Seconds that Arrow's threads are given to let go of what they were lent; they need some microseconds."""

_OnBadCells: TypeAlias = Callable[[Any], str]


def delimited_header(path: Path, *, delimiter: str = ",") -> list[str]:
    """Return the column names in the first row.

    Raises:
        SourceDataError: If the file is empty or not of this format, or two columns have one name.
    """
    with _opened(path, delimiter=delimiter, names=[], on_bad_cells=lambda _: "skip") as batches:
        names = [_utf8(name) for name in batches.names]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise SourceDataError(f"{path} has several columns named {', '.join(twice)}; give each column its own name")
    if None in names:
        raise SourceDataError(f"{path}: a column name in row 1 is not UTF-8; save the file as UTF-8")
    return [str(name) for name in names]


def delimited_rows(path: Path, *, delimiter: str = ",") -> Iterator[RawRow]:
    """Stream the rows, every cell as text (so that leading zeros survive); empty cells are ``None``.

    Row numbers count the header as 1; blank lines are not counted, a cell with line breaks is part of one row.

    Raises:
        SourceDataError: If the file is not of this format or cannot be read to its end.
    """
    names = delimited_header(path, delimiter=delimiter)
    refused: deque[RawRow] = deque()

    def note(bad: Any) -> str:  # noqa: ANN401 - pyarrow has no types
        problem = f"row: expected {bad.expected_columns} cells, got {bad.actual_columns}"
        refused.append(RawRow(path, bad.number, {"line": _shown(bad.text)}, problem))
        return "skip"

    number = FIRST_ROW
    with _opened(path, delimiter=delimiter, names=names, on_bad_cells=note) as batches:
        for batch in batches:
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                # Arrow hands out the good rows alone; the numbers of the others say where they stood.
                while refused and refused[0].row == number:
                    yield refused.popleft()
                    number += 1
                yield _row(path, number, names, cells)
                number += 1
        yield from refused


class _Batches:
    """The record batches of a file, and their column names; lets go of Arrow's reader when it is closed."""

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        self.names: list[str] = reader.schema.names
        self._reader = reader

    def __iter__(self) -> Iterator[Any]:
        yield from self._reader

    def close(self) -> None:
        """End the reading."""
        self._reader.close()
        del self._reader


class _Lent:
    """Python objects in the hands of Arrow's threads, which drop them a little after a reader has ended.

    A thread that does so while the interpreter shuts down aborts the process (arrow issue 34314): a command that ends
    right after it read a small file would die with 134 in place of its exit code. So whoever lends waits.
    """

    def __init__(self, *lent: object) -> None:
        self._dropped = [Event() for _ in lent]
        self._watching = [
            weakref.ref(each, lambda _, dropped=dropped: dropped.set())  # type: ignore[misc]
            for each, dropped in zip(lent, self._dropped, strict=True)
        ]

    def wait(self) -> None:
        """Wait until all are gone; the caller holds none of them any longer."""
        for dropped in self._dropped:
            dropped.wait(DROPPED_S)


@contextmanager
def _opened(path: Path, *, delimiter: str, names: list[str], on_bad_cells: _OnBadCells) -> Iterator[_Batches]:
    """Open a stream of record batches; what pyarrow raises then or later becomes a ``SourceDataError``."""
    try:
        file, handler = path.open("rb"), partial(on_bad_cells)
        lent = _Lent(file, handler)
        try:
            with file:
                _skip_byte_order_mark(path, file)
                batches = _Batches(pc.open_csv(file, **_options(delimiter, names, handler)))
                try:
                    yield batches
                finally:
                    batches.close()
        finally:
            del file, handler
            lent.wait()
    except (pa.ArrowException, OSError) as error:
        expected = "expected a header and rows in UTF-8, none longer than 8 MiB"
        raise SourceDataError(f"{path} cannot be read as delimited text: {error}; {expected}") from error


def _options(delimiter: str, names: list[str], on_bad_cells: _OnBadCells) -> dict[str, Any]:
    # Latin-1 gives every byte a character, so that one cell that is not UTF-8 does not fail its whole block (and, in a
    # row with a wrong number of cells, the whole file); each cell is then read as UTF-8 on its own.
    return {
        # Row numbers of bad rows are known only to a single thread.
        "read_options": pc.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, encoding="latin-1"),
        "parse_options": pc.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=on_bad_cells
        ),
        "convert_options": pc.ConvertOptions(
            column_types={name.encode().decode("latin-1"): pa.string() for name in names}
        ),
    }


def _skip_byte_order_mark(path: Path, file: BinaryIO) -> None:
    head = file.read(len(codecs.BOM_UTF8))
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceDataError(f"{path} is UTF-16; save the file as UTF-8")
    if head != codecs.BOM_UTF8:
        file.seek(0)


def _row(path: Path, number: int, names: list[str], cells: tuple[str, ...]) -> RawRow:
    texts = [cell if cell.isascii() else _utf8(cell) for cell in cells]
    if None not in texts:
        return RawRow(path, number, {name: text or None for name, text in zip(names, texts, strict=True)})
    wrong = ", ".join(name for name, text in zip(names, texts, strict=True) if text is None)
    values = {name: _shown(cell) for name, cell in zip(names, cells, strict=True)}
    return RawRow(path, number, values, f"{wrong}: not UTF-8")


def _utf8(latin: str) -> str | None:
    """Return the text whose UTF-8 bytes ``latin`` spells as Latin-1, or ``None`` when they are not UTF-8."""
    try:
        return latin.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None


def _shown(latin: str) -> str:
    return latin.encode("latin-1").decode("utf-8", "backslashreplace")
