"""What a living catalogue must show, known without the code that is tried: versions, changes, and what stands of them.

The rules are written down here a second time, in the plainest way, and a catalogue that was built anew says what the
answers are: an exact index, and no journal. Its encoder knows the vector of each text and makes none of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.types import FloatMatrix, FloatVector
from retrieval.catalog import BATCH_ROWS, ProductBatch, ReadReport
from retrieval.records import Judgment, Product, Query
from shortlist import loading
from shortlist.building.job import run_build
from shortlist.bundle import Bundle
from shortlist.config import BuildConfig, System
from shortlist.engine import SearchEngine
from shortlist.generation import Filters
from shortlist.probe import Probe
from tools.reliability.harness.shop import WORDS, StubEncoder, stub_encoder

TOLERANCE = 1e-6
QUERIES = ("red mouse", "steel lamp 7", "sofa", "mauve", "blue blue keyboard")
FILTERS: tuple[Filters, ...] = ([("price", "<", 6.0)], [("stock", "in", [1, 2])])
SYSTEMS = (System.bm25, System.dense, System.hybrid)

Shown = Mapping[str, Product]
"""product_id -> product, of everything that can be found."""


@dataclass(frozen=True, slots=True)
class Change:
    """A record of the journal: products that came, ids that went, or ids that a build begun at ``as_of`` restored."""

    seq: int
    came: tuple[Product, ...] = ()
    went: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    as_of: int = 0


@dataclass(slots=True)
class Expected:
    """What a bundle must show, whichever of its versions is live.

    Attributes:
        contents: Version -> the products that it was built from.
        began: Version -> the last change before its build began.
        changes: Everything since the beginning; nothing is ever folded here.
    """

    contents: dict[str, Shown] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def seq(self) -> int:
        """Number of the last change."""
        return self.changes[-1].seq if self.changes else 0

    def published(self, version: str, content: Shown, began: int) -> None:
        """Take note of a version."""
        self.contents[version], self.began[version] = content, began

    def shown(self, version: str, upto: int | None = None) -> Shown:
        """Return what a version shows once the changes up to a number were applied; ``None`` means all."""
        began, gone, newer = self.began[version], dict[str, int](), dict[str, Product]()
        for change in self.changes:
            if upto is not None and change.seq > upto:
                break
            for product in change.came:
                gone.pop(product.product_id, None)
                if change.seq > began:
                    newer[product.product_id] = product
            for product_id in change.went:
                gone[product_id] = change.seq
                newer.pop(product_id, None)
            if change.as_of <= began:
                for product_id in change.restored:
                    if gone.get(product_id, change.seq) <= change.as_of:
                        del gone[product_id]
        own = {name: product for name, product in self.contents[version].items() if name not in gone}
        return {**own, **newer}

    def deleted(self) -> set[str]:
        """Return the ids that a build which begins now leaves out."""
        gone = dict[str, int]()
        for change in self.changes:
            gone |= dict.fromkeys(change.went, change.seq)
            for product in change.came:
                gone.pop(product.product_id, None)
            for product_id in change.restored:
                if gone.get(product_id, change.seq) <= change.as_of:
                    del gone[product_id]
        return set(gone)


@dataclass
class Listed:
    """A catalogue of the products in a list.

    Attributes:
        listed: The products.
        name: For the manifest.
        report: What was read so far.
    """

    listed: Sequence[Product]
    name: str = "listed"
    report: ReadReport = field(default_factory=ReadReport)

    def files(self) -> list[Path]:
        """Return none."""
        return []

    def products(self, *, quarantine: Path | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[ProductBatch]:
        """Yield them all at once; see `retrieval.catalog.Catalog.products`."""
        self.report = ReadReport(rows=len(self.listed), accepted=len(self.listed))
        yield ProductBatch(tuple(self.listed))

    def queries(self) -> list[Query]:
        """Return none."""
        return []

    def judgments(self) -> list[Judgment]:
        """Return none."""
        return []

    def splits(self) -> dict[str, str]:
        """Return none."""
        return {}


class Remembering(StubEncoder):
    """A stub that gives every product text the vector that is remembered for it, and fails on any other."""

    remembered: Mapping[str, FloatVector]

    def encode_products(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> FloatMatrix:
        """Return the remembered vectors, float32 [n, d]."""
        return np.stack([self.remembered[text] for text in texts])


@contextmanager
def without_children() -> Iterator[None]:
    """Load versions without the child that tries them first: a second each, and here it is not what is tried."""

    class Unneeded(Probe):
        def __init__(self, bundle: Bundle, *, needed: bool = True, timeout_s: float | None = None) -> None:
            super().__init__(bundle, needed=False, timeout_s=timeout_s)

    loading.Probe = Unneeded  # type: ignore[misc]
    try:
        yield
    finally:
        loading.Probe = Probe  # type: ignore[misc]


def vectors_by_text(engine: SearchEngine) -> tuple[dict[str, FloatVector], list[str]]:
    """Return the vector of every text that an engine shows, and what is wrong: a text with two, bit by bit."""
    generation = engine._generation
    rows = generation.products.there
    known, problems = dict[str, FloatVector](), list[str]()
    for row, vector in zip(rows, generation.vectors.take(rows), strict=True):
        text = generation.living.layers.text(generation.products.get(int(row)))
        if not np.array_equal(known.setdefault(text, vector), vector):
            problems.append(f"two vectors for the text {text!r}")
    return known, problems


def built_anew(
    shown: Shown, vectors: Mapping[str, FloatVector], *, config: BuildConfig, model: Path, out: Path
) -> SearchEngine:
    """Build a bundle of these products in ``out``, which is new, and open it.

    Args:
        shown: What there is.
        vectors: The vector of each text.
        config: As for the living bundle, but for the index, which is an exact one.
        model: The encoder's folder.
        out: A new folder.
    """
    storage.make_folder(out)
    stub = type("Remembers", (Remembering,), {"remembered": vectors})
    with stub_encoder(stub):
        run_build(replace(config), Listed(list(shown.values())), model, out, ())
        return SearchEngine.open(out, probe=False)


def differences(found: SearchEngine, fresh: SearchEngine, shown: Shown) -> list[str]:
    """Ask both the same in many ways and return where ids, scores or products differ."""
    problems = [] if found.product_count == len(shown) else [f"{found.product_count} products, not {len(shown)}"]
    depth = len(shown) + 5
    for query in QUERIES:
        for system in SYSTEMS:
            (ours, _), (theirs, _) = (e.run(query, system, depth=depth, run_depth=depth) for e in (found, fresh))
            problems += _compare(f"{system.name} {query!r}", ours, theirs)
    for filters in FILTERS:
        ours, theirs = (
            _asked(e, lambda e, f=filters: e.search(QUERIES[0], k=depth, filters=f)) for e in (found, fresh)
        )  # type: ignore[misc]
        problems += _compare(f"filtered by {filters}", ours, theirs)
    for product_id, product in list(shown.items())[:3]:
        ours, theirs = (_asked(e, lambda e, p=product_id: e.similar(p, k=depth)) for e in (found, fresh))  # type: ignore[misc]
        problems += _compare(f"similar to {product_id!r}", ours, theirs)
        if _bare(found.product(product_id)) != _bare(product):
            problems.append(f"{product_id!r} is {found.product(product_id)}, not {product}")
    return problems


def _asked(engine: SearchEngine, ask: Callable[[SearchEngine], object]) -> list[tuple[str, float]]:
    return [(hit.product_id, hit.score) for hit in ask(engine).hits]  # type: ignore[attr-defined]


def _compare(what: str, ours: Sequence[tuple[str, float]], theirs: Sequence[tuple[str, float]]) -> list[str]:
    ids = [[product_id for product_id, _ in answer] for answer in (ours, theirs)]
    if ids[0] != ids[1]:
        return [f"{what}: found {ids[0]}, built anew {ids[1]}"]
    worst = max((abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True)), default=0.0)
    return [f"{what}: a score is {worst:.2e} off"] if not worst <= TOLERANCE else []


def _bare(product: Product) -> Product:
    """Return a product without the columns it has no value in: those depend on what else is there."""
    return replace(product, extra={name: value for name, value in product.extra.items() if value is not None})


def nonsense_title(number: int) -> str:
    """Return titles that somebody might have, one a number: words of the shop, and what else texts are made of."""
    odd = ("🪑 chair", "<b>lamp</b>", "kitap ışık", "مصباح usb", "e\u0301clair sofa", "a" * 300, "\u2028 line", "NULL")
    if number % 5 == 0:
        return odd[number // 5 % len(odd)]
    return " ".join(WORDS[(number * (place + 1) + place) % len(WORDS)] for place in range(1 + number % 4))
