"""Rows of JSON Lines files and of JSON arrays; a line that does not parse is a bad row, not the end of the file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexing.errors import SourceDataError
from retrieval.readers.rows import RawRow, type_name

MAX_LINE_BYTES = 16 * 2**20
"""Longest line taken: a thousand times a long product; without it, a file without line ends would fill the memory."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def json_rows(path: Path) -> Iterator[RawRow]:
    """Stream the objects of a JSON Lines file; row numbers are line numbers, blank lines are passed over.

    Raises:
        SourceDataError: If the file cannot be read, or a line is over 16 MiB.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise SourceDataError(f"{path}: line {number} is over {MAX_LINE_BYTES} bytes; is this JSON Lines?")
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                if line.strip():
                    yield _line_row(path, number, line)
    except OSError as error:
        raise SourceDataError(f"{path} cannot be read: {error}") from error


def element_row(path: Path, number: int, element: object, *, escaped: bool) -> RawRow:
    """Return one parsed JSON value as a row.

    Args:
        path: Where it was found.
        number: Its number there, from 1.
        element: Anything JSON can hold.
        escaped: Whether the JSON text had escapes that can stand for half a surrogate pair.
    """
    if not isinstance(element, dict):
        return RawRow(path, number, {"json": element}, f"row: expected a JSON object, got {type_name(element)}")
    problem = "row: holds half a surrogate pair, which is no text" if escaped and not _is_text(element) else ""
    return RawRow(path, number, element, problem)


def may_hold_surrogates(text: str) -> bool:
    r"""Return whether JSON text has an escape such as ``\ud83d``; almost none has, so most rows need no second look."""
    return _SURROGATE_ESCAPE.search(text) is not None


def _line_row(path: Path, number: int, line: bytes) -> RawRow:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = line.decode("utf-8", "backslashreplace")
        return RawRow(path, number, {"line": shown}, f"row: not UTF-8 ({error.reason})")
    try:
        element = json.loads(text)
    except (ValueError, RecursionError):
        return RawRow(path, number, {"line": text}, "row: not JSON")
    return element_row(path, number, element, escaped=may_hold_surrogates(text))


def _is_text(element: dict[str, Any]) -> bool:
    """Return whether UTF-8 can write all of it, names and values."""
    try:
        json.dumps(element, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
