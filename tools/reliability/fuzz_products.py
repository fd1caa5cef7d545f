"""Build a catalogue of hostile texts: every bad row is set aside, every other product is there, whole, and is found.

The texts are those of the queries (halves of surrogate pairs, NUL, a megabyte, piles of combining marks, ...), in
titles, descriptions, brands, attributes and further columns, through a real tokenizer and tower.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from retrieval.config import BadRows, FileFormat, TabularCatalog
from shortlist.building.job import build
from shortlist.bundle import open_bundle
from shortlist.engine import SearchEngine
from tools.reliability.harness.answers import complaint
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.hostile import TEXTS, has_surrogate, plain
from tools.reliability.harness.models import write_encoder
from tools.reliability.harness.processes import in_child
from tools.reliability.harness.shop import build_config, scratch

SEED = 7
PATIENCE_S = 3_600.0
KEPT = 50  # failures that are written out


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield what became of the products."""
    with scratch() as folder:
        yield catalogue(folder / "catalogue", count=60 if quick else 1_000)


def catalogue(folder: Path, *, count: int) -> Figure:
    """Build a bundle from ``count`` products of such texts, bad rows set aside, and ask for every product."""
    ended = in_child(lambda: _build_and_find(folder, count), patience_s=PATIENCE_S)
    if ended.value is None:
        return Figure("hostile products", {"rows": 0}, (f"the build failed: {ended}",))
    return Figure("hostile products", ended.value["counts"], tuple(ended.value["failures"]), at_least={"rows": count})


def _build_and_find(folder: Path, count: int) -> dict[str, Any]:
    draw = Random(SEED)
    folder.mkdir(parents=True)
    # As a reader of JSON sees them: escaped halves of a pair that stand side by side are one good character.
    rows = [json.loads(json.dumps(_drawn_row(draw, number))) for number in range(count)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "products.jsonl").write_text(lines, encoding="utf-8")
    (folder / "queries.csv").write_text("query_id,text\nq1,red mouse\n", encoding="utf-8")
    config = build_config(write_encoder(folder / "encoder"), segment_texts=256)
    catalog = TabularCatalog(
        name="shop", format=FileFormat.jsonl, products="products.jsonl", keep=["*"], on_bad_rows=BadRows.quarantine
    )
    build(
        replace(config, catalog=catalog, text=replace(config.text, fields=["title", "description", "attributes"])),
        source=folder,
        out=folder / "bundle",
    )
    bad = {row["product_id"] for row in rows if has_surrogate(_written(row)) or not row["title"].strip()}
    failures = []
    with SearchEngine.open(folder / "bundle") as engine:
        for row in rows:
            failures += [
                f"{row['product_id']}: {problem}"
                for problem in [_lost(engine, row, row["product_id"] in bad)]
                if problem
            ]
        found = {hit.product_id for hit in engine.search("red mouse", k=count, rerank=False).hits}
        failures += [f"{product_id} was set aside and found" for product_id in sorted(found & bad)]
    accepted = open_bundle(folder / "bundle").manifest.catalogue["accepted"]
    if accepted != count - len(bad):
        failures.append(f"{accepted} products were accepted, expected {count - len(bad)}")
    counts = {"rows": count, "accepted": accepted, "set_aside": len(bad), "wrong": len(failures)}
    return {"counts": counts, "failures": failures[:KEPT]}


def _drawn_row(draw: Random, number: int) -> dict[str, Any]:
    """Draw a product with one hostile text in it; a megabyte in one row of fifty."""
    kinds = [kind for kind in TEXTS if kind != "a megabyte"]
    kind = "a megabyte" if number % 50 == 0 else draw.choice(kinds)
    text = TEXTS[kind](draw)
    row: dict[str, Any] = {"product_id": f"p{number:04d}", "title": f"{plain(draw)} {number}"}
    match draw.choice(["title", "description", "brand", "attribute", "extra"]):
        case "attribute":
            row["attributes"] = {"note": text}
        case "extra":
            row["note"] = text
        case name:
            row[name] = text
    return row


def _written(row: Mapping[str, Any]) -> str:
    return "".join(value if isinstance(value, str) else "".join(value.values()) for value in row.values())


def _lost(engine: SearchEngine, row: Mapping[str, Any], is_bad: bool) -> str:
    """Return what is wrong with what became of a row."""
    try:
        product = engine.product(row["product_id"])
    except KeyError:
        return "" if is_bad else "a good product was set aside"
    if is_bad:
        return "a bad product was accepted"
    if product.title != row["title"].strip():
        return f"the title came back as {product.title[:80]!r}"
    return complaint(engine.similar(row["product_id"], k=5))


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
