"""Judgments and runs in other people's forms: files, told apart by their endings, and ir_datasets' records."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import read_judgments_csv
from retrieval.records import Qrels, Query, Run
from shortlist.evaluation.checks import check_ids
from shortlist.evaluation.trec import read_qrels, read_tagged_run, trec_order


def read_judgments(path: Path, queries: Sequence[Query]) -> tuple[list[Query], Qrels]:
    """Read judgments in the form that the file's name tells.

    ===================== =============================================================================================
    ``.csv``              ``query,product_id,grade`` (the query's text) or ``query_id,product_id,grade``, with a header
    ``.tsv``              BEIR: ``query-id  corpus-id  score``, with a header
    ``.jsonl``            ir_datasets: objects with ``query_id``, ``doc_id`` and ``relevance``
    anything else, .gz    TREC qrels: ``query_id 0 product_id grade``, which is also what ``ir_datasets export`` writes
    ===================== =============================================================================================

    Args:
        path: The file.
        queries: The queries of the catalogue; none when there is no catalogue.

    Returns:
        The judged queries whose texts are known, and query_id -> product_id -> grade.

    Raises:
        SourceDataError: With file and line or row.
    """
    match path.suffix:
        case ".csv":
            judged, judgments = read_judgments_csv(path, queries)
            qrels: Qrels = {}
            for judgment in judgments:
                qrels.setdefault(judgment.query_id, {})[judgment.product_id] = judgment.grade
            return judged, qrels
        case ".tsv":
            qrels = _read_beir(path)
        case ".jsonl":
            qrels = _read_records(path)
        case _:
            qrels = read_qrels(path)
    return [query for query in queries if query.query_id in qrels], qrels


def _read_beir(path: Path) -> Qrels:
    from retrieval.readers.beir import QRELS_COLUMNS, TAB
    from retrieval.readers.labels import table_rows, text_cell

    query, product, grade = QRELS_COLUMNS
    if not path.is_file():
        raise SourceDataError(f"there is no file of judgments {path}")
    rows = table_rows(path, QRELS_COLUMNS, delimiter=TAB)
    records = ((text_cell(raw, query), text_cell(raw, product), text_cell(raw, grade), raw.row) for raw in rows)
    return _collected(records, str(path))


def _read_records(path: Path) -> Qrels:
    from retrieval.readers.jsonl import json_rows

    def records() -> Iterable[tuple[Any, Any, Any, int]]:
        for raw in json_rows(path):
            if raw.problem:
                raise SourceDataError(f"{path}, line {raw.row}: {raw.problem}")
            try:
                yield raw.values["query_id"], raw.values["doc_id"], raw.values["relevance"], raw.row
            except KeyError as error:
                raise SourceDataError(
                    f"{path}, line {raw.row}: expected query_id, doc_id and relevance, {error} is missing"
                ) from error

    return _collected(records(), str(path))


def qrels_of(records: Iterable[Any]) -> Qrels:
    """Gather judgments from records as ir_datasets gives them, such as those of ``dataset.qrels_iter()``.

    Args:
        records: Objects with the attributes ``query_id``, ``doc_id`` and ``relevance``, or mappings with these keys.

    Raises:
        SourceDataError: If a grade is not a whole number of 0 or more, or a product is judged twice for a query; the
            record's number, from 1, is named.
    """
    fields = ("query_id", "doc_id", "relevance")
    numbered = ((*_fields(record, fields), number) for number, record in enumerate(records, start=1))
    return _collected(((query, product, grade, number) for query, product, grade, number in numbered), "records")


def run_of(records: Iterable[Any]) -> Run:
    """Return a run from records with ``query_id``, ``doc_id`` and ``score`` (ir_datasets' scoreddocs), in any order.

    Ordered by trec_eval's rule; see `shortlist.evaluation.trec.read_run`.

    Raises:
        SourceDataError: If a product stands twice in a query.
    """
    scores: dict[str, dict[str, float]] = {}
    for number, record in enumerate(records, start=1):
        query_id, product_id, score = _fields(record, ("query_id", "doc_id", "score"))
        if product_id in scores.setdefault(query_id, {}):
            raise SourceDataError(f"record {number}: product {product_id!r} stands twice in query {query_id!r}")
        scores[query_id][product_id] = float(score)
    return {query_id: trec_order(found) for query_id, found in scores.items()}


def _fields(record: Any, names: Sequence[str]) -> list[Any]:  # noqa: ANN401 - anybody's record
    return [record[name] if isinstance(record, Mapping) else getattr(record, name) for name in names]


def _collected(records: Iterable[tuple[Any, Any, Any, int]], where: str) -> Qrels:
    qrels: Qrels = {}
    for query_id, product_id, grade, number in records:
        whole = int(grade) if isinstance(grade, int) or str(grade).isdecimal() else -1
        if isinstance(grade, bool) or whole < 0:
            raise SourceDataError(f"{where}, line {number}: expected a whole grade of 0 or more, got {grade!r}")
        if product_id in qrels.setdefault(query_id, {}):
            raise SourceDataError(f"{where}, line {number}: product {product_id!r} is judged twice for {query_id!r}")
        qrels[query_id][product_id] = whole
    if not qrels:
        raise SourceDataError(f"expected judgments in {where}, found none")
    return qrels


def read_runs(paths: Sequence[Path], *, taken: Iterable[str] = ()) -> dict[str, Run]:
    """Read run files and name each: by its tag, else by its file, else by its folder and file.

    Args:
        paths: The files, in the order of the result.
        taken: Names that are gone.

    Raises:
        SourceDataError: If a file breaks its contract.
        ConfigError: If no name is left for one.
    """
    runs: dict[str, Run] = {}
    gone = set(taken)
    for path in paths:
        run, tag = read_tagged_run(path)
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        candidates = (tag, stem, f"{path.resolve().parent.name}_{stem}")
        names = [name for name in candidates if name not in gone and _fits(name)]
        if not names:
            raise ConfigError(f"the run {path} would be called {tag!r} or {stem!r}, as another one is; rename the file")
        runs[names[0]] = run
        gone.add(names[0])
    return runs


def _fits(name: str) -> bool:
    """Tell whether a system can have this name: it becomes a file name and a column of a TREC file."""
    try:
        check_ids([name], "system", "run")
    except SourceDataError:
        return False
    return "/" not in name and not name.startswith(".")
