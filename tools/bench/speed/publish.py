"""Put the newest committed results into docs/evaluation.md (the section between two marks) and docs/pictures.

``--check`` writes nothing and exits with 1 when what lies there is not what the results say.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.bench.speed.document import RESULTS, Recorded, newest
from tools.bench.speed.plot import draw
from tools.bench.speed.table import render
from tools.machine import ROOT

PAGE = ROOT / "docs" / "evaluation.md"
PICTURES = ROOT / "docs" / "pictures"
BEGIN = "<!-- speed: written by `make bench-table` from tools/bench/results; do not edit -->"
END = "<!-- end of speed -->"


def pages(recorded: Mapping[str, Recorded], *, page: Path = PAGE, pictures: Path = PICTURES) -> dict[Path, str]:
    """Return every file that the results make, with its whole text."""
    made = {page: spliced(page.read_text(encoding="utf-8"), render(recorded), page)}
    for each in recorded.values():
        made |= {pictures / f"{plot.file}.svg": draw(plot) for plot in each.measurement.plots}
    return made


def spliced(text: str, section: str, page: Path) -> str:
    """Return the page's text with the section between the marks exchanged.

    Raises:
        ValueError: If the page does not have both marks, once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"expected {BEGIN!r} and then {END!r}, once each, in {page}")
    return f"{before}{BEGIN}\n{section}{END}{after}"


def stale(made: Mapping[Path, str]) -> list[Path]:
    """Return the files that do not hold what the results say."""
    return [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is stale, or with ``--check`` name it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when something is stale")
    check = parser.parse_args(arguments).check
    made = pages(newest(RESULTS))
    for path in (found := stale(made)):
        print(
            f"{path.relative_to(ROOT)} {'is not what the results say; run: make bench-table' if check else 'written'}"
        )
        if not check:
            path.write_text(made[path], encoding="utf-8")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
