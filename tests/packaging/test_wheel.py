"""The wheel: what it holds, and that it runs where it is installed."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECK_WHEEL = ROOT / "tools" / "check_wheel.py"
content_problems = runpy.run_path(str(CHECK_WHEEL))["content_problems"]
expected_files = runpy.run_path(str(CHECK_WHEEL))["expected_files"]

GOOD = {
    "indexing/__init__.py": 10,
    "rerank/__init__.py": 10,
    "retrieval/__init__.py": 10,
    "shortlist/__init__.py": 10,
    "shortlist-1.2.3.dist-info/METADATA": 10,
}


def test_a_wheel_with_the_four_packages_alone_has_no_problem():
    assert content_problems(GOOD, ["indexing/__init__.py"], "1.2.3") == []


@pytest.mark.parametrize(
    ("foreign", "size", "problem"),
    [
        ("tests/conftest.py", 10, "top-level name that must not ship: tests"),
        ("conf/build.yaml", 10, "top-level name that must not ship: conf"),
        ("shortlist/tests/test_x.py", 10, "test or tool inside: shortlist/tests/test_x.py"),
        ("shortlist/model.safetensors", 1_000_001, "larger than 1000000 bytes: shortlist/model.safetensors"),
    ],
)
def test_a_foreign_file_in_the_wheel_is_named(foreign, size, problem):
    assert problem in content_problems({**GOOD, foreign: size}, [], "1.2.3")


def test_a_missing_module_and_a_missing_package_are_named():
    without = {name: size for name, size in GOOD.items() if not name.startswith("rerank")}
    assert content_problems(without, ["rerank/fusion.py"], "1.2.3") == [
        "top-level name missing: rerank",
        "missing: rerank/fusion.py",
    ]


def test_the_wheel_must_hold_every_configuration_file_and_every_type_marker():
    expected = expected_files(ROOT)
    settings = {f"shortlist/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(settings) >= 20
    assert settings <= expected
    assert {name for name in expected if name.endswith("py.typed")} == {
        "indexing/py.typed",
        "rerank/py.typed",
        "retrieval/py.typed",
        "shortlist/py.typed",
    }


def test_the_wheel_builds_installs_and_runs_in_a_clean_environment(tmp_path):
    command = [sys.executable, str(CHECK_WHEEL), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".whl", ".gz"]
