"""What an answer must be, whatever was asked."""

import json
import math

from retrieval.records import Product, SearchResult
from retrieval.text import MAX_QUERY_CHARS


def complaint(answer: object) -> str:
    """Return what is wrong with an answer; empty for a good one."""
    if isinstance(answer, Product):
        return ""
    if not isinstance(answer, SearchResult):
        return f"answered with {type(answer).__name__}"
    scores = [hit.score for hit in answer.hits] + [score for hit in answer.hits for score in hit.stages.values()]
    if [hit.rank for hit in answer.hits] != list(range(1, len(answer.hits) + 1)):
        return "ranks do not count from 1"
    if not all(map(math.isfinite, scores)):
        return "a score is not finite"
    if len(answer.query) > MAX_QUERY_CHARS + len("similar to ") or any(ord(c) < 32 for c in answer.query):
        return f"searched {answer.query[:80]!r}"
    try:
        json.dumps([answer.query, [hit.product.title for hit in answer.hits]], ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        return f"the answer cannot be written: {error}"
    return ""
