"""The version and the changelog must tell the same story."""

import runpy
from pathlib import Path

import pytest

CHECK_CHANGELOG = Path(__file__).resolve().parents[2] / "tools" / "check_changelog.py"
disagreement = runpy.run_path(str(CHECK_CHANGELOG))["disagreement"]


@pytest.mark.parametrize("heading", ["## [1.2.3]", "## [1.2.3] - 2026-01-31"])
def test_a_changelog_whose_newest_release_is_the_version_agrees(heading):
    assert disagreement("1.2.3", f"# Changelog\n\n## [Unreleased]\n\n{heading}\n\n## [1.2.2]\n") is None


def test_a_version_without_a_heading_of_its_own_is_named():
    problem = disagreement("1.3.0", "## [Unreleased]\n\n## [1.2.3]\n")
    assert problem == ("shortlist/version.py says 1.3.0, the newest release in CHANGELOG.md is ['1.2.3']; change one")


def test_a_changelog_without_unreleased_on_top_is_refused():
    assert "must be '## [Unreleased]', found ['1.2.3']" in disagreement("1.2.3", "## [1.2.3]\n")
