"""Four builders start into one bundle at once: one wins, the others are told who it is; and a dead one's lock is free.

The winner of a round does not end before the others have been turned away, so that a second winner means two builds at
the same time and never one after the other.
"""

import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from shortlist.building.job import build
from shortlist.bundle import open_bundle
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.processes import PATIENCE_S, Child, Ended, die, in_child
from tools.reliability.harness.shop import (
    StubEncoder,
    build_config,
    scratch,
    stub_encoder,
    warm_up,
    write_model,
    write_shop,
)

PROCESSES = 4


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the rounds, then the locks of killed builders."""
    with scratch() as folder:
        warm_up(folder / "first")
        yield race(folder / "race", rounds=5 if quick else 100)
        yield abandoned(folder / "abandoned", rounds=5 if quick else 100)


def race(folder: Path, *, rounds: int) -> Figure:
    """Let ``PROCESSES`` builders start at once, ``rounds`` times into one bundle."""
    model, shop, out = write_model(folder / "model"), write_shop(folder / "shop"), folder / "out"
    context: Any = multiprocessing.get_context("fork")
    failures: list[str] = []
    turned_away = 0
    for number in range(rounds):
        start, refused = context.Barrier(PROCESSES), context.Semaphore(0)
        compete = partial(_compete, model, shop, out, start, refused)
        children = [Child(compete) for _ in range(PROCESSES)]
        ended = [child.wait() for child in children]
        winners = [child.pid for child, end in zip(children, ended, strict=True) if end.value]
        losers = [end for end in ended if not end.value]
        turned_away += len(losers)
        if len(winners) != 1:
            failures.append(f"round {number}: {len(winners)} winners: {ended}")
        failures += [f"round {number}: {end}" for end in losers if not _names(end, winners)]
        if open_bundle(out).manifest.catalogue["accepted"] != 12:
            failures.append(f"round {number}: the live version is not whole")
    counts = {"processes": PROCESSES, "rounds": rounds, "turned_away": turned_away, "losses": len(failures)}
    return Figure("concurrent builders", counts, tuple(failures))


def abandoned(folder: Path, *, rounds: int) -> Figure:
    """Kill a builder that holds the lock; the next one must not be kept out, nor be told of the dead."""
    model, shop, out = write_model(folder / "model"), write_shop(folder / "shop"), folder / "out"
    failures = []
    for number in range(rounds):
        killed = in_child(lambda: _build(model, shop, out, at_encoding=die))
        after = in_child(lambda: _build(model, shop, out))
        if not killed.signal or not after.value:
            failures.append(f"round {number}: killed {killed}, then {after}")
    return Figure("lock of a killed builder", {"rounds": rounds, "losses": len(failures)}, tuple(failures))


def _compete(model: Path, shop: Path, out: Path, start: Any, refused: Any) -> str:  # noqa: ANN401 - untyped factories
    def wait_for_the_others() -> None:
        for _ in range(PROCESSES - 1):
            if not refused.acquire(timeout=PATIENCE_S / 2):
                raise RuntimeError("another builder was neither turned away nor did it end")

    start.wait(PATIENCE_S / 2)
    try:
        return _build(model, shop, out, at_encoding=wait_for_the_others)
    finally:
        refused.release()


def _build(model: Path, shop: Path, out: Path, *, at_encoding: Any = None) -> str:  # noqa: ANN401 - a callable or none
    """Build under the stub; return the version. ``at_encoding`` is called while the lock is held."""
    with stub_encoder():
        if at_encoding is not None:
            save = StubEncoder.save
            StubEncoder.save = lambda self, folder: (at_encoding(), save(self, folder))[1]  # type: ignore[method-assign]
        return build(build_config(model), source=shop, out=out).version


def _names(ended: Ended, winners: list[int]) -> bool:
    """Whether a loser was refused as it should be: by BuildLocked, with the winner's pid and host."""
    named = re.search(r"is held by pid (\d+) on (\S+) since \S+ \(build shop\)", ended.error)
    told = named is not None and int(named[1]) in winners and named[2] == os.uname().nodename
    return ended.error.startswith("BuildLocked: ") and told


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
