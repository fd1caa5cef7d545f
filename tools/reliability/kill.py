"""Kill a build at every system call: what was published stays whole, and the next build ends with the same bytes.

Three sweeps: a build beside a published version, killed once before every call and in the middle of every write; a
first build killed at drawn points, up to three times in a row, before it is let finish; and the same with kills by the
clock, which also fall between calls and inside libraries. The encoder is a stub whose vectors depend on what is encoded
together, so that other segments would be other bytes.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.config import HnswConfig
from shortlist.building.job import build
from shortlist.config import BuildConfig
from tools.reliability.harness.calls import CountedFileSystem, described, tear
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.processes import Child, Ended, die, in_child
from tools.reliability.harness.shop import build_config, scratch, stub_encoder, warm_up, write_model, write_shop
from tools.reliability.harness.trees import differences, look, tree

SEED = 7
SEGMENT_TEXTS = 4


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what each kind of kill came to."""
    with scratch() as folder:
        warm_up(folder / "first")
        yield every_call(folder / "beside", step=49 if quick else 1)
        yield drawn(folder / "drawn", rounds=3 if quick else 100, by_clock=False)
        yield drawn(folder / "clock", rounds=2 if quick else 100, by_clock=True)


# --- at every call ----------------------------------------------------------------------------------------------------


def every_call(folder: Path, *, step: int) -> Figure:
    """Publish a version, then kill the build of the next at every ``step``-th point."""
    model = write_model(folder / "model")
    config = build_config(model, segment_texts=SEGMENT_TEXTS)
    first = write_shop(folder / "shop", products=12)
    second = write_shop(folder / "changed", products=24)
    published, undisturbed = folder / "published", folder / "undisturbed"
    _require(in_child(partial(_build, config, first, published)))
    shutil.copytree(published, undisturbed)
    calls = _require(in_child(partial(_list_calls, config, second, undisturbed)))
    old, new = (_require(in_child(partial(look, root))) for root in (published, undisturbed))
    expected, stored = tree(undisturbed), _segments(published)
    failures: list[str] = []
    points = torn = finished = 0
    was_new = False
    for number in range(1, len(calls) + 1, step):
        for half in (False, True) if calls[number - 1].startswith("write") else (False,):
            where = f"{'in' if half else 'before'} call {number} ({calls[number - 1]})"
            out = folder / "out"
            shutil.copytree(published, out)
            points, torn = points + 1, torn + half
            killed = in_child(partial(_build_until, config, second, out, number, half))
            seen = in_child(partial(look, out))
            is_new = bool(seen.value) and seen.value["live"] == new["live"]
            if killed.signal != signal.SIGKILL:
                failures.append(f"{where}: not killed, {killed}")
            elif not _same(seen, new if is_new else old):
                failures.append(f"{where}: the reader found {seen.error or seen.value}")
            elif was_new and not is_new:
                failures.append(f"{where}: the old version is live, after an earlier kill the new one was")
            was_new = is_new
            left_to_encode = 24 - SEGMENT_TEXTS * _segments(out)
            report = in_child(partial(_build, config, second, out))
            after = in_child(partial(look, out))
            problem = _problem(report, after, new, tree(out), expected)
            if report.value is not None and report.value["encoded"] != left_to_encode:
                problem += f" encoded {report.value['encoded']} texts, {left_to_encode} were missing"
            finished += not problem
            failures += [f"{where}, then finished: {problem}"] if problem else []
            shutil.rmtree(out)
    counts = {"points": points, "torn_writes": torn, "finished_alike": finished, "losses": len(failures)}
    few = {} if step > 1 else {"points": 100}
    assert stored == 3
    return Figure("killed at every call", counts, tuple(failures), at_least=few)


def _list_calls(config: BuildConfig, source: Path, out: Path) -> list[str]:
    calls: list[str] = []
    with storage.using(CountedFileSystem(lambda _number, name, arguments: calls.append(described(name, arguments)))):
        _build(config, source, out)
    return calls


def _build_until(config: BuildConfig, source: Path, out: Path, last: int, half: bool) -> None:
    def at(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if number == last:
            if half:
                tear(name, arguments)
            die()

    with storage.using(CountedFileSystem(at)):
        _build(config, source, out)


# --- at drawn points --------------------------------------------------------------------------------------------------


def drawn(folder: Path, *, rounds: int, by_clock: bool) -> Figure:
    """Kill a first build at drawn points, up to three times in a row, then let it finish and compare every byte."""
    config = build_config(write_model(folder / "model"), segment_texts=SEGMENT_TEXTS)
    config.index = HnswConfig(links=4)
    source, undisturbed = write_shop(folder / "shop", products=40), folder / "undisturbed"
    start = time.perf_counter()
    calls = len(_require(in_child(partial(_list_calls, config, source, undisturbed))))
    build_s = time.perf_counter() - start
    new, expected = _require(in_child(partial(look, undisturbed))), tree(undisturbed)
    generator = random.Random(SEED)
    failures: list[str] = []
    kills = alike = 0
    for number in range(rounds):
        out = folder / "out"
        for _ in range(generator.randint(1, 3)):
            if by_clock:
                child = Child(partial(_build, config, source, out))
                time.sleep(generator.uniform(0, build_s))
                os.kill(child.pid, signal.SIGKILL)
                kills += child.wait().signal == signal.SIGKILL
            else:
                last, half = generator.randint(1, calls), generator.random() < 0.5
                kills += in_child(partial(_build_until, config, source, out, last, half)).signal == signal.SIGKILL
        report = in_child(partial(_build, config, source, out))
        problem = _problem(report, in_child(partial(look, out)), new, tree(out), expected)
        alike += not problem
        failures += [f"round {number}: {problem}"] if problem else []
        shutil.rmtree(out)
    counts = {"rounds": rounds, "kills": kills, "byte_identical": alike, "losses": len(failures)}
    name = "killed by the clock, then finished" if by_clock else "killed at drawn calls, then finished"
    return Figure(name, counts, tuple(failures), at_least={"kills": rounds // 2})


# --- parts ------------------------------------------------------------------------------------------------------------


def _build(config: BuildConfig, source: Path, out: Path) -> dict[str, Any]:
    with stub_encoder():
        report = build(config, source=source, out=out)
    return {"version": report.version, "encoded": report.encoded}


def _problem(report: Ended, seen: Ended, new: dict[str, Any], found: dict[str, str], expected: dict[str, str]) -> str:
    if report.value is None:
        return f"the next build failed: {report.error or report}"
    if not _same(seen, new):
        return f"the reader found {seen.error or seen.value}"
    return differences(found, expected)


def _same(seen: Ended, expected: dict[str, Any]) -> bool:
    """Whether a reader found this version live; how many others lie beside it depends on the kill."""
    return seen.value is not None and all(seen.value[name] == expected[name] for name in ("live", "answers"))


def _segments(root: Path) -> int:
    return len(list(root.glob("vectors/*/segment-*.json")))


def _require(ended: Ended) -> Any:  # noqa: ANN401 - what the child returned
    if ended.value is None:
        raise RuntimeError(f"what was to be undisturbed failed: {ended}")
    return ended.value


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
