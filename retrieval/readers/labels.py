"""Queries, judgments and splits: small tables, read whole, refused with every bad row named."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing.errors import SourceDataError
from retrieval.readers.delimited import delimited_header, delimited_rows
from retrieval.readers.ledger import problem_table
from retrieval.readers.rows import DUPLICATE, EMPTY, RawRow
from retrieval.records import Judgment, Query
from retrieval.suggestions import did_you_mean, listed

SLUG_HASH_CHARS = 8
"""Hex digits of SHA-256 that keep two texts of one slug apart; a clash among 10,000 of them has a chance of 1 in 86."""

_PLAIN_TEXT = re.compile(r"[a-z0-9]+( [a-z0-9]+)*")
_WHOLE_NUMBER = re.compile(r"[0-9]+")


class Problems:
    """Collects what is wrong with the rows of one file, to be raised all at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, list[int]] = defaultdict(list)

    def add(self, problem: str, row: int) -> None:
        """Note that ``row`` (from 1) has ``problem``."""
        self._rows[problem].append(row)

    def refuse(self, what: str) -> None:
        """Raise when there is any.

        Raises:
            SourceDataError: Naming file, problems, rows and counts.
        """
        if self._rows:
            count = len({row for rows in self._rows.values() for row in rows})
            table = problem_table({str(self._path): self._rows})
            raise SourceDataError(f"{count} {'row' if count == 1 else 'rows'} cannot become {what}:\n{table}")


# --- tables -----------------------------------------------------------------------------------------------------------


def require_columns(path: Path, header: Sequence[str], columns: Iterable[str]) -> None:
    """Refuse a file without one of ``columns``.

    Raises:
        SourceDataError: Naming the file, the column, and those that there are.
    """
    for column in columns:
        if column not in header:
            raise SourceDataError(f"{path} has no column {column!r} {listed(header)}{did_you_mean(column, header)}")


def table_rows(path: Path, columns: Iterable[str], *, delimiter: str = ",") -> list[RawRow]:
    """Return all rows of a delimited file that has ``columns`` (and perhaps others).

    Raises:
        SourceDataError: If a column is missing, a row has a wrong number of cells, or the file is no UTF-8 text.
    """
    require_columns(path, delimited_header(path, delimiter=delimiter), columns)
    problems, rows = Problems(path), list(delimited_rows(path, delimiter=delimiter))
    for raw in rows:
        if raw.problem:
            problems.add(raw.problem, raw.row)
    problems.refuse("table rows")
    return rows


def text_cell(raw: RawRow, column: str) -> str:
    """Return a cell as text without white space around it; an empty one is an empty text."""
    return str(raw.values.get(column) or "").strip()


# --- queries ----------------------------------------------------------------------------------------------------------


def read_queries(path: Path, *, id_column: str, text_column: str, delimiter: str = ",") -> list[Query]:
    """Read a table of queries.

    Raises:
        SourceDataError: If a query_id is empty, there twice or has white space in it, or a text is empty.
    """
    rows = table_rows(path, (id_column, text_column), delimiter=delimiter)
    entries = [(raw.row, text_cell(raw, id_column), text_cell(raw, text_column)) for raw in rows]
    return collect_queries(path, entries, id_column=id_column, text_column=text_column)


def collect_queries(
    path: Path, entries: Iterable[tuple[int, str, str]], *, id_column: str, text_column: str
) -> list[Query]:
    """Check ``(row, query_id, text)`` and return the queries in order; the columns are named in problems.

    Raises:
        SourceDataError: As `read_queries`.
    """
    problems, queries = Problems(path), dict[str, Query]()
    for row, query_id, text in entries:
        if not query_id:
            problems.add(f"{id_column}: {EMPTY}", row)
        elif query_id in queries:
            problems.add(f"{id_column}: {DUPLICATE}", row)
        elif len(query_id.split()) > 1:
            problems.add(f"{id_column}: has white space, which TREC files cannot carry", row)
        if not text:
            problems.add(f"{text_column}: {EMPTY}", row)
        queries.setdefault(query_id, Query(query_id=query_id, text=text))
    problems.refuse("queries")
    return list(queries.values())


def query_id_of(text: str) -> str:
    """Return an id made from the text alone, the same whatever file it is in: ``surround-sound-speakers``.

    A text of other than lower-case letters and digits gets some of its SHA-256, because its slug has lost something.
    """
    slug = "-".join(re.findall(r"\w+", text.lower()))
    if _PLAIN_TEXT.fullmatch(text):
        return slug
    head = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:SLUG_HASH_CHARS]
    return f"{slug}-{head}" if slug else head


# --- judgments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RawJudgment:
    """A judgment as it was found; the grade is a number or a label, in the file's words."""

    row: int
    query_id: str
    product_id: str
    grade: str


@dataclass(frozen=True, slots=True)
class JudgmentRules:
    """What a source's judgments have to be.

    Attributes:
        query_column: Named in problems, as the next two.
        product_column: See above.
        grade_column: See above.
        grades: Label -> grade; ``None`` when grades are written as whole numbers.
        keep_higher: One pair with two grades takes the higher one; otherwise it is refused.
    """

    query_column: str = "query_id"
    product_column: str = "product_id"
    grade_column: str = "grade"
    grades: Mapping[str, int] | None = None
    keep_higher: bool = False

    def grade(self, text: str) -> int | None:
        """Return the grade, or ``None`` when ``text`` is none."""
        if self.grades is not None:
            return self.grades.get(text)
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else None

    def expected(self) -> str:
        """Return what a grade should look like, in words."""
        return " or ".join(self.grades) if self.grades is not None else "a whole number from 0"


def collect_judgments(
    path: Path, entries: Iterable[RawJudgment], *, known: Collection[str], rules: JudgmentRules
) -> list[Judgment]:
    """Check judgments and return them in order, every pair once.

    Args:
        path: Named in problems.
        entries: What the file holds.
        known: All query_ids.
        rules: How grades are written and what to do with a pair that has two.

    Raises:
        SourceDataError: On an unknown query, an empty product_id, a grade that is none, or one pair with two grades.
    """
    problems, grades, first_row = Problems(path), dict[tuple[str, str], int](), dict[tuple[str, str], int]()
    for entry in entries:
        grade = rules.grade(entry.grade)
        for problem in _judgment_problems(entry, grade, known, rules):
            problems.add(problem, entry.row)
        if grade is None:
            continue
        pair = (entry.query_id, entry.product_id)
        held = grades.setdefault(pair, grade)
        if held != grade and not rules.keep_higher:
            problems.add(f"{rules.grade_column}: {grade}, but row {first_row[pair]} gives this pair {held}", entry.row)
        grades[pair] = max(held, grade)
        first_row.setdefault(pair, entry.row)
    problems.refuse("judgments")
    return [Judgment(query_id=query, product_id=product, grade=grade) for (query, product), grade in grades.items()]


def _judgment_problems(
    entry: RawJudgment, grade: int | None, known: Collection[str], rules: JudgmentRules
) -> Iterator[str]:
    if entry.query_id not in known:
        yield f"{rules.query_column}: {entry.query_id!r} is not among the queries"
    if not entry.product_id:
        yield f"{rules.product_column}: {EMPTY}"
    if grade is None:
        yield f"{rules.grade_column}: expected {rules.expected()}, got {entry.grade!r}"


@dataclass(frozen=True, slots=True)
class JudgmentColumns:
    """Where a judgment's parts lie in a table that has either an id or the text of the query."""

    query_id: str = "query_id"
    query: str = "query"
    product_id: str = "product_id"
    grade: str = "grade"


def read_judgment_file(
    path: Path, queries: Sequence[Query], *, columns: JudgmentColumns | None = None, new_texts: bool = True
) -> tuple[list[Query], list[Judgment]]:
    """Read a table of judgments; see `retrieval.catalog.read_judgments_csv`.

    Args:
        path: CSV.
        queries: The queries that are known.
        columns: Names of the columns.
        new_texts: Where queries are given by their text, one that is not known becomes a query.
    """
    if not path.is_file():
        raise SourceDataError(f"there is no file of judgments {path}")
    columns = columns or JudgmentColumns()
    header = delimited_header(path)
    if columns.query_id not in header and columns.query not in header:
        wanted = f"neither a column {columns.query_id} nor a column {columns.query}"
        raise SourceDataError(f"{path} has {wanted} {listed(header)}")
    by_text = columns.query_id not in header
    key = columns.query if by_text else columns.query_id
    rows = table_rows(path, (key, columns.product_id, columns.grade))
    ids = {query.text: query.query_id for query in queries} if by_text else {}
    by_id = {query.query_id: query for query in queries}
    if by_text and new_texts:
        by_id |= {query.query_id: query for query in _new_queries(path, rows, key, ids, taken=by_id)}
    entries = [_raw_judgment(raw, key, columns, ids) for raw in rows]
    rules = JudgmentRules(query_column=key, product_column=columns.product_id, grade_column=columns.grade)
    judgments = collect_judgments(path, entries, known=by_id, rules=rules)
    return [by_id[query_id] for query_id in dict.fromkeys(entry.query_id for entry in judgments)], judgments


def _raw_judgment(raw: RawRow, key: str, columns: JudgmentColumns, ids: dict[str, str]) -> RawJudgment:
    return RawJudgment(
        row=raw.row,
        query_id=ids.get(text_cell(raw, key), text_cell(raw, key)),
        product_id=str(raw.values.get(columns.product_id) or ""),
        grade=text_cell(raw, columns.grade),
    )


def _new_queries(
    path: Path, rows: Iterable[RawRow], column: str, ids: dict[str, str], *, taken: Collection[str]
) -> list[Query]:
    """Return queries for the texts without an id, and add their ids to ``ids``."""
    problems, new = Problems(path), dict[str, Query]()
    for raw in rows:
        text = text_cell(raw, column)
        if not text:
            problems.add(f"{column}: {EMPTY}", raw.row)
        elif text not in ids:
            query_id = ids[text] = query_id_of(text)
            if query_id in taken or query_id in new:
                problems.add(f"{column}: its id {query_id!r} is that of another query", raw.row)
            new[query_id] = Query(query_id=query_id, text=text)
    problems.refuse("judgments")
    return list(new.values())


# --- splits -----------------------------------------------------------------------------------------------------------


def read_splits(path: Path, *, known: Collection[str]) -> dict[str, str]:
    """Read ``query_id,split``.

    Raises:
        SourceDataError: On an unknown query, one that is there twice, or an empty split.
    """
    problems, splits = Problems(path), dict[str, str]()
    for raw in table_rows(path, ("query_id", "split")):
        query_id, split = text_cell(raw, "query_id"), text_cell(raw, "split")
        if query_id not in known:
            problems.add(f"query_id: {query_id!r} is not among the queries", raw.row)
        if query_id in splits:
            problems.add(f"query_id: {DUPLICATE}", raw.row)
        if not split:
            problems.add(f"split: {EMPTY}", raw.row)
        splits[query_id] = split
    problems.refuse("splits")
    return splits


def split_by_rule(queries: Iterable[Query], *, modulus: int, dev: Collection[int]) -> dict[str, str]:
    """Return ``dev`` for queries whose md5(text) modulo ``modulus`` is in ``dev``, ``train`` for the others.

    The digest is read as one whole number, so the split of a query depends on its text alone, on no file and no seed.
    """
    return {query.query_id: "dev" if _text_number(query.text) % modulus in dev else "train" for query in queries}


def _text_number(text: str) -> int:
    return int(hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest(), 16)
