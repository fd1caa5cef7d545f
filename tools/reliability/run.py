"""Run every program of this folder and keep the figures: ``make reliability``.

Each program runs in a process of its own, one after the other. What they came to goes to
``tools/bench/results/reliability-<commit>.json``, with the machine and the versions; ``--quick`` writes nothing.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programs named, or all; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="samples of seconds, to see that they run; writes no file")
    parser.add_argument("program", nargs="*", help=f"which to run (default: all): {', '.join(programs())}")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.program) - set(programs()))
    if unknown:
        parser.error(f"no program {unknown[0]}; there are {', '.join(programs())}")
    outcomes = [run(name, quick=options.quick) for name in options.program or programs()]
    failed = [outcome["program"] for outcome in outcomes if outcome["exit_code"]]
    if not options.quick and not options.program:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"reliability-{commit()}.json"
        path.write_text(json.dumps({"machine": machine(), "programs": outcomes}, indent=1) + "\n", encoding="utf-8")
        print(f"written to {path.relative_to(ROOT)}")
    tried = sum(len(outcome["figures"]) for outcome in outcomes)
    print(
        f"{tried} promises tried by {len(outcomes)} programs; "
        + (f"FAILED: {', '.join(failed)}" if failed else "all held")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
