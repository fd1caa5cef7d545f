"""Slip in a thousand vectors of NaN, infinity, zero or another length: each is named by its product, none is indexed.

They come from the encoder of a build, from the encoder of an upsert, in the vectors of a catalogue, and from the
function that encodes the queries.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from indexing.errors import ShortlistError, VectorError
from indexing.types import FloatMatrix
from retrieval.config import BadRows, EncoderConfig
from retrieval.records import Product
from shortlist.building.job import build
from shortlist.engine import SearchEngine
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.shop import (
    DIM,
    StubEncoder,
    build_config,
    scratch,
    stub_encoder,
    write_model,
    write_shop,
)

SEED = 7
AT_ONCE = 10
PRODUCTS = 40
POISONS: Mapping[str, Callable[[FloatMatrix], FloatMatrix]] = {
    "NaN": lambda vector: np.where(np.arange(DIM) == 3, np.float32(np.nan), vector),
    "infinity": lambda vector: np.where(np.arange(DIM) == 5, np.float32(np.inf), vector),
    "minus infinity": lambda vector: np.where(np.arange(DIM) == 0, np.float32(-np.inf), vector),
    "zero": np.zeros_like,
    "denormal": lambda vector: vector * np.float32(1e-42),
    "huge": lambda vector: vector * np.float32(3e38),
    "of length 1.01": lambda vector: vector * np.float32(1.01),
}
REFUSED_IN_CATALOGUE = ("NaN", "infinity", "minus infinity", "zero")  # there, other lengths are scaled and counted


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield one figure for every way in."""
    rounds = 5 if quick else 100
    with scratch() as folder:
        yield in_a_build(folder / "build", rounds=rounds)
        yield in_an_upsert(folder / "upsert", rounds=rounds)
        yield in_a_catalogue(folder / "catalogue", rounds=rounds)
        yield in_a_query(folder / "query", rounds=AT_ONCE * rounds)


class Poisoned(StubEncoder):
    """A stub whose vectors of some texts are poisoned; which ones is set on the class."""

    texts: Mapping[str, str] = {}

    def encode_products(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> FloatMatrix:
        """Encode, and spoil what is to be spoiled."""
        return poisoned(super().encode_products(texts, progress=progress), [self.texts.get(text, "") for text in texts])


def poisoned(vectors: FloatMatrix, poisons: Sequence[str]) -> FloatMatrix:
    """Spoil some of some vectors, each in its way; float32 [n, d]."""
    with np.errstate(all="ignore"):
        rows = [POISONS[poison](row) if poison else row for row, poison in zip(vectors, poisons, strict=True)]
    return np.ascontiguousarray(np.stack(rows), dtype=np.float32)


def in_a_build(folder: Path, *, rounds: int) -> Figure:
    """Build with an encoder that spoils ten texts, each of which two products have."""
    draw, failures, injected, reported = Random(SEED), list[str](), 0, 0
    model = write_model(folder / "model")
    for number in range(rounds):
        shop = write_shop(folder / f"shop-{number}", products=2 * PRODUCTS, titles=lambda place: f"red {place // 2}")
        chosen = draw.sample(range(PRODUCTS), AT_ONCE)
        Poisoned.texts = {f"red {place}": draw.choice(list(POISONS)) for place in chosen}
        # One segment, so that all of them are met at once; with more, the first bad segment ends the build.
        config, out = build_config(model, segment_texts=PRODUCTS), folder / f"out-{number}"
        with stub_encoder(Poisoned):
            error = refusal(partial(build, config, source=shop, out=out))
        wanted = {f"p{row:03d}" for place in chosen for row in (2 * place, 2 * place + 1)}
        found, expected = len(wanted & set(names(error))), len(wanted)
        injected, reported = injected + expected, reported + found
        failures += _unlike(f"round {number}", names(error), wanted, error)
        if (out / "CURRENT").exists() or list(out.glob("vectors/*/segment-*.json")):
            failures.append(f"round {number}: something was stored or published")
    return _figure("bad vectors in a build", injected, reported, failures)


def in_an_upsert(folder: Path, *, rounds: int) -> Figure:
    """Upsert products whose vectors are spoiled beside good ones: none of them is taken."""
    draw, failures, injected, reported = Random(SEED), list[str](), 0, 0
    Poisoned.texts = {}
    with stub_encoder(Poisoned):
        config = build_config(write_model(folder / "model"))
        build(config, source=write_shop(folder / "shop"), out=folder / "out")
        with SearchEngine.open(folder / "out", probe=False) as engine:
            before = engine.generation, engine.product_count
            for number in range(rounds):
                products = [Product(f"new-{place}", f"lamp {number} {place}") for place in range(PRODUCTS)]
                chosen = draw.sample(products, AT_ONCE)
                Poisoned.texts = {product.title: draw.choice(list(POISONS)) for product in chosen}
                error = refusal(partial(engine.upsert, products))
                wanted = {product.product_id for product in chosen}
                injected, reported = injected + AT_ONCE, reported + len(wanted & set(names(error)))
                failures += _unlike(f"round {number}", names(error), wanted, error)
                if (engine.generation, engine.product_count) != before:
                    failures.append(f"round {number}: something was taken")
    return _figure("bad vectors in an upsert", injected, reported, failures)


def in_a_catalogue(folder: Path, *, rounds: int) -> Figure:
    """Read catalogues that bring vectors: bad ones are named, or set aside and the rest is built."""
    draw, failures, injected, reported = Random(SEED), list[str](), 0, 0
    config = replace(build_config(write_model(folder / "model")), encoder=EncoderConfig(model=""))
    for number in range(rounds):
        source, wanted = _write_vectors(folder / f"shop-{number}", draw)
        error = refusal(partial(build, config, source=source, out=folder / f"failed-{number}"))
        if not all(f"'{product_id}'" in str(error) for product_id in sorted(wanted)):
            failures.append(f"round {number}: not all of {sorted(wanted)} are named in {error}")
        quarantined = replace(config, catalog=replace(config.catalog, on_bad_rows=BadRows.quarantine))
        out = folder / f"out-{number}"
        build(quarantined, source=source, out=out)
        aside = [json.loads(line) for path in out.rglob("quarantine.jsonl") for line in path.read_text().splitlines()]
        injected, reported = injected + AT_ONCE, reported + len(wanted & {row["product_id"] for row in aside})
        failures += _unlike(f"round {number}", [row["product_id"] for row in aside], wanted, error)
        with SearchEngine.open(out, probe=False) as engine:
            if engine.product_count != PRODUCTS - AT_ONCE:
                failures.append(f"round {number}: {engine.product_count} products were indexed")
    return _figure("bad vectors in a catalogue", injected, reported, failures)


def in_a_query(folder: Path, *, rounds: int) -> Figure:
    """Search with a function that returns spoiled vectors, or too few: refused, and never answered."""
    draw, failures, refused = Random(SEED), list[str](), 0
    model, poison = write_model(folder / "model"), [""]
    with stub_encoder():
        build(build_config(model), source=write_shop(folder / "shop"), out=folder / "out")
    stub = StubEncoder(model, EncoderConfig(model=str(model)))

    def encode(texts: Sequence[str]) -> FloatMatrix:
        vectors = stub.encode_queries(texts)
        return vectors[:-1] if poison[0] == "too few" else poisoned(vectors, [poison[0]] * len(texts))

    with SearchEngine.open(folder / "out", encoder=encode, probe=False) as engine:
        engine.search("red mouse")
        for number in range(rounds):
            poison[0] = draw.choice([*POISONS, "too few"])
            error = refusal(partial(engine.search_many, ["red mouse", "sofa"][: draw.randint(1, 2)]))
            refused += isinstance(error, VectorError)
            if not isinstance(error, VectorError):
                failures.append(f"round {number}, {poison[0]}: {error!r}")
    return _figure("bad vectors of queries", rounds, refused, failures)


def refusal(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises; ``None`` when it returns."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - it is judged by the caller
        return error
    return None


def names(error: BaseException | None) -> tuple[str, ...]:
    """Return the products that an error names."""
    return error.names if isinstance(error, VectorError) else ()


def _unlike(where: str, found: Sequence[str], wanted: set[str], error: BaseException | None) -> list[str]:
    if set(found) == wanted and len(found) == len(wanted) and isinstance(error, ShortlistError):
        return []
    return [f"{where}: expected {sorted(wanted)}, found {sorted(found)} with {type(error).__name__}: {error!s:.200}"]


def _figure(promise: str, injected: int, reported: int, failures: list[str]) -> Figure:
    counts = {"injected": injected, "reported": reported, "wrong": len(failures)}
    return Figure(promise, counts, tuple(failures), at_least={"injected": 1, "reported": injected})


def _write_vectors(folder: Path, draw: Random) -> tuple[Path, set[str]]:
    """Write a catalogue with vectors, ten of them bad; return it and their products."""
    folder.mkdir(parents=True)
    bad = set(draw.sample(range(PRODUCTS), AT_ONCE))
    generator = np.random.default_rng(draw.randrange(2**32))
    lines = []
    for place in range(PRODUCTS):
        vector = generator.standard_normal(DIM).astype(np.float32)
        poison = draw.choice(REFUSED_IN_CATALOGUE) if place in bad else ""
        cells = poisoned(vector[np.newaxis], [poison])[0].tolist()
        lines.append(json.dumps({"product_id": f"p{place:03d}", "title": f"red {place}", "vector": cells}))
    (folder / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder, {f"p{place:03d}" for place in bad}


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
