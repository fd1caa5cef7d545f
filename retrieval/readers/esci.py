"""ESCI, Amazon's shopping queries, in its published Parquet layout: examples and products, joined on locale and id.

Source: github.com/amazon-science/esci-data, columns as in its README.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import BATCH_ROWS
from retrieval.config import BadRows, EsciCatalog
from retrieval.readers.base import Reader, matching_files
from retrieval.readers.labels import (
    JudgmentRules,
    Problems,
    RawJudgment,
    collect_judgments,
    collect_queries,
    require_columns,
    text_cell,
)
from retrieval.readers.parquet import check_types, parquet_batches, parquet_rows, parquet_schema
from retrieval.readers.rows import RawRow, RowContract, Values, attribute_texts
from retrieval.records import Judgment, Query, Scalar
from retrieval.suggestions import did_you_mean, listed

COLUMNS = {
    "product_id": "product_id",
    "title": "product_title",
    "description": "product_description",
    "brand": "product_brand",
}
LOCALE, BULLETS, COLOR = "product_locale", "product_bullet_point", "product_color"
EXAMPLE_COLUMNS = ("query_id", "query", "product_id", LOCALE, "esci_label", "split")
VERSIONS = ("small", "large")


class EsciReader(Reader):
    """Reads ``EsciCatalog`` sources: the products and the examples of one locale."""

    def __init__(self, config: EsciCatalog, source: Path) -> None:
        """Take a folder; see `Reader`.

        Raises:
            ConfigError: If ``version`` is neither ``small`` nor ``large``.
        """
        super().__init__(config, source)
        if config.version not in VERSIONS:
            hint = did_you_mean(config.version, VERSIONS)
            raise ConfigError(f"catalog.version must be small or large, got {config.version!r}{hint}")
        self.config = config

    def product_files(self) -> list[Path]:
        """Return the file of products (or several, by a glob)."""
        return matching_files(self.source, self.config.products, what="products file")

    def label_files(self) -> list[Path]:
        """Return where the examples may lie; queries, judgments and splits all come from them."""
        return [self.source / self.config.judgments]

    def contract(self) -> RowContract:
        """Return how a row becomes a product."""
        for path in self.product_files():
            require_columns(path, parquet_schema(path).names, (COLUMNS["product_id"], COLUMNS["title"], LOCALE))
            check_types(path, COLUMNS)
        return RowContract(columns=COLUMNS, attributes=_attributes, extra=_extra)

    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the rows of the locale; those of other locales are another catalogue's.

        Raises:
            SourceDataError: If no row is of the locale.
        """
        columns, locale, found = {*COLUMNS.values(), LOCALE, BULLETS, COLOR}, {LOCALE: self.config.locale}, False
        salvage = self.config.on_bad_rows is BadRows.quarantine
        for path in self.product_files():
            for raw in parquet_rows(path, columns, batch_rows=batch_rows, where=locale, salvage=salvage):
                found = True
                yield raw
        if not found:
            self._refuse_locale()

    def read_queries(self) -> list[Query]:
        """Return the queries of the examples, in the order in which they come."""
        path, first = self.label_files()[0], dict[tuple[str, str], int]()
        for raw in self._examples:
            first.setdefault((_query_id(raw), text_cell(raw, "query")), raw.row)
        entries = [(row, query_id, text) for (query_id, text), row in first.items()]
        return collect_queries(path, entries, id_column="query_id", text_column="query")

    def read_judgments(self) -> list[Judgment]:
        """Return the labels of the examples as grades."""
        entries = [
            RawJudgment(raw.row, _query_id(raw), text_cell(raw, "product_id"), text_cell(raw, "esci_label"))
            for raw in self._examples
        ]
        rules = JudgmentRules(grade_column="esci_label", grades=self.config.grades)
        known = {query.query_id for query in self._queries}
        return collect_judgments(self.label_files()[0], entries, known=known, rules=rules)

    def read_splits(self) -> dict[str, str]:
        """Return ``train`` or ``test`` for every query.

        Raises:
            SourceDataError: If a query has none, or is in both.
        """
        problems, splits = Problems(self.label_files()[0]), dict[str, str]()
        for raw in self._examples:
            split = text_cell(raw, "split")
            if not split or splits.setdefault(_query_id(raw), split) != split:
                problems.add(f"split: {split!r}, where the query is in {splits.get(_query_id(raw))!r} before", raw.row)
        problems.refuse("splits")
        return splits

    @cached_property
    def _examples(self) -> list[RawRow]:
        path = self.label_files()[0]
        if not path.is_file():
            return []
        version = f"{self.config.version}_version"
        require_columns(path, parquet_schema(path).names, (*EXAMPLE_COLUMNS, version))
        where: dict[str, str | int] = {LOCALE: self.config.locale, version: 1}
        return list(parquet_rows(path, {*EXAMPLE_COLUMNS, version}, batch_rows=BATCH_ROWS, where=where))

    def _refuse_locale(self) -> None:
        files, locales = self.product_files(), set[str]()
        for path in files:
            for batch in parquet_batches(path, {LOCALE}, batch_rows=BATCH_ROWS):
                locales.update(str(value) for value in batch.column(LOCALE).unique().to_pylist())
        hint = did_you_mean(self.config.locale, locales)
        what = f"no product of catalog.locale={self.config.locale!r} {listed(sorted(locales))}"
        raise SourceDataError(f"{', '.join(map(str, files))}: {what}{hint}")


def _query_id(raw: RawRow) -> str:
    value = raw.values["query_id"]  # a whole number in the published file
    return "" if value is None else str(value).strip()


def _attributes(values: Values) -> dict[str, str]:
    return attribute_texts({"color": values.get(COLOR)})


def _extra(values: Values) -> dict[str, Scalar]:
    bullets = values.get(BULLETS)
    return {"bullet_point": bullets if isinstance(bullets, str) else None}
