"""Run every program of this folder and keep the figures: ``make reliability``.

Each program runs in a process of its own, one after the other. What one came to goes at once to
``tools/bench/results/reliability-<commit>.json``, beside what others came to at the same commit, with the machine and
the versions; so a run that was interrupted is continued by naming what is missing. ``--quick`` writes nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.machine import ROOT, commit, machine

FOLDER = Path(__file__).resolve().parent
RESULTS = ROOT / "tools" / "bench" / "results"


def programs() -> dict[str, Path]:
    """Return the programs of the folder by name; a module is one by lying here."""
    own = {Path(__file__).name, "__init__.py"}
    return {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.name not in own}


def run(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one program with its output shown, and return its exit code, figures and seconds."""
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        figures = Path(folder) / "figures.json"
        words = [sys.executable, "-m", f"tools.reliability.{name}", "--json", str(figures)]
        ended = subprocess.run([*words, *(["--quick"] if quick else [])], cwd=ROOT, check=False)
        found = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else []
    seconds = round(time.perf_counter() - start, 1)
    return {"program": name, "exit_code": ended.returncode, "seconds": seconds, "figures": found}


def keep(outcome: dict[str, Any], folder: Path) -> Path:
    """Put one program's outcome into the file of this commit, in place of an earlier one, and return the file."""
    path = folder / f"reliability-{commit()}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["programs"] if path.exists() else []
    others = [one for one in known if one["program"] != outcome["program"]]
    outcomes = sorted([*others, outcome], key=lambda one: str(one["program"]))
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "programs": outcomes}, indent=1) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programs named, or all; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="samples of seconds, to see that they run; writes no file")
    parser.add_argument("program", nargs="*", help=f"which to run (default: all): {', '.join(programs())}")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.program) - set(programs()))
    if unknown:
        parser.error(f"no program {unknown[0]}; there are {', '.join(programs())}")
    outcomes = []
    for name in options.program or programs():
        outcomes.append(run(name, quick=options.quick))
        if not options.quick:
            print(f"written to {keep(outcomes[-1], RESULTS).relative_to(ROOT)}", flush=True)
    failed = [outcome["program"] for outcome in outcomes if outcome["exit_code"]]
    tried = sum(len(outcome["figures"]) for outcome in outcomes)
    print(
        f"{tried} promises tried by {len(outcomes)} programs; "
        + (f"FAILED: {', '.join(failed)}" if failed else "all held")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
