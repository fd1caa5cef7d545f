"""The account of every row: accepted, or set aside with its problem; and the words in which bad rows are reported."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from indexing.errors import SourceDataError
from indexing.keys import KEY_BYTES, KeySet, key_array
from indexing.storage import FileWriter, writer
from retrieval.catalog import BadRow, ReadReport
from retrieval.config import BadRows
from retrieval.readers.rows import DUPLICATE, CheckedRow

EXAMPLES = 20
"""Bad rows kept in the report; the rest are in the quarantine file."""

LEVELS_KEPT = 32
"""Lists and objects within each other that the quarantine file keeps; what is deeper may not fit on Python's stack."""

ROWS_SHOWN = 10
"""Row numbers shown per problem in a message: enough to go and look."""

PROBLEMS_SHOWN = 10
"""Problems shown per file in a message; the most frequent come first."""


class Ledger:
    """Settles batch after batch; ``rows == accepted + quarantined`` after each."""

    def __init__(self, on_bad_rows: BadRows, *, id_column: str, quarantine: Path | None) -> None:
        self._id_column = id_column
        self._on_bad_rows = on_bad_rows
        self._quarantine = quarantine
        self._stack = ExitStack()
        self._file: FileWriter | None = None
        self._seen = KeySet()  # a digest of each product_id, 16 MB a million
        self._problems: Counter[str] = Counter()
        self._examples: list[BadRow] = []
        self._accepted = 0
        self._quarantined = 0

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - the protocol's own
        self._stack.__exit__(*error)

    def settle(self, rows: Sequence[CheckedRow]) -> list[CheckedRow]:
        """Account for a batch and return its good rows in order.

        Raises:
            SourceDataError: If a row is bad and bad rows are to fail; then none of the batch is counted.
            StorageError: If the quarantine file exists already or cannot be written.
        """
        self._mark_duplicates(rows)
        bad = [row for row in rows if row.problems]
        if bad and self._on_bad_rows is BadRows.fail:
            raise_bad_rows(rows, bad)
        for row in bad:
            self._set_aside(row)
        self._accepted += len(rows) - len(bad)
        return [row for row in rows if not row.problems]

    def report(self, *, rescaled_vectors: int = 0, absent_columns: Iterable[str] = ()) -> ReadReport:
        """Return the account so far."""
        return ReadReport(
            rows=self._accepted + self._quarantined,
            accepted=self._accepted,
            quarantined=self._quarantined,
            problems=dict(sorted(self._problems.items())),
            examples=tuple(self._examples),
            rescaled_vectors=rescaled_vectors,
            absent_columns=tuple(sorted(absent_columns)),
        )

    def _mark_duplicates(self, rows: Sequence[CheckedRow]) -> None:
        """Add the problem to every row whose product_id an accepted row had before it; the first one stays."""
        sound = [(row, row.product.product_id) for row in rows if row.product is not None and not row.problems]
        new = self._seen.add(key_array([_key(product_id) for _, product_id in sound]))
        for (row, _), is_new in zip(sound, new, strict=True):
            if not is_new:
                row.problems.append(f"{self._id_column}: {DUPLICATE}")

    def _set_aside(self, row: CheckedRow) -> None:
        self._quarantined += 1
        self._problems.update(row.problems)
        if len(self._examples) < EXAMPLES:
            self._examples.append(BadRow(str(row.raw.file), row.raw.row, tuple(row.problems)))
        if self._quarantine is None:
            return
        if self._file is None:
            self._file = self._stack.enter_context(writer(self._quarantine))
        self._file.write(_quarantined_line(row))


def _key(product_id: str) -> bytes:
    return hashlib.blake2b(product_id.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def raise_bad_rows(rows: Sequence[CheckedRow], bad: Sequence[CheckedRow]) -> NoReturn:
    """Raise for the bad rows of a batch: per file and problem how many, the first row numbers, the first product_ids.

    Raises:
        SourceDataError: Always.
    """
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in bad:
        for problem in row.problems:
            found[str(row.raw.file)][problem].append(row.raw.row)
    named = [repr(row.product_id) for row in bad if row.product_id.strip()]
    names = f"  of the products {', '.join(named[:ROWS_SHOWN])}{', ...' * (len(named) > ROWS_SHOWN)}\n" if named else ""
    first, last = rows[0].raw, rows[-1].raw
    batch = f"row {first.row} of {first.file.name} to row {last.row} of {last.file.name}"
    raise SourceDataError(
        f"{len(bad)} of {len(rows)} rows cannot become products (the first batch with one, {batch}):\n"
        f"{problem_table(found)}\n{names}"
        f"Correct them, or set catalog.on_bad_rows=quarantine to set such rows aside."
    )


def problem_table(found: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Return ``file -> problem -> rows`` as lines, the most frequent problem of a file first."""
    return "\n".join(_problem_lines(found))


def _problem_lines(found: Mapping[str, Mapping[str, Sequence[int]]]) -> Iterator[str]:
    for file, problems in found.items():
        yield f"  {file}"
        by_count = sorted(problems.items(), key=lambda entry: (-len(entry[1]), entry[1][0], entry[0]))
        for problem, rows in by_count[:PROBLEMS_SHOWN]:
            shown = ", ".join(map(str, rows[:ROWS_SHOWN])) + (", ..." if len(rows) > ROWS_SHOWN else "")
            yield f"    {problem} ({len(rows)} {'row' if len(rows) == 1 else 'rows'}: {shown})"
        if len(by_count) > PROBLEMS_SHOWN:
            yield f"    and {len(by_count) - PROBLEMS_SHOWN} more problems"


def _quarantined_line(row: CheckedRow) -> bytes:
    record = {
        "file": str(row.raw.file),
        "row": row.raw.row,
        "product_id": row.product_id,
        "problem": "; ".join(row.problems),
        "values": _plain(row.raw.values),
    }
    # ASCII, because a cell may hold half a surrogate pair, which UTF-8 cannot.
    return (json.dumps(record, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _plain(value: Any, *, level: int = 0) -> Any:  # noqa: ANN401 - whatever a cell holds
    """Return a value that strict JSON can write, as near to the original as it allows."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping() | list() | tuple() if level == LEVELS_KEPT:
            return "(nested too deeply to be kept)"
        case Mapping():
            return {str(name): _plain(entry, level=level + 1) for name, entry in value.items()}
        case list() | tuple():
            return [_plain(entry, level=level + 1) for entry in value]
    return _plain(value.tolist(), level=level) if hasattr(value, "tolist") else str(value)
