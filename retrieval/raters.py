"""Grades of the single raters behind adopted ones: a table with one grade column per rater."""

from collections.abc import Sequence
from pathlib import Path

from retrieval.readers.delimited import delimited_header
from retrieval.readers.labels import (
    JudgmentRules,
    RawJudgment,
    collect_judgments,
    require_columns,
    table_rows,
    text_cell,
)
from retrieval.records import Qrels, Query

PREFIX = "grade_"
"""How the column of a rater begins; what follows is the rater's name."""


def read_rater_grades(path: Path, queries: Sequence[Query]) -> dict[str, Qrels]:
    """Read a CSV of ``query`` (the text) or ``query_id``, ``product_id``, and ``grade_<rater>`` columns.

    Args:
        path: The file.
        queries: Queries whose grades are wanted; rows of others (of another split, say) are passed over.

    Returns:
        Rater -> query_id -> product_id -> grade, raters in the order of the columns. An empty cell means that the
        rater did not grade that product.

    Raises:
        SourceDataError: On a missing column, a grade that is no whole number, or one pair with two grades of one rater;
            the message names file and rows.
    """
    header = delimited_header(path)
    key = "query_id" if "query_id" in header else "query"
    raters = [column.removeprefix(PREFIX) for column in header if column.startswith(PREFIX)]
    require_columns(path, header, (key, "product_id", *([] if raters else [f"{PREFIX}1"])))
    ids = {query.text: query.query_id for query in queries} if key == "query" else {}
    known = {query.query_id for query in queries}
    named = [(raw, ids.get(text_cell(raw, key), text_cell(raw, key))) for raw in table_rows(path, (key, "product_id"))]
    found: dict[str, Qrels] = {}
    for rater in raters:
        column = PREFIX + rater
        rules = JudgmentRules(query_column=key, grade_column=column)
        entries = [
            RawJudgment(
                row=raw.row,
                query_id=query_id,
                product_id=text_cell(raw, "product_id"),
                grade=text_cell(raw, column),
            )
            for raw, query_id in named
            if query_id in known and text_cell(raw, column)
        ]
        found[rater] = {}
        for judgment in collect_judgments(path, entries, known=known, rules=rules):
            found[rater].setdefault(judgment.query_id, {})[judgment.product_id] = judgment.grade
    return found
