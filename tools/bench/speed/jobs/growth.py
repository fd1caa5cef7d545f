"""Growth: encoding, building and searching at 10,000, 100,000 and 1,000,000 products; time and memory of each.

Every step runs in a process of its own (`tools.bench.speed.growth` has the recipe). What a step measured is kept in
the scratch folder under the commit, so that a run that was cut short, or one size at a time, goes on where it stopped.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench.speed.records import Compared, Measurement, Options, Plot, Row, Side
from tools.machine import ROOT, commit

NAME = "growth"
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (500, 2_000)
ENCODED = 10_000
"""Up to here every product is encoded by the real model, unless ``growth.encoded`` is set: a million takes hours."""

STAGES = ("read", "lexical", "index")
"""Stages of a build that are drawn by themselves; the others take next to nothing here."""
ONCE = "one run: what varies is the size"
Pieces = Mapping[int, Mapping[str, Mapping[str, Any]]]


def measure(options: Options) -> Measurement:
    """Run what is missing, then put all sizes side by side."""
    smallest, largest = options.number("growth.smallest", 0), options.number("growth.largest", SIZES[-1])
    sizes = [size for size in (QUICK_SIZES if options.quick else SIZES) if smallest <= size <= largest]
    pieces = {size: _pieces(options, size) for size in sizes}
    rows = tuple(row for size in sizes for row in rows_of(size, pieces[size]))
    kinds = ", ".join(f"{size:,}: {pieces[size]['build']['index']['kind']}" for size in sizes)
    notes = (
        f"made-up catalogue of 12 words a product, 37 tokens on average, vectors of 384 dimensions around 256 centres, "
        f"seed {options.seed}. Encoding is that of the real default model, up to "
        f"{options.number('growth.encoded', ENCODED):,} products. Building is everything but the encoding, which the "
        f"catalogue's own vectors stand in for; index=auto unless said, which chose {kinds}. A search asks words and "
        f"vectors, without a cross-encoder; the query's vector comes with it, so its encoding is not in the time. "
        f"Memory is the peak of the building process, and what the searching one held at the end, mapped files too.",
    )
    return Measurement(
        name=NAME,
        rows=rows,
        threads=options.threads,
        noise=dict(pieces[sizes[-1]]["search"]["noise"]),
        plots=() if options.quick else plots(pieces),
        notes=notes,
        facts={str(size): pieces[size] for size in sizes},
    )


def rows_of(size: int, piece: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return the lines of one size."""
    rows = []
    if "encode" in piece:
        rows.append(_row(f"encode {size:,} made-up products", "s", (piece["encode"]["encode_s"],), size))
    build, search = piece["build"], piece["search"]
    kind = build["index"]["kind"]
    rows += [
        _row(f"build {size:,} products without encoding, {kind}", "s", (build["build_s"],), size),
        _row(f"search {size:,} products, words and vectors, {kind}, k=10, p50", "ms", tuple(search["p50_ms"])),
        _row(f"peak memory of that build, {size:,}", "MiB", (build["peak_mib"],)),
        _row(f"resident memory of that search, {size:,}", "MiB", (search["resident_mib"],)),
    ]
    return rows


def plots(pieces: Pieces) -> tuple[Plot, ...]:
    """Return time and memory against the number of products."""
    built = {size: piece["build"] for size, piece in pieces.items()}
    encoded = tuple((size, piece["encode"]["encode_s"]) for size, piece in pieces.items() if "encode" in piece)
    seconds = {"encode (real model)": encoded, "build, all but encoding": _curve(built, "build_s")}
    for stage in STAGES:
        seconds[f"{stage}"] = tuple((size, each["stages_s"].get(stage, 0.0)) for size, each in built.items())
    searched = {size: piece["search"] for size, piece in pieces.items()}
    latency = tuple((size, sorted(each["p50_ms"])[len(each["p50_ms"]) // 2]) for size, each in searched.items())
    memory = {"build, peak": _curve(built, "peak_mib"), "search, resident": _curve(searched, "resident_mib")}
    shared: dict[str, Any] = {"x": "products", "log_x": True, "log_y": True}
    return (
        Plot(file="growth-time", title="Seconds to encode and to build", y="s", series=_positive(seconds), **shared),
        Plot(file="growth-search", title="One search, median", y="ms", series={"search": latency}, **shared),
        Plot(file="growth-memory", title="Memory of a build and of a search", y="MiB", series=memory, **shared),
    )


def _positive(series: Mapping[str, tuple[tuple[float, float], ...]]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Leave out what a logarithmic axis cannot show: stages of no measurable time, and empty series."""
    kept = {name: tuple((x, y) for x, y in points if y > 0) for name, points in series.items()}
    return {name: points for name, points in kept.items() if points}


def _curve(measured: Mapping[int, Mapping[str, Any]], key: str) -> tuple[tuple[float, float], ...]:
    return tuple((float(size), float(each[key])) for size, each in measured.items())


def _row(job: str, unit: str, values: tuple[float, ...], work: int = 1) -> Row:
    once = ONCE if unit in ("ms", "s") and len(values) == 1 else ""
    per = "products" if work > 1 else ""
    side = Side(name="Shortlist", values=values)
    return Row(job=job, compared=Compared.alone, unit=unit, ours=side, work=work, per=per, few_because=once)


def _pieces(options: Options, size: int) -> dict[str, dict[str, Any]]:
    """Return what every step measured at one size, running those that are not there yet at this commit."""
    folder = options.work / "growth" / f"{size}"
    kept = options.work / "growth" / ("quick" if options.quick else commit())
    kept.mkdir(parents=True, exist_ok=True)
    if options.quick:
        shutil.rmtree(folder, ignore_errors=True)
    steps = ["build", "search"]
    if size <= options.number("growth.encoded", ENCODED):
        steps.insert(0, "encode")
    pieces = {}
    for step in steps:
        out = kept / f"{size}-{step}.json"
        if options.quick or not out.is_file():
            if step == "build":
                _make_ready(options, size, folder)
            _run(options, step, size, folder, out)
        pieces[step] = json.loads(out.read_text(encoding="utf-8"))
    return pieces


def _make_ready(options: Options, size: int, folder: Path) -> None:
    """Write the catalogue unless it is there, and take away what an earlier build left."""
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    done = folder / "catalogue.json"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _run(options, "catalogue", size, folder, done)


def _run(options: Options, step: str, size: int, folder: Path, out: Path) -> None:
    """Run one step; what it writes counts only when it ended well."""
    given = {
        "count": size,
        "folder": folder,
        "threads": options.threads,
        "seed": options.seed,
        "rounds": options.rounds,
    }
    given["index"] = options.settings.get(f"growth.index_{size}", "auto")
    part = out.with_suffix(".part")
    words = [sys.executable, "-m", "tools.bench.speed.growth", step, "--out", str(part)]
    words += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    print(f"growth: {step} at {size:,}", file=sys.stderr, flush=True)
    subprocess.run(words, check=True, cwd=ROOT, stdout=sys.stderr)
    part.replace(out)
