"""Every program of tools/reliability on a sample of seconds; `make reliability` runs them in full.

Each runs in a process of its own: they fork, and this one may have started threads.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.reliability import run as whole_run
from tools.reliability.harness.figures import Figure, conclude
from tools.reliability.run import keep, programs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", programs())
def test_every_promise_holds_on_a_sample(name, tmp_path):
    words = [sys.executable, "-m", f"tools.reliability.{name}", "--quick", "--json", str(tmp_path / "figures.json")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures
    assert all(figure["counts"] and not figure["problems"] for figure in figures)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ([Figure("killed builds", {"points": 9, "losses": 1}, ("at write 3: no bundle",))], "FAILED at write 3"),
        ([Figure("killed builds", {"points": 9}, at_least={"points": 10})], "FAILED points=9, at least 10 expected"),
        ([Figure("one", {"points": 9}), Figure("two", {}, ("bad",))], "FAILED bad"),
        ([], "FAILED nothing was tried"),
    ],
)
def test_a_program_fails_when_a_promise_is_broken_or_hardly_tried(figures, said):
    lines = []
    assert conclude(lambda quick: figures, quick=True, say=lines.append) == 1
    assert said in "\n".join(lines)


def test_a_program_that_finds_nothing_wrong_says_how_hard_it_looked(tmp_path):
    lines = []
    figure = Figure("killed builds", {"points": 132, "losses": 0}, at_least={"points": 100})
    assert conclude(lambda quick: [figure], quick=False, out=tmp_path / "x.json", say=lines.append) == 0
    assert lines[0].startswith("killed builds: points=132 losses=0")
    assert json.loads((tmp_path / "x.json").read_text())[0]["counts"] == {"points": 132, "losses": 0}


def test_outcomes_of_one_commit_are_kept_in_one_file_the_latest_of_each_program(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_run, "commit", lambda: "abc")
    for program, seconds in [("power", 1.0), ("kill", 2.0), ("power", 3.0)]:
        path = keep({"program": program, "exit_code": 0, "seconds": seconds, "figures": []}, tmp_path / "results")
    assert path.name == "reliability-abc.json"
    found = json.loads(path.read_text())
    assert found["machine"]["cores"] >= 1
    assert [(one["program"], one["seconds"]) for one in found["programs"]] == [("kill", 2.0), ("power", 3.0)]


def test_the_page_of_promises_names_every_program():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert [name for name in programs() if f"`python -m tools.reliability.{name}`" not in page] == []
