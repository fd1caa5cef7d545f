"""Fork a process that searches: its children are refused at once, and children that open an engine themselves are not.

The order matters: what opens an engine after the fork is tried first, while this process has imported the libraries and
used nothing of them. Then it uses an engine, keeps two threads searching, and forks again and again: every call in a
child must raise ForkSafetyError, whatever the threads held when the fork came; none may hang.
"""

import asyncio
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from indexing.errors import ForkSafetyError
from retrieval.records import Product
from shortlist import SearchEngine
from shortlist.building.job import build
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.generations import QUERIES, Ask, Value, publish, value
from tools.reliability.harness.load import Load
from tools.reliability.harness.models import write_cross_encoder, write_encoder
from tools.reliability.harness.processes import Ended, import_what_it_imports, in_child
from tools.reliability.harness.shop import build_config, scratch, stub_encoder, write_model, write_shop

PATIENCE_S = 20.0
"""A child that is refused ends within milliseconds; one that opens an engine, within some seconds."""

CALLS: dict[str, Callable[[SearchEngine], object]] = {
    "search": lambda engine: engine.search(QUERIES[0]),
    "search_many": lambda engine: engine.search_many(QUERIES),
    "asearch": lambda engine: asyncio.run(engine.asearch(QUERIES[0])),
    "similar": lambda engine: engine.similar("p003"),
    "explain": lambda engine: engine.explain(QUERIES[0], "p003"),
    "upsert": lambda engine: engine.upsert([Product("new", "new")]),
    "delete": lambda engine: engine.delete(["p003"]),
    "follow": lambda engine: engine.follow(),
    "reload": lambda engine: engine.reload(),
    "watch": lambda engine: engine.watch(),
    "open": lambda engine: SearchEngine.open(engine._opening.root),
}


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield children that open their own engine, children of a process that searches, and spawned processes."""
    with scratch() as folder, models(quick):
        root = folder / "bundle"
        import_what_it_imports(lambda: publish_version(folder, quick))
        yield opened_after(root, count=3 if quick else 10)
        with SearchEngine.open(root, threads=2) as engine:
            yield forked_after_use(engine, count=10 if quick else 50)
            if not quick:
                yield spawned(root, _asked(engine), count=3)


def models(quick: bool) -> AbstractContextManager[object]:
    """Replace the networks by arithmetic when there are seconds only."""
    return stub_encoder() if quick else nullcontext()


def publish_version(folder: Path, quick: bool) -> None:
    """Build a bundle and search it once."""
    if quick:
        shop = write_shop(folder / "shop", products=12)
        build(build_config(write_model(folder / "model")), source=shop, out=folder / "bundle")
    else:
        publish(folder / "bundle", 0, encoder=write_encoder(folder), cross_encoder=write_cross_encoder(folder))
    _asked(SearchEngine.open(folder / "bundle", threads=2))


def opened_after(root: Path, *, count: int) -> Figure:
    """Let children open the bundle; this process has used nothing yet."""
    answers = [in_child(lambda: repr(_opened(root)), patience_s=3 * PATIENCE_S) for _ in range(count)]
    failures = [f"child {number}: {end}" for number, end in enumerate(answers) if not end.value or end != answers[0]]
    return Figure("engine opened after a fork", {"forks": count, "failed": len(failures)}, tuple(failures))


def forked_after_use(engine: SearchEngine, *, count: int) -> Figure:
    """Fork while threads search; in every child, make every call."""
    expected = {engine.generation: {name: value(ask(engine)) for name, ask in _questions().items()}}
    ends: list[Ended] = []
    with Load(engine, expected, threads=2, asked=_questions()) as load:
        for _ in range(count):
            load.every_thread_answers()
            ends.append(in_child(lambda: _refusals(engine), patience_s=PATIENCE_S))
    wanted = dict.fromkeys(CALLS, ForkSafetyError.__name__)
    failures = [f"fork {number}: {end}" for number, end in enumerate(ends) if end.value != wanted]
    counts = {
        "forks": count,
        "calls": len(CALLS),
        "refused": count - len(failures),
        "hung": sum(end.hung for end in ends),
        "answers_of_the_parent": sum(load.answers),
    }
    return Figure("forked after use", counts, (*failures, *load.failed, *load.mixed))


def spawned(root: Path, expected: Value, *, count: int) -> Figure:
    """Let spawned processes open the bundle while this one has it open."""
    context: Any = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        found = [pool.apply(_opened, (root,)) for _ in range(count)]
    failures = [f"process {number}: another answer" for number, answer in enumerate(found) if answer != expected]
    return Figure("spawned beside it", {"processes": count, "failed": len(failures)}, tuple(failures))


def _opened(root: Path) -> Value:
    with SearchEngine.open(root, threads=2) as engine:
        return _asked(engine)


def _asked(engine: SearchEngine) -> Value:
    return value([*engine.search_many(QUERIES, k=5), engine.search(QUERIES[0], k=5)])


def _questions() -> dict[str, Ask]:
    return {"search_many": lambda engine: engine.search_many(QUERIES, k=5)}


def _refusals(engine: SearchEngine) -> dict[str, str]:
    return {name: _refusal(call, engine) for name, call in CALLS.items()}


def _refusal(call: Callable[[SearchEngine], object], engine: SearchEngine) -> str:
    try:
        call(engine)
    except Exception as error:  # noqa: BLE001 - its type is the answer
        return type(error).__name__
    return "answered"


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
