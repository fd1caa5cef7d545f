"""WANDS, Wayfair's annotated product search: three tab-separated files.

Source: github.com/wayfair/WANDS (MIT), columns as in its README.
"""

from collections.abc import Iterator
from pathlib import Path

from retrieval.config import WandsCatalog
from retrieval.readers.base import Reader, matching_files
from retrieval.readers.delimited import delimited_header, delimited_rows
from retrieval.readers.labels import (
    JudgmentRules,
    RawJudgment,
    collect_judgments,
    read_queries,
    require_columns,
    table_rows,
    text_cell,
)
from retrieval.readers.rows import RawRow, RowContract, RowProblem, Values
from retrieval.records import Judgment, Query, Scalar

PRODUCTS, QUERIES = "product.csv", "query.csv"
TAB = "\t"
COLUMNS = {
    "product_id": "product_id",
    "title": "product_name",
    "description": "product_description",
    "category": "category hierarchy",
}
NUMBERS = ("rating_count", "average_rating", "review_count")


class WandsReader(Reader):
    """Reads ``WandsCatalog`` sources."""

    def __init__(self, config: WandsCatalog, source: Path) -> None:
        """Take a folder; see `Reader`."""
        super().__init__(config, source)
        self.config = config

    def product_files(self) -> list[Path]:
        """Return the one file of products."""
        return matching_files(self.source, PRODUCTS, what="products file")

    def label_files(self) -> list[Path]:
        """Return where queries and labels may lie; there are no splits."""
        return [self.source / QUERIES, self.source / self.config.judgments]

    def contract(self) -> RowContract:
        """Return how a row becomes a product."""
        for path in self.product_files():
            require_columns(path, delimited_header(path, delimiter=TAB), COLUMNS.values())
        return RowContract(columns=COLUMNS, attributes=_features, extra=_extra)

    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the rows; ``batch_rows`` makes no difference, the file is read in blocks of bytes."""
        for path in self.product_files():
            yield from delimited_rows(path, delimiter=TAB)

    def read_queries(self) -> list[Query]:
        """Return all queries."""
        path = self.source / QUERIES
        if not path.is_file():
            return []
        return read_queries(path, id_column="query_id", text_column="query", delimiter=TAB)

    def read_judgments(self) -> list[Judgment]:
        """Return all labels as grades, a pair with two labels with the higher one."""
        path = self.source / self.config.judgments
        if not path.is_file():
            return []
        rows = table_rows(path, ("query_id", "product_id", "label"), delimiter=TAB)
        entries = [
            RawJudgment(raw.row, text_cell(raw, "query_id"), text_cell(raw, "product_id"), text_cell(raw, "label"))
            for raw in rows
        ]
        rules = JudgmentRules(grade_column="label", grades=self.config.grades, keep_higher=True)
        return collect_judgments(path, entries, known={query.query_id for query in self._queries}, rules=rules)

    def read_splits(self) -> dict[str, str]:
        """Return no splits; the set has none."""
        return {}


def _features(values: Values) -> dict[str, str]:
    """Return ``"colour : red|colour : blue|legs:4"`` as ``{"colour": "red, blue", "legs": "4"}``."""
    features: dict[str, list[str]] = {}
    for feature in str(values.get("product_features") or "").split("|"):
        name, _, value = (part.strip() for part in feature.partition(":"))
        if name and value:
            features.setdefault(name, []).append(value)
    return {name: ", ".join(facts) for name, facts in features.items()}


def _extra(values: Values) -> dict[str, Scalar]:
    numbers = {name: _number(name, values.get(name)) for name in NUMBERS}
    return {"product_class": values.get("product_class"), **numbers}


def _number(column: str, text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise RowProblem(f"{column}: not a number") from None
