"""Sixteen threads ask two engines of different longest texts; every answer is the one of a serial run, bit by bit.

The engines share nothing but the process: two encoders that cut queries at different lengths, two cross-encoders that
cut pairs at different lengths. A tokenizer that two callers set differently answers with the other's length, without an
error, which shows only by value. Queries are of 1 to 60 words, with and without filters and reranking.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shortlist import SearchEngine
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.generations import Value, publish, value
from tools.reliability.harness.models import write_cross_encoder, write_encoder
from tools.reliability.harness.shop import WORDS, scratch

THREADS = 16
HASTY_S = 1e-6
"""Switch interval in the second run: Python's own is 5 ms, in which a search here is over."""

Question = tuple[SearchEngine, str, dict[str, Any]]


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield a run at Python's own switch interval, and one that switches as often as it can."""
    with scratch() as folder:
        questions = ask_of(open_engines(folder), 16 if quick else 2_000)
        serial = [answer(question) for question in questions]
        for name, interval_s in (("threads", sys.getswitchinterval()), ("threads, switched hastily", HASTY_S)):
            with switching(interval_s):
                yield compare(name, questions, serial)


def open_engines(folder: Path) -> list[SearchEngine]:
    """Build and open two bundles that cut queries at 8 and 48 tokens, and pairs at 20 and 60."""
    encoder, cross_encoder = write_encoder(folder), write_cross_encoder(folder)
    engines = []
    for query_tokens, pair_tokens in ((8, 20), (48, 60)):
        lengths = {"query_max_tokens": query_tokens, "pair_max_tokens": pair_tokens}
        version = publish(folder / str(query_tokens), 0, encoder=encoder, cross_encoder=cross_encoder, **lengths)
        engines.append(SearchEngine.open(version.root, threads=1, joining=False))
    return engines


def ask_of(engines: Sequence[SearchEngine], count: int) -> list[Question]:
    """Draw questions: an engine, a query of 1 to 60 words, and options."""
    draw = random.Random(0)
    questions = []
    for number in range(count):
        query = " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 60)))
        options: dict[str, Any] = {"k": draw.randint(1, 10), "depth": 10, "rerank": draw.random() < 0.5}
        if draw.random() < 0.2:
            options["filters"] = [("stock", ">", draw.randint(0, 2))]
        questions.append((engines[number % 2], query, options))
    return questions


def answer(question: Question) -> Value:
    """Ask one question."""
    engine, query, options = question
    return value([engine.search(query, **options)])


def compare(name: str, questions: Sequence[Question], serial: Sequence[Value]) -> Figure:
    """Let every thread ask all questions in an order of its own."""

    def ask_all(seed: int) -> list[str]:
        order = random.Random(seed).sample(range(len(questions)), len(questions))
        return [fault for place in order if (fault := fault_of(questions[place], serial[place]))]

    with ThreadPoolExecutor(THREADS) as pool:
        faults = [fault for found in pool.map(ask_all, range(THREADS)) for fault in found]
    counts = {"threads": THREADS, "queries": len(questions), "answers": THREADS * len(questions)}
    return Figure(name, {**counts, "differences": len(faults)}, tuple(faults))


def fault_of(question: Question, expected: Value) -> str:
    """Ask one question; return what is wrong with the answer, nothing when it is the expected one."""
    try:
        found = answer(question)
    except Exception as error:  # noqa: BLE001 - none is expected
        return f"{question[1]!r}: {type(error).__name__}: {error}"
    return "" if found == expected else f"{question[1]!r}: {found}, expected {expected}"


@contextmanager
def switching(interval_s: float) -> Iterator[None]:
    """Let Python switch threads so often for the length of a ``with`` block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
