"""A deleted product returns only by a later upsert: not from any thread, build, compaction, rollback or killed process.

Searches from several threads of two engines while products are deleted for good, others come and go, and versions are
built, compacted, rolled back and reloaded below them: what was deleted when a search began is never in its answer. Then
builds that began before a delete and publish after it, and the rollback after that. Then writers that are killed at any
moment: what a call had acknowledged is there, and nothing else is half there.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from retrieval.config import RuntimeConfig
from retrieval.records import Product, SearchResult
from shortlist.building.compact import compact
from shortlist.building.job import build
from shortlist.bundle import version_names
from shortlist.config import BuildConfig, CompactConfig
from shortlist.engine import SearchEngine
from shortlist.jobs.living import delete_products
from shortlist.versions import rollback
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.living import without_children
from tools.reliability.harness.processes import Child, in_child
from tools.reliability.harness.shop import (
    WORDS,
    StubEncoder,
    build_config,
    scratch,
    stub_encoder,
    warm_up,
    write_model,
    write_shop,
)

THREADS = 8
PRODUCTS = 400
LEAST_LEFT = 60
"""Products of the source that stay, so that every search finds something."""

RUNTIME = RuntimeConfig(device="cpu", threads=1)

ASKED: tuple[Callable[[SearchEngine, str], list[SearchResult]], ...] = (
    lambda engine, query: [engine.search(query, k=20)],
    lambda engine, query: [engine.search(query, k=20, filters=[("price", ">", 0.0)])],
    lambda engine, query: engine.search_many([query, f"{query} sofa"], k=20),
    lambda engine, _query: [engine.similar(f"p{PRODUCTS - 1:03d}", k=20)],
)


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what came of searches, of builds that overlap deletes, and of killed writers; forks first."""
    with scratch() as folder, without_children(), redirect_stderr(StringIO()):
        warm_up(folder / "first")
        yield killed_writers(folder / "killed", rounds=4 if quick else 100)
        yield overlapping_builds(folder / "overlapping", rounds=2 if quick else 40)
        yield under_load(folder / "load", searches=2_000 if quick else 100_000)


# --- searches ---------------------------------------------------------------------------------------------------------


def under_load(folder: Path, *, searches: int) -> Figure:
    """Search from threads while the catalogue lives, until ``searches`` were answered."""
    config, source, out = _shop(folder, products=PRODUCTS)
    with stub_encoder():
        build(config, source=source, out=out)
        with SearchEngine.open(out, probe=False) as writer, SearchEngine.open(out, probe=False) as follower:
            world = _World(config, source, out, writer, follower)
            askers = [_Asker(world, number, searches // THREADS) for number in range(THREADS)]
            for asker in askers:
                asker.start()
            while any(asker.is_alive() for asker in askers):
                world.step()
            for asker in askers:
                asker.join()
    failures = [problem for asker in askers for problem in asker.problems]
    counts = {
        "searches": sum(asker.answered for asker in askers),
        "threads": THREADS,
        "deleted_for_good": len(world.gone),
        "hits": sum(asker.hits for asker in askers),
        **dict(sorted(world.done.items())),
        "returned": len(failures),
    }
    few = {"searches": searches, "deleted_for_good": 5, "versions": 2}
    return Figure("deleted products in answers", counts, tuple(failures), at_least=few)


class _World:
    """What happens to the bundle meanwhile, in the thread that calls `step`."""

    def __init__(
        self, config: BuildConfig, source: Path, out: Path, writer: SearchEngine, follower: SearchEngine
    ) -> None:
        self.config, self.source, self.out = config, source, out
        self.writer, self.follower = writer, follower
        self.gone: frozenset[str] = frozenset()  # deleted for good, and both engines have seen it
        self.done = dict.fromkeys(("versions", "rollbacks", "upserts"), 0)
        self._draw = random.Random(5)
        self._left = [f"p{number:03d}" for number in range(PRODUCTS - LEAST_LEFT)]
        self._draw.shuffle(self._left)
        self._steps = 0

    def step(self) -> None:
        """Do one thing, and now and then publish a version."""
        self._steps += 1
        coming = [Product(f"x{self._draw.randrange(40)}", " ".join(self._draw.sample(WORDS, 2)), price=1.0)]
        if self._draw.random() < 0.5:
            self.writer.upsert(coming)
            self.done["upserts"] += 1
        else:
            self.writer.delete([coming[0].product_id])
        if self._left and self._steps % 4 == 0:
            going = [self._left.pop() for _ in range(min(2, len(self._left)))]
            self.writer.delete(going)
            self.follower.follow()
            self.gone |= set(going)
        if self._steps % 9 == 0:
            self._publish()
            self.writer.reload()
            self.follower.reload()

    def _publish(self) -> None:
        kind = self._draw.choice(("build", "compact", "rollback"))
        if kind == "rollback" and len(version_names(self.out)) > 1:
            others = version_names(self.out)[:-1]
            live = self.writer.bundle.manifest.version
            rollback(self.out, next(name for name in [*others, version_names(self.out)[-1]] if name != live))
            self.done["rollbacks"] += 1
        elif kind == "compact":
            done = compact(CompactConfig(runtime=RUNTIME, keep_versions=3), root=self.out)
            self.done["versions"] += done is not None
        else:
            build(replace(self.config, keep_versions=3), source=self.source, out=self.out)
            self.done["versions"] += 1


class _Asker(threading.Thread):
    """Searches and looks for what was deleted before it asked."""

    def __init__(self, world: _World, number: int, count: int) -> None:
        super().__init__()
        self._world, self._count, self._draw = world, count, random.Random(number)
        self._engine = world.writer if number % 2 else world.follower
        self.answered = self.hits = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while self.answered < self._count:
            gone = self._world.gone  # before the question
            try:
                results = self._draw.choice(ASKED)(self._engine, " ".join(self._draw.sample(WORDS, 2)))
            except Exception as error:  # noqa: BLE001 - none is expected
                self.problems.append(f"{type(error).__name__}: {error}")
                results = []
            found = [hit.product_id for result in results for hit in result.hits]
            self.problems += [f"{name!r} was deleted and is in an answer" for name in gone.intersection(found)]
            self.hits += len(found)
            self.answered += 1


# --- builds that overlap ----------------------------------------------------------------------------------------------


def overlapping_builds(folder: Path, *, rounds: int) -> Figure:
    """Delete while a build runs, at a drawn step of it; then roll back, build again and compact."""
    config, source, out = _shop(folder, products=12)
    looked, failures = 0, list[str]()
    with stub_encoder():
        build(config, source=source, out=out)
    for number in range(rounds):
        deleted = f"p{number % 10:03d}"
        stub = type(
            "Overlapped", (_Overlapped,), {"at": number % 3, "act": partial(delete_products, [deleted], root=out)}
        )
        with stub_encoder(stub):
            report = build(config, source=source, out=out)
        if number % 2:
            _rewrite_titles(source, number)  # so that the next build encodes, and has a moment to be met in
        then: dict[str, Callable[[], object]] = {
            "it was published": lambda: None,
            "a rollback": lambda: rollback(out, probing=False),
            "another rollback": lambda report=report: rollback(out, report.version, probing=False),  # type: ignore[misc]
            "another build": lambda: build(config, source=source, out=out),
            "compacting": lambda: compact(CompactConfig(runtime=RUNTIME, keep_versions=3), root=out),
        }
        for what, act in then.items():
            with stub_encoder():
                act()
                looked += 1
                failures += [f"round {number}: {deleted} is back after {what}"] if _shows(out, deleted) else []
        with stub_encoder(), SearchEngine.open(out, probe=False) as engine:
            engine.upsert([Product(deleted, f"{WORDS[0]} again")])
            back = _shows(out, deleted)
            failures += [] if back else [f"round {number}: {deleted} did not come back by an upsert"]
    counts = {"rounds": rounds, "looked": looked, "returned": len(failures)}
    return Figure("deleted during a build", counts, tuple(failures), at_least={"looked": 5 * rounds})


class _Overlapped(StubEncoder):
    """Meets a build when it opens the encoder, encodes its first query, or saves the model."""

    at: int
    act: Callable[[], object]
    waiting = True

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - as the stub
        super().__init__(*arguments)
        self._meet(0)

    def encode_queries(self, texts: Any) -> Any:  # noqa: ANN401 - as above
        self._meet(1)
        return super().encode_queries(texts)

    def save(self, folder: Path) -> None:
        self._meet(2)
        super().save(folder)

    def _meet(self, place: int) -> None:
        if place == self.at and type(self).waiting:
            type(self).waiting = False
            type(self).act()


def _shows(out: Path, product_id: str) -> bool:
    with SearchEngine.open(out, probe=False) as engine:
        found = {hit.product_id for word in WORDS for hit in engine.search(word, k=20).hits}
        try:
            engine.product(product_id)
        except KeyError:
            return product_id in found
        return True


def _rewrite_titles(source: Path, number: int) -> None:
    path = source / "products.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(line.replace('", "price"', f' v{number}", "price"') + "\n" for line in lines), "utf-8")


# --- killed writers ---------------------------------------------------------------------------------------------------


def killed_writers(folder: Path, *, rounds: int) -> Figure:
    """Kill a process that upserts and deletes without a pause, by the clock, and read what it had been told."""
    config, source, published = _shop(folder, products=12)
    ended = in_child(lambda: _build_only(config, source, published))
    if ended.error:
        return Figure("killed writers", {}, (ended.error,))
    draw, failures, acknowledged, kills = random.Random(3), list[str](), 0, 0
    for number in range(rounds):
        out, told = folder / "out", folder / "told"
        shutil.copytree(published, out)
        child = Child(partial(_write_until_killed, out, told, number))
        least_bytes = draw.randint(4, 60)  # some calls have returned, however busy the machine is
        while not _is_gone(child.pid) and (not told.exists() or told.stat().st_size < least_bytes):
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.01))
        os.kill(child.pid, signal.SIGKILL)
        kills += child.wait().signal == signal.SIGKILL
        names = told.read_text(encoding="utf-8").split("\n")[:-1]  # the last line may be half of one
        acknowledged += len(names)
        seen = in_child(lambda: _seen(out, names))  # noqa: B023 - called at once
        failures += [f"round {number}: {seen.value or seen.error}"] if seen.value != "" else []
        shutil.rmtree(out)
        told.unlink()
    counts = {"rounds": rounds, "kills": kills, "acknowledged": acknowledged, "lost": len(failures)}
    return Figure("killed writers", counts, tuple(failures), at_least={"kills": rounds, "acknowledged": rounds})


def _write_until_killed(out: Path, told: Path, seed: int) -> None:
    """Upsert n and delete n - 3 in turn, and write down every call that has returned."""
    with stub_encoder(), SearchEngine.open(out, probe=False) as engine, told.open("a", encoding="utf-8") as file:
        for number in range(1_000_000):
            engine.upsert([Product(f"k{number}", f"{WORDS[(number + seed) % 12]} {number}")])
            file.write(f"+k{number}\n")
            file.flush()
            engine.delete([f"k{number - 3}"])
            file.write(f"-k{number - 3}\n")
            file.flush()


def _seen(out: Path, told: list[str]) -> str:
    """Return what is lost of what was acknowledged; the last call may have been done without a word of it."""
    with stub_encoder(), SearchEngine.open(out, probe=False) as engine:
        there = {name[1:] for name in told if name[0] == "+"} - {name[1:] for name in told if name[0] == "-"}
        products = engine._generation.products
        ids = {products.product_id(int(row)) for row in products.there}
        found = {product_id for product_id in ids if product_id.startswith("k")}
        engine.upsert([Product("after", "sofa")])
        if len(found ^ there) > 1:
            return f"{sorted(found ^ there)} differ"
        return "" if engine.product("after").title == "sofa" else "the next upsert does not show"


def _is_gone(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# --- parts ------------------------------------------------------------------------------------------------------------


def _shop(folder: Path, *, products: int) -> tuple[BuildConfig, Path, Path]:
    folder.mkdir()
    config = build_config(write_model(folder / "model"), segment_texts=64)
    return config, write_shop(folder / "shop", products=products), folder / "bundle"


def _build_only(config: BuildConfig, source: Path, out: Path) -> None:
    with stub_encoder():
        build(config, source=source, out=out)


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
