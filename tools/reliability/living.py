"""Upsert, delete, compact, build, roll back and search in any order: the answers are those of a catalogue built anew.

A state machine draws what happens, through two engines that stand for two processes. After every step the engine that
acted is held against what must be there, and its answers against those of a bundle that was built anew from exactly
these products, with the stored vector of each text: ids and their order, scores within 1e-6, filters, neighbours,
fields, counts.
"""

import gc
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from indexing.errors import SourceDataError
from retrieval.config import RuntimeConfig
from retrieval.records import Product
from shortlist.building.compact import compact
from shortlist.building.job import build
from shortlist.bundle import live_version, version_names
from shortlist.config import BuildConfig, CompactConfig
from shortlist.engine import SearchEngine
from shortlist.versions import rollback
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.living import (
    Change,
    Expected,
    Shown,
    built_anew,
    differences,
    nonsense_title,
    vectors_by_text,
    without_children,
)
from tools.reliability.harness.shop import WORDS, build_config, scratch, stub_encoder, warm_up, write_model, write_shop

SOURCES = 3
LISTED = 7
IDS = (*(f"p{number:03d}" for number in range(LISTED + 3)), "-5", "ä/ö 1", "x\u2028y")


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what the state machine came to."""
    with scratch() as folder:
        warm_up(folder / "first")
        yield in_any_order(folder / "living", examples=10 if quick else 100, steps=10 if quick else 25)


def in_any_order(folder: Path, *, examples: int, steps: int) -> Figure:
    """Run the state machine so many times, so many steps each."""
    folder.mkdir()
    LivingCatalogue.prepare(folder)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    failures: tuple[str, ...] = ()
    try:
        with stub_encoder(), without_children(), redirect_stderr(StringIO()):
            run_state_machine_as_test(LivingCatalogue, settings=chosen)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - with the steps that lead to it, as notes
        failures = ("\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]),)
    done, compared = LivingCatalogue.done, LivingCatalogue.compared
    counts = {"steps": sum(done.values()), **dict(sorted(done.items())), "compared": compared}
    much = 100 if examples >= 100 else 3
    few = dict.fromkeys(("upserts", "deletes", "builds", "compactions", "rollbacks"), much)
    few |= {"steps": 2_000, "compared": 1_500} if examples >= 100 else {"steps": 60, "compared": 40}
    return Figure("a living catalogue in any order", counts | {"differences": len(failures)}, failures, at_least=few)


def listed(source: int) -> list[Product]:
    """Return the products of a catalogue on disk; the price of product n of catalogue c is 10 c + n + .5."""
    return [
        Product(f"p{n:03d}", _title(source, n), price=10.0 * source + n + 0.5, extra={"stock": n % 4})
        for n in range(LISTED)
    ]


def _title(source: int, number: int) -> str:
    return f"{WORDS[(source + number) % 5]} {WORDS[number % len(WORDS)]} {number if number % 2 else ''}".strip()


def drawn_products() -> st.SearchStrategy[list[Product]]:
    """Draw one to three products of different ids; texts often equal others'."""
    product = st.builds(
        Product,
        product_id=st.sampled_from(IDS),
        title=st.integers(0, 40).map(nonsense_title),
        brand=st.sampled_from(["", "Acme"]),
        attributes=st.sampled_from([{}, {"colour": "black"}]),
        price=st.sampled_from([None, 0.0, 5.5, 1e9]),
        extra=st.fixed_dictionaries({}, optional={"stock": st.integers(0, 3), "eco": st.booleans()}),
    )
    return st.lists(product, min_size=1, max_size=3, unique_by=lambda one: one.product_id)


class LivingCatalogue(RuleBasedStateMachine):
    """A bundle, two engines that follow it, and what they should show."""

    folder: Path
    model: Path
    config: BuildConfig
    sources: list[Path]
    done: Counter[str]
    compared: int

    @classmethod
    def prepare(cls, folder: Path) -> None:
        """Write what all examples share."""
        cls.folder, cls.model, cls.done, cls.compared = folder, write_model(folder / "model"), Counter(), 0
        cls.config = build_config(cls.model)
        cls.config.text.fields = ["title", "brand", "attributes"]
        cls.sources = []
        for source in range(SOURCES):
            prices = 10.0 * source
            path = write_shop(
                folder / f"shop{source}",
                products=LISTED,
                titles=lambda number, source=source: _title(source, number),  # type: ignore[misc]
                first_price=prices,
            )
            cls.sources.append(path)

    def __init__(self) -> None:
        """Begin with a published version and two engines on it."""
        super().__init__()
        self.top = Path(tempfile.mkdtemp(dir=self.folder))
        self.root = self.top / "out"
        self.expected = Expected()
        self.fresh: dict[str, SearchEngine] = {}
        self._build(0, keep=0, restore=False)
        self.live = live_version(self.root)[0]
        self.engines = [SearchEngine.open(self.root, probe=False) for _ in range(2)]

    @rule(which=st.integers(0, 1), products=drawn_products())
    def upsert(self, which: int, products: list[Product]) -> None:
        """Add or replace."""
        self.done["upserts"] += 1
        engine = self.engines[which]
        before = self.expected.shown(engine.bundle.manifest.version)
        done = engine.upsert(products)
        assert done.new == sum(product.product_id not in before for product in products)
        self._changed(Change(done.sequence, came=tuple(products)), which)

    @rule(which=st.integers(0, 1), price=st.sampled_from([0.25, 7.0]), place=st.integers(0, 20))
    def reprice(self, which: int, price: float, place: int) -> None:
        """Change a price and a stock level, which encodes nothing."""
        engine = self.engines[which]
        shown = self.expected.shown(engine.bundle.manifest.version)
        if not shown:
            return
        self.done["repriced"] += 1
        product = replace(shown[sorted(shown)[place % len(shown)]], price=price)
        product = replace(product, extra={**product.extra, "stock": place % 4})
        done = engine.upsert([product])
        assert (done.encoded, done.new) == (0, 0), done
        self._changed(Change(done.sequence, came=(product,)), which)

    @rule(which=st.integers(0, 1), ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True))
    def delete(self, which: int, ids: list[str]) -> None:
        """Remove some that are there and some that are not."""
        self.done["deletes"] += 1
        engine = self.engines[which]
        before = self.expected.shown(engine.bundle.manifest.version)
        done = engine.delete(ids)
        assert set(done.unknown) == set(ids) - before.keys(), done
        self._changed(Change(done.sequence, went=tuple(ids)), which)

    @rule(
        which=st.integers(0, 1),
        product=st.sampled_from([Product("p001", ""), Product("new", "x", extra={"stock": "a"})]),
    )
    def refused(self, which: int, product: Product) -> None:
        """Upsert what breaks the rules beside what does not: nothing happens."""
        self.done["refused"] += 1
        try:
            self.engines[which].upsert([Product("fine", "fine sofa"), product])
        except SourceDataError:
            self._look(which)
        else:
            raise AssertionError(f"{product} was taken")

    @rule(keep=st.sampled_from([0, 2, 3]))
    def compact(self, keep: int) -> None:
        """Merge what the live version shows into a new one."""
        shown = self.expected.shown(self.live)
        if not shown:
            return
        self.done["compactions"] += 1
        report = compact(
            CompactConfig(runtime=RuntimeConfig(device="cpu", threads=1), keep_versions=keep), root=self.root
        )
        if report is None:
            assert shown == self.expected.contents[self.live]
            return
        assert report.encoded == 0, report
        self.live = report.version
        self.expected.published(self.live, shown, self.expected.seq)
        self._reload(0)

    @rule(source=st.integers(0, SOURCES - 1), keep=st.sampled_from([0, 2, 3]), restore=st.booleans())
    def build(self, source: int, keep: int, restore: bool) -> None:
        """Build from a catalogue that knows nothing of upserts and deletes."""
        self.done["builds"] += 1
        self._build(source, keep=keep, restore=restore)
        self._reload(1)

    @precondition(lambda self: len(version_names(self.root)) > 1)
    @rule(place=st.integers(0, 9))
    def go_back(self, place: int) -> None:
        """Make any other version live."""
        self.done["rollbacks"] += 1
        others = [name for name in version_names(self.root) if name != self.live]
        self.live = rollback(self.root, others[place % len(others)], probing=False).version
        self._reload(place % 2)

    @rule(which=st.integers(0, 1))
    def follow(self, which: int) -> None:
        """Let an engine see what the other one wrote."""
        self.done["followed"] += 1
        self.engines[which].follow()
        self._look(which)

    @rule(which=st.integers(0, 1))
    def reload(self, which: int) -> None:
        """Let an engine take what is live."""
        self.done["reloads"] += 1
        self._reload(which)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        """Start the process anew."""
        self.done["reopened"] += 1
        self.engines[which].close()
        self.engines[which] = SearchEngine.open(self.root, probe=False)
        assert self.engines[which].bundle.manifest.version == self.live
        self._look(which)

    def teardown(self) -> None:
        """Remove everything."""
        self.engines.clear()
        self.fresh.clear()
        gc.collect()
        shutil.rmtree(self.top)

    def _build(self, source: int, *, keep: int, restore: bool) -> None:
        config = replace(self.config, keep_versions=keep)
        gone, began = self.expected.deleted(), self.expected.seq
        content = {one.product_id: one for one in listed(source) if restore or one.product_id not in gone}
        back = tuple(one.product_id for one in listed(source) if one.product_id in gone)
        try:
            report = build(config, source=self.sources[source], out=self.root, restore_deleted=restore)
        except SourceDataError:
            assert not content
            return
        self.live = report.version
        self.expected.published(self.live, content, began)
        if restore and back:
            self.expected.changes.append(Change(began + 1, restored=back, as_of=began))

    def _changed(self, change: Change, which: int) -> None:
        assert change.seq == self.expected.seq + 1
        self.expected.changes.append(change)
        self._look(which)

    def _reload(self, which: int) -> None:
        self.engines[which].reload()
        self.engines[which].follow()
        assert self.engines[which].bundle.manifest.version == self.live
        self._look(which)

    def _look(self, which: int) -> None:
        """Hold an engine against a catalogue built anew."""
        engine = self.engines[which]
        version, _, seq = engine.generation.partition("+")
        shown = self.expected.shown(version, int(seq or self.expected.began[version]))
        type(self).compared += 1
        if not shown:
            assert engine.product_count == 0
            assert not engine.search("red mouse", k=20).hits
            return
        vectors, problems = vectors_by_text(engine)
        problems = problems or differences(engine, self._anew(shown, vectors), shown)
        assert not problems, "; ".join(problems[:3])

    def _anew(self, shown: Shown, vectors: dict[str, object]) -> SearchEngine:
        known = repr([sorted(shown.items()), sorted((text, vector.tobytes()) for text, vector in vectors.items())])  # type: ignore[attr-defined]
        if known not in self.fresh:
            out = self.top / f"anew{len(self.fresh)}"
            self.fresh[known] = built_anew(shown, vectors, config=self.config, model=self.model, out=out)  # type: ignore[arg-type]
        return self.fresh[known]


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
