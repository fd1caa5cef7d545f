"""Measure speed side by side with peers, and write what was measured under the commit's name.

``make bench`` runs every module of ``jobs``; ``--only`` some of them; ``--quick`` small sizes, to see that they run.
"""

import argparse
import importlib
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from retrieval.config import RuntimeConfig
from retrieval.runtime import available_cores, set_threads
from tools.bench.speed import document, jobs
from tools.bench.speed.records import FEWEST, Measurement, Options
from tools.bench.speed.table import COLUMNS, cells
from tools.machine import ROOT

ROUNDS, QUICK_ROUNDS = 7, FEWEST


class Job(Protocol):
    """What a module of ``jobs`` has."""

    NAME: str
    measure: Callable[[Options], Measurement]


def available() -> dict[str, str]:
    """Return the name of every measurement -> its module, without importing any: a module is called as its NAME."""
    found = (module.name for module in pkgutil.iter_modules(jobs.__path__) if not module.name.startswith("_"))
    return {name: f"{jobs.__name__}.{name}" for name in sorted(found)}


def load(name: str) -> Job:
    """Import one module.

    Raises:
        ValueError: If its ``NAME`` is not its file's name.
    """
    module = importlib.import_module(available()[name])
    if getattr(module, "NAME", None) != name or not callable(getattr(module, "measure", None)):
        raise ValueError(f"expected NAME = {name!r} and measure(options) in {module.__file__}")
    return cast(Job, module)


def run(names: Sequence[str], options: Options) -> tuple[list[Measurement], list[str]]:
    """Measure one after the other; one that fails is told and left out, and the others go on.

    Returns:
        What was measured, and the names of those that failed.
    """
    import torch  # noqa: F401 - the number of threads reaches torch only once it is loaded

    measured, failed = [], []
    for name in names:
        start = time.perf_counter()
        print(f"{name}: measuring", file=sys.stderr, flush=True)
        set_threads(RuntimeConfig(threads=options.threads))  # what one module sets, the next must not inherit
        try:
            measurement = load(name).measure(options)
        except Exception:  # noqa: BLE001 - whatever goes wrong in one must not cost the others' figures
            traceback.print_exc()
            failed.append(name)
            continue
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        show(measurement)
        measured.append(measurement)
    return measured, failed


def show(measurement: Measurement) -> None:
    """Print the rows of a measurement as the table has them, one cell a line."""
    for row in measurement.rows:
        values = dict(zip(COLUMNS, cells(row), strict=True))
        print(values.pop("job"))
        print("".join(f"  {name:<20} {value}\n" for name, value in values.items() if value != "-"), end="", flush=True)


def parse(arguments: Sequence[str] | None) -> tuple[list[str], Options]:
    """Read the command line: names to run, and what they are given."""
    known = available()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=known, default=list(known), metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; writes nothing")
    parser.add_argument("--rounds", type=int, help=f"rounds of every contest, at least {FEWEST} (default {ROUNDS})")
    parser.add_argument("--threads", type=int, default=available_cores(), help="for both sides (default: all cores)")
    parser.add_argument("--seed", type=int, default=7)
    beside = os.environ.get("SHORTLIST_SHARED_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(beside), help="icecat/, homedepot/ (SHORTLIST_SHARED_DATA)")
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "bench", help="scratch, kept between runs")
    parser.add_argument("--peers-python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--set", action="append", default=[], metavar="NAME.KEY=VALUE", help="a setting of one module")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
    if rounds < FEWEST:
        parser.error(f"--rounds must be at least {FEWEST}, got {rounds}")
    options = Options(
        quick=given.quick,
        rounds=rounds,
        threads=given.threads,
        seed=given.seed,
        data=given.data,
        work=given.work,
        peers_python=given.peers_python,
        settings=_settings(parser, given.set, known),
    )
    return given.only, options


def _settings(parser: argparse.ArgumentParser, given: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    settings = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or key.partition(".")[0] not in known:
            parser.error(f"--set takes NAME.KEY=VALUE with NAME one of {', '.join(known)}; got {each!r}")
        settings[key] = value
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the document of this commit; 1 when a module failed."""
    names, options = parse(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    measured, failed = run(names, options)
    if measured and not options.quick:
        for path in document.write([document.record(each) for each in measured], document.RESULTS):
            print(f"written to {path.relative_to(ROOT)}; `make bench-table` puts it into docs/evaluation.md")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
