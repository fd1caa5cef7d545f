"""TREC files: judgments as ``query_id 0 product_id grade``, runs as ``query_id Q0 product_id rank score tag``.

Readers of run files sort by score and ignore rank and order of lines; trec_eval holds scores in single precision and
parts equal ones by product id in descending order. So what is written decreases strictly in single precision, and
what is read is ordered by trec_eval's rule.

Source: trec_eval 9.0, README and get_trec_results.c.
"""

import gzip
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TextIO, TypeVar

import numpy as np

from indexing.errors import SourceDataError
from indexing.storage import FileDigest, replace_bytes
from retrieval.records import Qrels, Run
from shortlist.evaluation.checks import check_ids

_Number = TypeVar("_Number", int, float)

# Below the smallest normal number single precision thins out, and some readers flush it to 0.
_SMALLEST_STEP = float(np.finfo(np.float32).tiny)
# Single precision ends at 3.4e38; this leaves room to lower equal scores.
_LARGEST = 1e38


# --- writing ----------------------------------------------------------------------------------------------------------


def write_qrels(path: Path, qrels: Qrels) -> FileDigest:
    """Write judgments, atomically; an existing file is replaced.

    Raises:
        SourceDataError: If an id holds white space.
        StorageError: If the file cannot be written.
    """
    check_ids(qrels, "query", str(path))
    for query_id, grades in qrels.items():
        check_ids(grades, "product", f"query {query_id!r}, {path}")
    return replace_bytes(path, qrels_bytes(qrels))


def qrels_bytes(qrels: Qrels) -> bytes:
    """Return the content of a file of judgments."""
    lines = [
        f"{query_id} 0 {product_id} {grade}\n"
        for query_id, grades in qrels.items()
        for product_id, grade in grades.items()
    ]
    return "".join(lines).encode()


def write_run(path: Path, run: Run, *, tag: str) -> FileDigest:
    """Write a run in its own order, atomically; an existing file is replaced.

    A score that does not lie below the one before it is lowered to just below it, so that whoever sorts by score
    finds the order of the run. Nine digits tell any two numbers of single precision apart.

    Args:
        path: The file, by custom ending in ``.trec``.
        run: query_id -> (product_id, score), best first.
        tag: Name of the system, in the last column.

    Raises:
        SourceDataError: If an id or the tag holds white space, or a score is not within 1e38 of 0.
        StorageError: If the file cannot be written.
    """
    check_ids([tag], "system", str(path))
    check_ids(run, "query", str(path))
    lines = []
    for query_id, ranking in run.items():
        check_ids((product_id for product_id, _ in ranking), "product", f"query {query_id!r}, {path}")
        scores = strictly_decreasing([score for _, score in ranking], where=f"query {query_id!r}, {path}")
        for rank, ((product_id, _), score) in enumerate(zip(ranking, scores, strict=True), start=1):
            lines.append(f"{query_id} Q0 {product_id} {rank} {score:.9g} {tag}\n")
    return replace_bytes(path, "".join(lines).encode())


def strictly_decreasing(scores: list[float], *, where: str) -> list[float]:
    """Return the scores rounded to single precision, each below the one before.

    Raises:
        SourceDataError: If a score is not within 1e38 of 0; ``where`` says whose.
    """
    lowered: list[float] = []
    for score in scores:
        if not abs(score) <= _LARGEST:
            raise SourceDataError(
                f"scores must lie within 1e38 of 0 (trec_eval holds them in single precision), got {score} ({where})"
            )
        single = float(np.float32(score))
        if lowered and single >= lowered[-1]:
            single = float(np.float32(lowered[-1] - _step(lowered[-1])))
        lowered.append(single)
    return lowered


def _step(score: float) -> float:
    """Return what to take off for another, barely smaller number in single precision."""
    return max(abs(float(np.spacing(np.float32(score)))), _SMALLEST_STEP)


# --- reading ----------------------------------------------------------------------------------------------------------


def read_qrels(path: Path) -> Qrels:
    """Read judgments; the second column is ignored, as everywhere.

    Returns:
        query_id -> product_id -> grade, in the order of the lines.

    Raises:
        SourceDataError: With file and line, if a line has not four columns, a grade is not a whole number of 0 or more,
            or a product is judged twice for a query; or if the file cannot be read or holds nothing.
    """
    qrels: Qrels = {}
    for number, columns in _lines(path, expected="query_id 0 product_id grade"):
        query_id, _, product_id, text = columns
        grade = _number(text, int, path, number)
        if grade < 0:
            _refuse(path, number, f"expected a grade of 0 or more, got {grade}; write 0 for what answers nothing")
        if product_id in qrels.setdefault(query_id, {}):
            _refuse(path, number, f"product {product_id!r} is judged twice for query {query_id!r}; keep one line")
        qrels[query_id][product_id] = grade
    return qrels


def read_run(path: Path) -> Run:
    """Read anybody's run; see `read_tagged_run`."""
    return read_tagged_run(path)[0]


def read_tagged_run(path: Path) -> tuple[Run, str]:
    """Read anybody's run: lines in any order, ordered by trec_eval's rule (score, then product id, both descending).

    The rank column is ignored, as trec_eval ignores it. Scores that differ only beyond single precision count as equal.

    Args:
        path: The file; one that ends in ``.gz`` is unpacked.

    Returns:
        query_id -> (product_id, score), best first, queries in the order of their first lines; and the tag that most
        lines have.

    Raises:
        SourceDataError: With file and line, if a line has not six columns, a score is not a finite number, or a product
            stands twice in a query; or if the file cannot be read or holds nothing.
    """
    scores: dict[str, dict[str, float]] = {}
    tags = Counter[str]()
    for number, columns in _lines(path, expected="query_id Q0 product_id rank score tag"):
        query_id, _, product_id, _, text, tag = columns
        tags[tag] += 1
        score = _number(text, float, path, number)
        if not abs(score) <= _LARGEST:
            _refuse(path, number, f"expected a score within 1e38 of 0, got {text!r}")
        if product_id in scores.setdefault(query_id, {}):
            _refuse(path, number, f"product {product_id!r} stands twice in query {query_id!r}; keep its better rank")
        scores[query_id][product_id] = score
    return {query_id: trec_order(found) for query_id, found in scores.items()}, max(tags, key=tags.__getitem__)


def trec_order(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return (product_id, score) as trec_eval orders them: by score in single precision, then id, both descending."""
    # Code points sort as their UTF-8 bytes do, which is what strcmp compares.
    return sorted(scores.items(), key=lambda pair: (float(np.float32(pair[1])), pair[0]), reverse=True)


def _lines(path: Path, *, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, columns) of every line that is not blank."""
    width = len(expected.split())
    empty = True
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                columns = line.split()
                if not columns:
                    continue
                if len(columns) != width:
                    _refuse(path, number, f"expected {width} columns ({expected}), got {len(columns)}")
                empty = False
                yield number, columns
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceDataError(f"expected a UTF-8 text file at {path}: {error}") from error
    if empty:
        raise SourceDataError(f"expected lines of {expected} in {path}, found none")


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _number(text: str, kind: Callable[[str], _Number], path: Path, line: int) -> _Number:
    try:
        number = kind(text)
    except ValueError:
        number = None
    # Python alone would read "1_0" as ten.
    if number is None or "_" in text or not math.isfinite(number):
        _refuse(path, line, f"expected a {'whole' if kind is int else 'finite'} number, got {text!r}")
    return number


def _refuse(path: Path, line: int, problem: str) -> NoReturn:
    raise SourceDataError(f"{path}, line {line}: {problem}")
