"""BEIR: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``.

Source: the layout of github.com/beir-cellar/beir, wiki page "Load your custom dataset".
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from indexing.errors import SourceDataError
from retrieval.config import BeirCatalog
from retrieval.readers.base import Reader, matching_files
from retrieval.readers.jsonl import json_rows
from retrieval.readers.labels import (
    JudgmentRules,
    Problems,
    RawJudgment,
    collect_judgments,
    collect_queries,
    table_rows,
    text_cell,
)
from retrieval.readers.rows import RawRow, RowContract, Values
from retrieval.records import Judgment, Query

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
QRELS_COLUMNS = ("query-id", "corpus-id", "score")
TAB = "\t"


class BeirReader(Reader):
    """Reads ``BeirCatalog`` sources."""

    def __init__(self, config: BeirCatalog, source: Path) -> None:
        """Take a folder; see `Reader`."""
        super().__init__(config, source)
        self.config = config

    def product_files(self) -> list[Path]:
        """Return the corpus."""
        return matching_files(self.source, CORPUS, what="corpus")

    def label_files(self) -> list[Path]:
        """Return where queries and judgments may lie."""
        return [self.source / QUERIES, *self._qrels_files()]

    def contract(self) -> RowContract:
        """Return how a line becomes a product."""
        return RowContract(columns={"product_id": "_id", "title": "title", "description": "text"}, view=_titled)

    def rows(self, *, batch_rows: int) -> Iterator[RawRow]:
        """Stream the lines of the corpus; ``batch_rows`` makes no difference."""
        for path in self.product_files():
            yield from json_rows(path)

    def read_queries(self) -> list[Query]:
        """Return all queries, whatever their split."""
        path = self.source / QUERIES
        if not path.is_file():
            return []
        problems, entries = Problems(path), list[tuple[int, str, str]]()
        for raw in json_rows(path):
            query_id, text = raw.values.get("_id"), raw.values.get("text")
            if raw.problem:
                problems.add(raw.problem, raw.row)
            elif not isinstance(query_id, str) or not isinstance(text, str):
                problems.add("_id, text: expected text", raw.row)
            else:
                entries.append((raw.row, query_id.strip(), text.strip()))
        problems.refuse("queries")
        return collect_queries(path, entries, id_column="_id", text_column="text")

    def read_judgments(self) -> list[Judgment]:
        """Return the judgments of all splits, one after the other."""
        return [judgment for judgments in self._by_split.values() for judgment in judgments]

    def read_splits(self) -> dict[str, str]:
        """Return the split of every judged query: the name of the file that judges it.

        Raises:
            SourceDataError: If two files judge one query.
        """
        splits: dict[str, str] = {}
        for split, judgments in self._by_split.items():
            for query_id in {judgment.query_id for judgment in judgments}:
                if splits.setdefault(query_id, split) != split:
                    path = self.source / QRELS / f"{split}.tsv"
                    raise SourceDataError(f"{path} judges query {query_id!r}, which is in split {splits[query_id]} too")
        return splits

    @cached_property
    def _by_split(self) -> dict[str, list[Judgment]]:
        return {path.stem: self._read_qrels(path) for path in self._qrels_files()}

    def _qrels_files(self) -> list[Path]:
        return sorted((self.source / QRELS).glob("*.tsv"))

    def _read_qrels(self, path: Path) -> list[Judgment]:
        query, product, grade = QRELS_COLUMNS
        entries = [
            RawJudgment(raw.row, text_cell(raw, query), text_cell(raw, product), text_cell(raw, grade))
            for raw in table_rows(path, QRELS_COLUMNS, delimiter=TAB)
        ]
        rules = JudgmentRules(query_column=query, product_column=product, grade_column=grade)
        return collect_judgments(path, entries, known={query.query_id for query in self._queries}, rules=rules)


def _titled(values: Values) -> Values:
    """Let the text stand in for an empty title, which many BEIR sets have."""
    title = values.get("title")
    if title is None or (isinstance(title, str) and not title.strip()):
        return {**values, "title": values.get("text"), "text": ""}
    return values
