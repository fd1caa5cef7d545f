"""Anybody's own files: products as Parquet, JSON Lines or CSV with a field map; queries, judgments, splits as CSV."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from indexing.errors import ConfigError, SourceDataError
from retrieval.config import BadRows, FileFormat, TabularCatalog
from retrieval.readers.base import Reader, matching_files
from retrieval.readers.delimited import delimited_header, delimited_rows
from retrieval.readers.jsonl import json_rows
from retrieval.readers.labels import JudgmentColumns, read_judgment_file, read_queries, read_splits, split_by_rule
from retrieval.readers.parquet import check_types, is_scalar, parquet_rows, parquet_schema
from retrieval.readers.rows import (
    KNOWN_FIELDS,
    REQUIRED_FIELDS,
    RawRow,
    RowContract,
    RowProblem,
    Values,
    attribute_pairs,
    attribute_texts,
    plain_scalar,
)
from retrieval.records import Judgment, Query, Scalar
from retrieval.suggestions import did_you_mean, listed

ALL = "*"
"""In ``keep``: every scalar column. At the end of an attribute column: every column that begins like it."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of one file, and those of them that hold single values."""

    path: Path
    names: tuple[str, ...]
    scalars: tuple[str, ...]


class TabularReader(Reader):
    """Reads ``TabularCatalog`` sources."""

    def __init__(self, config: TabularCatalog, source: Path) -> None:
        """Take a folder and a field map.

        Raises:
            SourceDataError: If there is no such folder.
            ConfigError: If a map names a field that products, queries or judgments do not have.
        """
        super().__init__(config, source)
        _check_map("catalog.fields", config.fields, KNOWN_FIELDS)
        for name in REQUIRED_FIELDS:
            if not config.fields.get(name, name):
                raise ConfigError(f"catalog.fields.{name} is empty, but every product needs one; name its column")
        _check_map("catalog.query_fields", config.query_fields, ("query_id", "text"))
        _check_map("catalog.judgment_fields", config.judgment_fields, ("query_id", "query", "product_id", "grade"))
        self.config = config
        self._attribute_names: dict[str, str | None] = {}
        self._unseen: set[str] = set()

    def product_files(self) -> list[Path]:
        """Return the products files in the order of their names."""
        return matching_files(self.source, self.config.products, what="products file")

    def label_files(self) -> list[Path]:
        """Return where queries, judgments and splits may lie."""
        return [self.source / name for name in (self.config.queries, self.config.judgments, self.config.splits) if name]

    # --- products -----------------------------------------------------------------------------------------------------

    def contract(self) -> RowContract:
        """Return how a row becomes a product, after a look at every file's header."""
        headers = self._headers()
        for header in headers:
            self._require_columns(header)
            if self.config.format is FileFormat.parquet:
                check_types(header.path, self._columns(header.names))
        self._unseen = set() if headers else self._configured()
        names = _union(header.names for header in headers)
        columns = self._columns(names) if headers else self._json_columns()
        kept = self._kept(names, _union(header.scalars for header in headers)) if headers else None
        return RowContract(
            columns=columns,
            attributes=lambda values: self._attributes(values, columns.get("attributes")),
            extra=lambda values: self._extra(values, kept, columns),
            price_divisor=self.config.price_divisor,
            numbers_are_text=self.config.format is FileFormat.csv,
        )

    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the rows of all products files."""
        for path in self.product_files():
            match self.config.format:
                case FileFormat.parquet:
                    yield from self._parquet_rows(path, batch_rows)
                case FileFormat.csv:
                    yield from delimited_rows(path)
                case FileFormat.jsonl:
                    yield from self._json_rows(path)

    def absent_columns(self) -> frozenset[str]:
        """Return the configured columns that no JSON line had so far."""
        return frozenset(self._unseen)

    def _headers(self) -> list[Header]:
        """Return the header of every file; none for JSON Lines, which has no headers."""
        match self.config.format:
            case FileFormat.parquet:
                return [_parquet_header(path) for path in self.product_files()]
            case FileFormat.csv:
                headers = [(path, tuple(delimited_header(path))) for path in self.product_files()]
                return [Header(path, names, names) for path, names in headers]
        return []

    def _parquet_rows(self, path: Path, batch_rows: int) -> Iterator[RawRow]:
        header = _parquet_header(path)
        columns = self._columns(header.names)
        attributes = [name for name in header.names if self._attribute_name(name) is not None]
        wanted = {*columns.values(), *attributes, *self._kept(header.names, header.scalars)}
        salvage = self.config.on_bad_rows is BadRows.quarantine
        return parquet_rows(path, wanted, vector=columns.get("vector"), batch_rows=batch_rows, salvage=salvage)

    def _json_rows(self, path: Path) -> Iterator[RawRow]:
        for raw in json_rows(path):
            self._unseen.difference_update(raw.values)
            yield raw

    # --- which column is what -----------------------------------------------------------------------------------------

    def _columns(self, names: Collection[str] | None) -> dict[str, str]:
        """Return product field -> column: as mapped, else of its own name; with ``None``, whether there or not."""
        mapped = {name: self.config.fields.get(name, name) for name in KNOWN_FIELDS}
        return {name: column for name, column in mapped.items() if column and (names is None or column in names)}

    def _json_columns(self) -> dict[str, str]:
        """Return the columns of JSON Lines: lines may lack any, but vectors are all there or not asked for."""
        columns = self._columns(None)
        if "vector" not in self.config.fields and not self._first_line_has(columns["vector"]):
            del columns["vector"]
        return columns

    def _first_line_has(self, column: str) -> bool:
        rows = (raw for path in self.product_files() for raw in json_rows(path))
        return any(column in raw.values for raw in islice(rows, 1))

    def _configured(self) -> set[str]:
        """Return the columns that the configuration names one by one."""
        exact = [name for name in (*self.config.attribute_columns, *self.config.keep) if not name.endswith(ALL)]
        return {*(column for column in self.config.fields.values() if column), *exact}

    def _require_columns(self, header: Header) -> None:
        required = [self.config.fields.get(name) or name for name in REQUIRED_FIELDS]
        for column in (*required, *sorted(self._configured())):
            if column not in header.names:
                fields = "; catalog.fields says which column is which" if column in required else ""
                hint = did_you_mean(column, header.names)
                raise SourceDataError(f"{header.path} has no column {column!r} {listed(header.names)}{fields}{hint}")

    def _kept(self, names: Sequence[str], scalars: Sequence[str]) -> list[str]:
        """Return the columns to keep, out of those that are there."""
        if ALL not in self.config.keep:
            return [name for name in self.config.keep if name in names]
        used = {*self._columns(names).values(), *(name for name in names if self._attribute_name(name) is not None)}
        return [name for name in scalars if name not in used]

    def _attribute_name(self, column: str) -> str | None:
        """Return the attribute in a column: its own name, or what follows the prefix; ``None`` for none."""
        if column not in self._attribute_names:
            self._attribute_names[column] = _attribute_name(column, self.config.attribute_columns)
        return self._attribute_names[column]

    # --- the parts of a row that the field map decides ----------------------------------------------------------------

    def _attributes(self, values: Values, column: str | None) -> dict[str, str]:
        pairs = attribute_pairs(column, values.get(column)) if column is not None else {}
        if not self.config.attribute_columns:
            return pairs
        named = ((self._attribute_name(name), value) for name, value in values.items())
        return pairs | attribute_texts({name: value for name, value in named if name is not None})

    def _extra(self, values: Values, kept: Sequence[str] | None, columns: Mapping[str, str]) -> dict[str, Scalar]:
        if kept is not None:
            return {name: plain_scalar(name, values.get(name)) for name in kept}
        extra = {name: plain_scalar(name, values.get(name)) for name in self.config.keep if name != ALL}
        if ALL in self.config.keep:
            used = {*columns.values(), *extra}
            rest = {name: value for name, value in values.items() if name not in used}
            extra |= {name: value for name, value in _scalars(rest) if self._attribute_name(name) is None}
        return extra

    # --- queries, judgments, splits -----------------------------------------------------------------------------------

    def read_queries(self) -> list[Query]:
        """Return the queries of their file, or, without one, those that the judgments give by their texts."""
        path = self.source / self.config.queries
        if self.config.queries and path.is_file():
            fields = {"query_id": "query_id", "text": "text"} | self.config.query_fields
            return read_queries(path, id_column=fields["query_id"], text_column=fields["text"])
        return self._judged[0]

    def read_judgments(self) -> list[Judgment]:
        """Return all judgments."""
        return self._judged[1]

    def read_splits(self) -> dict[str, str]:
        """Return the split of every query, by rule or from the file of splits."""
        path = self.source / self.config.splits
        has_file = bool(self.config.splits) and path.is_file()
        queries = self._queries
        if not self.config.split_modulus:
            return read_splits(path, known={query.query_id for query in queries}) if has_file else {}
        if has_file:
            rule = f"catalog.split_modulus={self.config.split_modulus}"
            raise ConfigError(f"{rule} splits by rule, but there is also {path}; set one of them to nothing")
        return split_by_rule(queries, modulus=self.config.split_modulus, dev=self.config.split_dev)

    @cached_property
    def _judged(self) -> tuple[list[Query], list[Judgment]]:
        path = self.source / self.config.judgments
        if not (self.config.judgments and path.is_file()):
            return [], []
        columns = JudgmentColumns(**{name: column for name, column in self.config.judgment_fields.items() if column})
        has_queries = bool(self.config.queries) and (self.source / self.config.queries).is_file()
        known = self._queries if has_queries else []
        return read_judgment_file(path, known, columns=columns, new_texts=not has_queries)


def _parquet_header(path: Path) -> Header:
    schema = parquet_schema(path)
    scalars = tuple(column.name for column in schema if is_scalar(column.type))
    return Header(path, tuple(schema.names), scalars)


def _attribute_name(column: str, patterns: Sequence[str]) -> str | None:
    for pattern in patterns:
        if pattern == column:
            return column
        prefix = pattern.removesuffix(ALL)
        if pattern.endswith(ALL) and column.startswith(prefix) and column != prefix:
            return column.removeprefix(prefix)
    return None


def _scalars(values: Values) -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        try:
            yield name, plain_scalar(name, value)
        except RowProblem:
            continue  # "*" keeps the single values and leaves lists and objects out


def _union(lists: Iterator[tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _check_map(option: str, given: Mapping[str, str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{option} maps {name!r} {listed(known)}{did_you_mean(name, known)}")
