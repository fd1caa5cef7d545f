"""Ask an engine 10,000 hostile things: every one is answered well or refused in Shortlist's own words, and none kills.

Texts of sixteen kinds (halves of surrogate pairs, NUL, a megabyte, emoji, right-to-left marks, piles of combining
marks, ...), things that are no text, filters, numbers and deadlines that nobody should send, through every way of
asking, on a real tokenizer, tower and cross-encoder. A refusal counts as Shortlist's own when a ``raise`` of its
packages made it; an error that merely came up on the way does not.
"""

import asyncio
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from indexing.errors import InvalidQuery, QueryTooLong
from rerank.config import CrossEncoderConfig
from retrieval.text import MAX_QUERY_CHARS
from shortlist.building.job import build
from shortlist.engine import SearchEngine
from tools.machine import ROOT
from tools.reliability.harness.answers import complaint
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.hostile import (
    BAD_DEADLINES,
    BAD_FILTERS,
    BAD_NUMBERS,
    GOOD_DEADLINES,
    GOOD_FILTERS,
    NO_TEXTS,
    TEXTS,
    has_surrogate,
    plain,
)
from tools.reliability.harness.models import write_cross_encoder, write_encoder
from tools.reliability.harness.processes import in_child
from tools.reliability.harness.shop import build_config, scratch, write_shop

SEED = 7
PATIENCE_S = 3_600.0
KEPT = 50  # failures that are written out
PACKAGES = tuple(str(ROOT / name) for name in ("indexing", "retrieval", "rerank", "shortlist"))

Call = Callable[[SearchEngine], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """Something to ask.

    Attributes:
        kind: What is hostile about it.
        call: Asks it.
        refusal: The errors of which one must come; empty when there must be an answer; ``None`` when either is right.
        surrogates: Whether it holds half a surrogate pair.
    """

    kind: str
    call: Call
    refusal: tuple[type[Exception], ...] | None = None
    surrogates: bool = False


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what became of the queries."""
    with scratch() as folder:
        yield queries(folder / "queries", count=300 if quick else 10_000)


def queries(folder: Path, *, count: int) -> Figure:
    """Ask ``count`` cases in a process of its own, so that one that kills it is seen and named."""
    last = folder / "last"
    ended = in_child(lambda: _ask_all(folder, count, last), patience_s=PATIENCE_S)
    if ended.value is None:
        case = last.read_text(encoding="utf-8") if last.exists() else "before the first case"
        return Figure("hostile queries", {"asked": 0}, (f"the process ended at {case}: {ended}",))
    least = {"asked": count, "surrogates": count // 20}
    return Figure("hostile queries", ended.value["counts"], tuple(ended.value["failures"]), at_least=least)


def _ask_all(folder: Path, count: int, last: Path) -> dict[str, Any]:
    encoder, reranker = write_encoder(folder / "encoder"), write_cross_encoder(folder / "reranker")
    config = replace(build_config(encoder), reranker=CrossEncoderConfig(model=str(reranker), weight=0.5))
    build(config, source=write_shop(folder / "shop", products=24), out=folder / "bundle")
    draw, counts, failures, slowest_s = Random(SEED), Counter[str](), list[str](), 0.0
    with SearchEngine.open(folder / "bundle") as engine:
        for number in range(count):
            case = draw_case(draw)
            last.write_text(f"case {number} of seed {SEED}, {case.kind}", encoding="utf-8")
            start = time.perf_counter()
            outcome, problem = ask(engine, case)
            slowest_s = max(slowest_s, time.perf_counter() - start)
            counts.update(["asked", outcome, *(["surrogates"] if case.surrogates else [])])
            if problem:
                failures.append(f"case {number} of seed {SEED}, {case.kind}: {problem}")
    names = ("asked", "answered", "refused", "surrogates", "untyped", "wrong")
    return {
        "counts": {name: counts[name] for name in names} | {"slowest_ms": round(slowest_s * 1000)},
        "failures": failures[:KEPT],
    }


def ask(engine: SearchEngine, case: Case) -> tuple[str, str]:
    """Ask and judge: ``answered`` or ``refused``, or ``untyped`` or ``wrong`` with what is wrong about it."""
    try:
        answer = case.call(engine)
    except BaseException as error:  # noqa: BLE001 - what comes here is what is looked for
        if not is_own(error):
            return "untyped", f"{type(error).__name__}: {error!s:.200} from {_origin(error)}"
        if case.refusal is not None and not isinstance(error, case.refusal):
            return "wrong", f"refused by {type(error).__name__}, expected {case.refusal or 'an answer'}: {error!s:.200}"
        return "refused", "" if len(str(error)) < 2_000 else f"a message of {len(str(error))} characters"
    if case.refusal:
        return "wrong", f"answered, expected {' or '.join(kind.__name__ for kind in case.refusal)}"
    answers = answer if isinstance(answer, list) else [answer]
    return next((("wrong", problem) for each in answers if (problem := complaint(each))), ("answered", ""))


def is_own(error: BaseException) -> bool:
    """Tell whether an error was raised on purpose, by a ``raise`` of the packages, and is of a kind a query may get."""
    if not isinstance(error, InvalidQuery | ValueError | TypeError | KeyError):
        return False
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename.startswith(PACKAGES) and (frame.line or "").startswith("raise ")


def _origin(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.line}"


# --- what is asked ----------------------------------------------------------------------------------------------------


def draw_case(draw: Random) -> Case:
    """Draw one case; the same seed gives the same cases."""
    makers: Mapping[Callable[[Random], Case], int] = {
        _text_case: 50,
        _no_text: 8,
        _many: 10,
        _filtered: 12,
        _numbered: 8,
        _deadline: 6,
        _by_id: 6,
    }
    (maker,) = draw.choices(list(makers), list(makers.values()))
    return maker(draw)


def _text_case(draw: Random) -> Case:
    kind, text = _drawn_text(draw)
    options: dict[str, Any] = {"rerank": draw.random() < 0.5, "k": draw.choice([1, 5, 24, 10**9])}
    if draw.random() < 0.1:
        return Case(f"asearch, {kind}", lambda e: asyncio.run(e.asearch(text, **options)), *_fate(kind, text))
    return Case(kind, lambda engine: engine.search(text, **options), *_fate(kind, text))


def _drawn_text(draw: Random) -> tuple[str, str]:
    kind = draw.choice(list(TEXTS))
    return kind, TEXTS[kind](draw)


def _fate(kind: str, text: str) -> tuple[tuple[type[Exception], ...] | None, bool]:
    """Say what must become of a text: too long is refused, words are answered, of the rest either may be right."""
    if len(text) > MAX_QUERY_CHARS:
        return (QueryTooLong,), has_surrogate(text)
    return (() if kind in ("plain", "surrogates") else None), has_surrogate(text)


def _no_text(draw: Random) -> Case:
    thing = draw.choice(NO_TEXTS)
    return Case(f"no text, {type(thing).__name__}", lambda engine: engine.search(thing), (InvalidQuery,))


def _many(draw: Random) -> Case:
    if draw.random() < 0.3:
        thing: Any = draw.choice([thing for thing in NO_TEXTS if not isinstance(thing, list | tuple)])
        return Case("search_many of no list", lambda engine: engine.search_many(thing), (TypeError,))
    drawn = [_drawn_text(draw) for _ in range(draw.randint(0, 6))]
    texts: list[Any] = [text for _, text in drawn]
    fates = [_fate(kind, text)[0] for kind, text in drawn]
    surrogates = any(map(has_surrogate, texts))
    if draw.random() < 0.2:
        texts.append(draw.choice(NO_TEXTS))
        return Case(
            "search_many with no text in it", lambda engine: engine.search_many(texts), (InvalidQuery,), surrogates
        )
    refusal = () if all(fate == () for fate in fates) else None
    return Case("search_many", lambda engine: engine.search_many(texts, rerank=False), refusal, surrogates)


def _filtered(draw: Random) -> Case:
    query, is_bad = plain(draw), draw.random() < 0.8
    filters = draw.choice(BAD_FILTERS if is_bad else GOOD_FILTERS)
    refusal: tuple[type[Exception], ...] = (InvalidQuery,) if is_bad else ()
    ask = draw.choice([SearchEngine.search, SearchEngine.similar])
    what = query if ask is SearchEngine.search else "p003"
    return Case("filters", lambda engine: ask(engine, what, filters=filters), refusal)  # type: ignore[operator]


def _numbered(draw: Random) -> Case:
    query, name, number = plain(draw), draw.choice(["k", "depth", "rerank"]), draw.choice(BAD_NUMBERS)
    if name == "rerank" and number is True:
        number = "yes"
    ask = SearchEngine.search_many if draw.random() < 0.3 else SearchEngine.search
    what: Any = [query] if ask is SearchEngine.search_many else query
    return Case(f"{name} as {type(number).__name__}", lambda e: ask(e, what, **{name: number}), (TypeError, ValueError))


def _deadline(draw: Random) -> Case:
    query, is_bad = plain(draw), draw.random() < 0.8
    deadline = draw.choice(BAD_DEADLINES if is_bad else GOOD_DEADLINES)
    refusal: tuple[type[Exception], ...] = (TypeError, ValueError) if is_bad else ()
    if draw.random() < 0.3:
        return Case("asearch, deadline", lambda e: asyncio.run(e.asearch(query, deadline_ms=deadline)), refusal)
    return Case("deadline", lambda engine: engine.search(query, deadline_ms=deadline), refusal)


def _by_id(draw: Random) -> Case:
    kind, text = _drawn_text(draw)
    thing: Any = draw.choice(NO_TEXTS) if draw.random() < 0.4 else text
    if draw.random() < 0.5:
        return Case(
            f"similar, {kind}",
            lambda engine: engine.similar(thing),
            (InvalidQuery,),
            thing is text and has_surrogate(text),
        )
    if isinstance(thing, str) and len(thing) > 1_000:
        thing = "\ud800"  # a KeyError is the key
    return Case(f"product, {kind}", lambda engine: engine.product(thing), (KeyError,))


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
