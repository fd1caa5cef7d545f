"""Builds, readers, collections and rollbacks in any order: nobody is ever answered by half a version, or by none.

A state machine draws what happens next: builds, some of them interrupted at a drawn call, engines opened, asked and
closed, collections, rollbacks. What each version must answer is known from the catalogue it was built from. Then the
same with processes of their own: readers open, ask and close as fast as they can while a builder publishes and
collects.
"""

import gc
import multiprocessing
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from indexing import storage
from shortlist.building.job import build
from shortlist.bundle import live_version, open_version, version_names
from shortlist.config import BuildConfig
from shortlist.engine import SearchEngine
from shortlist.versions import clean, rollback
from tools.reliability.harness.calls import CountedFileSystem
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.processes import Child
from tools.reliability.harness.shop import WORDS, build_config, scratch, stub_encoder, warm_up, write_model, write_shop

CATALOGUES = 4
PRODUCTS = 6
STEPS = 25
READERS = 3

Answer = tuple[tuple[str, str, float | None], ...]
"""Product ids, titles and prices of everything a query finds; prices tell the catalogue."""


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what the state machine and the processes came to."""
    with scratch() as folder:
        warm_up(folder / "first")
        yield in_processes(folder / "processes", builds=12 if quick else 200)
        yield in_any_order(folder / "orders", examples=3 if quick else 120)


class Shops:
    """Catalogues that no answer can be mistaken for another's, and the answers to expect."""

    def __init__(self, folder: Path) -> None:
        """Write them; the price of product n of catalogue c is 100 c + n + .5."""
        self.config: BuildConfig = build_config(write_model(folder / "model"))
        self.sources = [self._write(folder / f"shop{number}", number) for number in range(CATALOGUES)]

    def expected(self, number: int) -> Answer:
        """Return what a search that finds everything answers, in the order of the product ids."""
        return tuple((f"p{n:03d}", _title(number, n), 100.0 * number + n + 0.5) for n in range(PRODUCTS))

    def _write(self, folder: Path, number: int) -> Path:
        write_shop(folder, products=PRODUCTS, titles=partial(_title, number), first_price=100.0 * number)
        return folder


def _title(catalogue: int, number: int) -> str:
    return f"{WORDS[0]} {WORDS[(catalogue + number) % len(WORDS)]} {WORDS[number]}"


def ask(engine: SearchEngine) -> Answer:
    """Return everything that an engine finds, in the order of the product ids."""
    hits = engine.search(WORDS[0], k=2 * PRODUCTS).hits
    return tuple(sorted((hit.product_id, hit.product.title, hit.product.price) for hit in hits))


# --- in any order -----------------------------------------------------------------------------------------------------


def in_any_order(folder: Path, *, examples: int) -> Figure:
    """Run the state machine."""
    folder.mkdir()
    Lifetimes.shops, Lifetimes.folder, Lifetimes.done = Shops(folder), folder, Counter()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    failures: tuple[str, ...] = ()
    try:
        with stub_encoder(), redirect_stderr(StringIO()):
            run_state_machine_as_test(Lifetimes, settings=chosen)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - with the steps that lead to it, as notes
        failures = ("\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]),)
    done = Lifetimes.done
    counts = {"steps": sum(done.values()), **dict(sorted(done.items())), "read_errors": len(failures)}
    return Figure("lifetimes in any order", counts, failures, at_least={"steps": 30 if examples < 100 else 2000})


class Lifetimes(RuleBasedStateMachine):
    """A bundle, and what the world should see of it."""

    shops: Shops
    folder: Path
    done: Counter[str]

    def __init__(self) -> None:
        """Begin with a published version."""
        super().__init__()
        self.top = Path(tempfile.mkdtemp(dir=self.folder))
        self.root = self.top / "out"
        self.catalogue: dict[str, int] = {}
        self.live = ""
        self.engines: list[SearchEngine] = []
        self.build(0, 3)

    @rule(catalogue=st.integers(0, CATALOGUES - 1), keep=st.sampled_from([0, 2, 3]))
    def build(self, catalogue: int, keep: int) -> None:
        """Publish a version."""
        self.done["builds"] += 1
        self.live = self._build(catalogue, keep)
        self.catalogue[self.live] = catalogue

    @rule(catalogue=st.integers(0, CATALOGUES - 1), at=st.integers(1, 260))
    def interrupted_build(self, catalogue: int, at: int) -> None:
        """Press Ctrl-C at a call; the new version may be live by then."""

        def interrupt(number: int, _name: str, _arguments: tuple[Any, ...]) -> None:
            if number == at:
                raise KeyboardInterrupt

        self.done["interrupted"] += 1
        before = version_names(self.root)
        with suppress(KeyboardInterrupt), storage.using(CountedFileSystem(interrupt)):
            self._build(catalogue, 3)
        published = [name for name in version_names(self.root) if name not in before]
        self.catalogue |= dict.fromkeys(published, catalogue)
        found, _ = live_version(self.root)
        assert found in (self.live, *published), f"{found} is live, expected {self.live} or {published}"
        self.live = found

    @rule()
    def open(self) -> None:
        """Open what is live."""
        self.done["opens"] += 1
        engine = SearchEngine.open(self.root, probe=False)
        assert engine.generation == self.live
        self.engines.append(engine)

    @precondition(lambda self: self.engines)
    @rule(which=st.integers(0, 9))
    def search(self, which: int) -> None:
        """Ask an open engine, however old."""
        self.done["searches"] += 1
        engine = self.engines[which % len(self.engines)]
        assert ask(engine) == self.shops.expected(self.catalogue[engine.generation])

    @precondition(lambda self: self.engines)
    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        """Let go of an engine."""
        self.done["closes"] += 1
        del self.engines[which % len(self.engines)]
        gc.collect()

    @rule(keep=st.sampled_from([2, 3]))
    def collect(self, keep: int) -> None:
        """Remove what is superseded and not open."""
        self.done["collections"] += 1
        collected = clean(self.root, keep=keep)
        opened = {engine.generation for engine in self.engines}
        assert not opened & set(collected.removed)
        assert set(collected.in_use) <= opened
        assert len(version_names(self.root)) <= keep + len(opened)

    @precondition(lambda self: min(version_names(self.root)) < self.live)
    @rule()
    def go_back(self) -> None:
        """Roll back to the version before."""
        self.done["rollbacks"] += 1
        self.live = rollback(self.root, probing=False).version

    @invariant()
    def what_is_live_is_whole_and_what_is_open_is_there(self) -> None:
        """Look at everything that is published."""
        assert live_version(self.root)[0] == self.live
        names = version_names(self.root)
        assert {engine.generation for engine in self.engines} <= set(names)
        for name in names:
            open_version(self.root, name)

    def teardown(self) -> None:
        """Remove everything."""
        self.engines.clear()
        shutil.rmtree(self.top)

    def _build(self, catalogue: int, keep: int) -> str:
        self.shops.config.keep_versions = keep
        return build(self.shops.config, source=self.shops.sources[catalogue], out=self.root).version


# --- in processes -----------------------------------------------------------------------------------------------------


def in_processes(folder: Path, *, builds: int) -> Figure:
    """Let readers open, ask and close while a builder publishes versions and removes superseded ones."""
    folder.mkdir()
    shops, out = Shops(folder), folder / "out"
    started, stopped = multiprocessing.get_context("fork").Event(), multiprocessing.get_context("fork").Event()
    builder = Child(partial(_publish, shops, out, builds, started, stopped))
    readers = [Child(partial(_read, shops, out, number, started, stopped)) for number in range(READERS)]
    ended = [child.wait(patience_s=600) for child in (builder, *readers)]
    failures = [f"a process ended badly: {end}" for end in ended if end.value is None]
    failures += [problem for end in ended[1:] for problem in (end.value or {}).get("problems", ())]
    opens = sum((end.value or {}).get("opens", 0) for end in ended[1:])
    generations = sum((end.value or {}).get("generations", 0) for end in ended[1:])
    removed = (ended[0].value or {}).get("removed", 0)
    counts = {"builds": builds, "removed": removed, "opens": opens, "generations_read": generations}
    few = {"opens": builds // 2, "removed": builds // 4}
    return Figure("lifetimes in processes", counts | {"read_errors": len(failures)}, tuple(failures), at_least=few)


def _publish(shops: Shops, out: Path, builds: int, started: Any, stopped: Any) -> dict[str, int]:  # noqa: ANN401
    shops.config.keep_versions = 2
    published = []
    try:
        with stub_encoder():
            for number in range(builds):
                published.append(build(shops.config, source=shops.sources[number % CATALOGUES], out=out).version)
                started.set()
    finally:
        stopped.set()
    return {"removed": len(set(published) - set(version_names(out)))}


def _read(shops: Shops, out: Path, number: int, started: Any, stopped: Any) -> dict[str, Any]:  # noqa: ANN401
    """Open, hold a few engines for a while, ask all of them, and say what was wrong."""
    generator = random.Random(number)
    right = {shops.expected(catalogue) for catalogue in range(CATALOGUES)}
    problems, seen, opens, held = list[str](), set[str](), 0, list[tuple[SearchEngine, Answer]]()
    started.wait(60)
    with stub_encoder():
        while not stopped.is_set():
            try:
                engine = SearchEngine.open(out, probe=False)
                held.append((engine, ask(engine)))
                problems += [f"a mixed answer of {engine.generation}"] if held[-1][1] not in right else []
                problems += [f"{e.generation} answers otherwise now" for e, answer in held if ask(e) != answer]
                seen.add(engine.generation)
            except Exception as error:  # noqa: BLE001 - none is expected
                problems.append(f"{type(error).__name__}: {error}")
            opens += 1
            if len(held) > generator.randint(0, 4):
                del held[generator.randrange(len(held))]
            engine = None  # type: ignore[assignment]
    return {"problems": problems[:20], "opens": opens, "generations": len(seen)}


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
