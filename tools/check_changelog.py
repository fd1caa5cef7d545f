"""Fail when the version in ``shortlist/version.py`` and the changelog disagree.

A release version needs its own heading ``## [1.2.3] - 2026-01-31``; ``## [Unreleased]`` always stands above it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def disagreement(version: str, changelog: str) -> str | None:
    """Say what is wrong between a version and a changelog, or return ``None`` when they agree."""
    headings = re.findall(r"^## \[([^\]]+)\](?: - \d{4}-\d{2}-\d{2})?$", changelog, flags=re.MULTILINE)
    if not headings or headings[0] != "Unreleased":
        return f"CHANGELOG.md: the first heading must be '## [Unreleased]', found {headings[:1]}"
    if headings[1:2] != [version]:
        return f"shortlist/version.py says {version}, the newest release in CHANGELOG.md is {headings[1:2]}; change one"
    return None


def main() -> int:
    """Compare the two files of this checkout."""
    source = (ROOT / "shortlist" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if found is None:
        print('shortlist/version.py: expected a line __version__ = "..."', file=sys.stderr)
        return 1
    problem = disagreement(found[1], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
