"""The Chorus electronics shop: zip archives of JSON arrays with thousands of sparse attribute columns, and judgments.

Source: github.com/querqy/chorus (Apache-2.0); product texts from the Open Icecat catalogue (Open Content License).
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from indexing.errors import SourceDataError
from retrieval.config import IcecatCatalog
from retrieval.readers.base import Reader, matching_files
from retrieval.readers.jsonl import element_row, may_hold_surrogates
from retrieval.readers.labels import read_judgment_file
from retrieval.readers.rows import RawRow, RowContract, Values, attribute_texts, no_facts, plain_scalar, type_name
from retrieval.records import Judgment, Query, Scalar

COLUMNS = {
    "product_id": "id",
    "title": "title",
    "description": "short_description",
    "brand": "supplier",
    "price": "price",
}
CENTS = 100.0
"""Prices in the archives are whole cents: 4995 is 49.95."""

ATTRIBUTE_PREFIXES = ("attr_t_", "attr_n_", "attr_b_")
"""Text, numbers and true/false."""

MAX_ARRAY_BYTES = 2**30
"""Unpacked size from which an archive is refused: the public ones hold 8 MB, and an array is parsed as a whole."""

UnreadableArchive = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)
"""What zipfile raises on a file that is no zip, is cut short, fails its checksum, is encrypted or packed otherwise."""


class IcecatReader(Reader):
    """Reads ``IcecatCatalog`` sources, one archive at a time."""

    def __init__(self, config: IcecatCatalog, source: Path) -> None:
        """Take a folder; see `Reader`."""
        super().__init__(config, source)
        self.config = config

    def product_files(self) -> list[Path]:
        """Return the archives in the order of their names."""
        return matching_files(self.source, self.config.products, what="archives")

    def label_files(self) -> list[Path]:
        """Return where the judgments may lie; queries come from them, and there are no splits."""
        return [self.source / self.config.judgments] if self.config.judgments else []

    def contract(self) -> RowContract:
        """Return how an object of the arrays becomes a product."""
        attributes = _attributes if self.config.attributes else no_facts
        return RowContract(columns=COLUMNS, attributes=attributes, extra=_extra, price_divisor=CENTS)

    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the objects of all archives; ``batch_rows`` makes no difference, an array is parsed as a whole."""
        for path in self.product_files():
            numbers = count(1)
            for array in _arrays(path):
                escaped = may_hold_surrogates(array)
                for element in _elements(path, array):
                    yield element_row(path, next(numbers), element, escaped=escaped)

    def read_queries(self) -> list[Query]:
        """Return the queries of the judgments, with ids made from their texts."""
        return self._judged[0]

    def read_judgments(self) -> list[Judgment]:
        """Return all judgments."""
        return self._judged[1]

    def read_splits(self) -> dict[str, str]:
        """Return no splits: 90 queries are too few to part."""
        return {}

    @cached_property
    def _judged(self) -> tuple[list[Query], list[Judgment]]:
        path = self.source / self.config.judgments
        return read_judgment_file(path, []) if self.config.judgments and path.is_file() else ([], [])


def _arrays(path: Path) -> Iterator[str]:
    """Yield the text of every member of an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                if member.file_size > MAX_ARRAY_BYTES:
                    unpacked = f"{member.file_size} bytes unpacked"
                    raise SourceDataError(f"{path}: {member.filename} has {unpacked}, more than {MAX_ARRAY_BYTES}")
                yield archive.read(member).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceDataError(f"{path} holds text that is not UTF-8: {error}") from error
    except UnreadableArchive as error:
        raise SourceDataError(f"{path} cannot be read as a zip archive: {error}; fetch it again") from error


def _elements(path: Path, array: str) -> list[Any]:
    try:
        elements = json.loads(array)
    except (ValueError, RecursionError) as error:
        raise SourceDataError(f"{path} does not hold JSON: {error}; fetch it again") from error
    if not isinstance(elements, list):
        raise SourceDataError(f"{path}: expected a JSON array of products, got {type_name(elements)}")
    return elements


def _attributes(values: Values) -> dict[str, str]:
    facts: dict[str, Any] = {}
    for column, value in values.items():
        if column.startswith(ATTRIBUTE_PREFIXES):
            # Where one name has a text and a number, the text comes first and says more.
            facts.setdefault(column[len(ATTRIBUTE_PREFIXES[0]) :], value)
    return attribute_texts(facts)


def _extra(values: Values) -> dict[str, Scalar]:
    codes = values.get("ean") or []
    return {
        "name": plain_scalar("name", values.get("name")),
        "ean": ", ".join(map(str, codes)) if isinstance(codes, list) else plain_scalar("ean", codes),
        "date_released": plain_scalar("date_released", values.get("date_released")),
        "image": plain_scalar("img_500x500", values.get("img_500x500")),
    }
