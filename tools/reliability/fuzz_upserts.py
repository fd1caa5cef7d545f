"""Upsert hostile products into an open engine: taken whole or refused by name, and whoever opens it next sees the same.

A record that is durable and cannot be read or applied again would lock everybody out of the bundle. So products of the
texts and values that have broken things before (halves of surrogate pairs, numbers beyond 64 bits and beyond every
float, columns that change their kind, no products at all) are upserted and deleted, and the bundle is opened again and
again: counts, ids, scores and fields are those of the engine that took them.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

from indexing.errors import ShortlistError
from retrieval.records import Product
from shortlist.building.job import build
from shortlist.engine import SearchEngine
from shortlist.living.journal import Journal
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.hostile import HUGE, NO_TEXTS, TEXTS
from tools.reliability.harness.shop import WORDS, build_config, scratch, stub_encoder, write_model, write_shop

SEED = 11
PRODUCTS = 12
LOOK_EVERY = 40
CLOSE = 1e-12
"""How far, relatively, a whole number may be off that shared its column with decimals: 53 bits."""

HARMLESS = tuple(kind for kind in TEXTS if kind != "a megabyte" and "surrogate" not in kind and "alone" not in kind)
COLUMNS = ("stock", "b", "c", "Ü", "", " ", "a.b", "vector")
RESERVED = ("title", "attributes", "attributes.x", "product_id")


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what became of the products."""
    with scratch() as folder, stub_encoder(), redirect_stderr(StringIO()):
        yield upserts(folder, count=80 if quick else 4_000)


def upserts(folder: Path, *, count: int) -> Figure:
    """Upsert so many times, and open the bundle again now and then."""
    draw, out, failures = Random(SEED), folder / "bundle", list[str]()
    build(build_config(write_model(folder / "model")), source=write_shop(folder / "shop", products=PRODUCTS), out=out)
    done = {"calls": count, "taken": 0, "refused": 0, "deleted": 0, "reopened": 0}
    with SearchEngine.open(out, probe=False) as engine:
        for number in range(count):
            before = Journal(out).last_seq()
            given = [_product(draw, number) for _ in range(draw.randint(1, 3))]
            try:
                engine.upsert(given)
                done["taken"] += 1
            except ShortlistError as error:
                done["refused"] += 1
                if Journal(out).last_seq() != before:
                    failures.append(f"call {number} was written and refused: {error}")
            except Exception as error:  # noqa: BLE001 - one without a type of ours is a finding
                failures.append(f"call {number}: {type(error).__name__}: {str(error)[:200]}")
            if draw.random() < 0.2:
                engine.delete([f"p{draw.randrange(PRODUCTS):03d}", f"n{draw.randrange(number + 1)}"])
                done["deleted"] += 1
            if number % LOOK_EVERY == LOOK_EVERY - 1:
                done["reopened"] += 1
                failures += [f"after call {number}: {problem}" for problem in _differences(engine, out)]
    few = {"taken": count // 4, "refused": count // 4, "reopened": 2}
    return Figure("hostile upserts", {**done, "wrong": len(failures)}, tuple(failures), at_least=few)


def _product(draw: Random, number: int) -> Any:  # noqa: ANN401 - some are no products
    """Draw a product; one of four breaks a rule."""
    if draw.random() < 0.25:
        return _bad_product(draw, number)
    return Product(
        product_id=draw.choice([f"n{number}-{draw.randrange(99)}", f"p{draw.randrange(PRODUCTS):03d}", _text(draw)]),
        title=f"{draw.choice(WORDS)} {_text(draw)}",
        description=_text(draw) if draw.random() < 0.3 else "",
        brand=_text(draw) if draw.random() < 0.3 else "",
        attributes={_text(draw): _text(draw) for _ in range(draw.randrange(3))},
        price=draw.choice([None, 0.0, -0.0, 1.5, 5, 1e308, math.nan]),
        extra={draw.choice(COLUMNS): _value(draw) for _ in range(draw.randrange(3))},
    )


def _bad_product(draw: Random, number: int) -> Any:  # noqa: ANN401 - as above
    bad: dict[str, Any] = {"product_id": f"n{number}", "title": "sofa"}
    match draw.randrange(5):
        case 0:
            bad[draw.choice(["product_id", "title", "brand"])] = draw.choice([*NO_TEXTS, HUGE, "", " ", "\ud800"])
        case 1:
            bad["price"] = draw.choice([-1.0, math.inf, "3", True, HUGE, [1]])
        case 2:
            bad["extra"] = {draw.choice(COLUMNS): draw.choice([*NO_TEXTS, HUGE, "\ud800"])}
        case 3:
            bad["extra"] = {draw.choice(RESERVED): 1}
        case _:
            bad["attributes"] = draw.choice([5, "no json", [1], {"a": "\ud800"}, {"a": HUGE}, {"\udc00": "a"}])
    return Product(**bad)


def _text(draw: Random) -> str:
    return TEXTS[draw.choice(HARMLESS)](draw)


def _value(draw: Random) -> Any:  # noqa: ANN401 - as above
    whole = (0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**300)
    kinds = draw.randrange(4)
    if kinds == 0:
        return draw.choice([None, True, False, _text(draw)])
    return draw.choice(whole) if kinds == 1 else draw.random() * 10.0 ** draw.randrange(-300, 300)


def _differences(engine: SearchEngine, out: Path) -> list[str]:
    """Open the bundle anew and return where it answers otherwise."""
    try:
        with SearchEngine.open(out, probe=False) as fresh:
            if fresh.product_count != engine.product_count:
                return [f"{engine.product_count} products, opened anew {fresh.product_count}"]
            answers = [[one.search(word, k=5_000).hits for one in (engine, fresh)] for word in WORDS[:3]]
    except Exception as error:  # noqa: BLE001 - none is expected
        return [f"it does not open: {type(error).__name__}: {str(error)[:300]}"]
    problems = []
    for ours, theirs in answers:
        for hit, other in zip(ours, theirs, strict=True):
            if (hit.product_id, round(hit.score, 6)) != (other.product_id, round(other.score, 6)):
                problems.append(f"{hit.product_id!r} at rank {hit.rank}, opened anew {other.product_id!r}")
            elif not _alike(hit.product, other.product):
                problems.append(f"{hit.product}, opened anew {other.product}")
    return problems[:3]


def _alike(ours: Product, theirs: Product) -> bool:
    if ours == theirs:
        return True
    one, other = ours.extra, theirs.extra
    same = one.keys() == other.keys() and all(_close(value, other[name]) for name, value in one.items())
    return same and ours == Product(**{name: getattr(theirs, name) for name in _FIELDS}, extra=one)


def _close(one: Any, other: Any) -> bool:  # noqa: ANN401 - scalars
    numbers = isinstance(one, float) and isinstance(other, int | float)
    return bool(one == other or (numbers and math.isclose(one, other, rel_tol=CLOSE)))


_FIELDS = tuple(name for name in Product.__dataclass_fields__ if name != "extra")


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
