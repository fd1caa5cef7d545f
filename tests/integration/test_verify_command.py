"""`shortlist verify` says what was checked, one line each, and exits with 3 when something was refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shortlist import probe

Run = Callable[..., tuple[int, str, str]]


def test_the_quick_form_reads_every_byte_and_loads_nothing(run: Run, reranked: Path):
    code, out, _ = run("verify", "--bundle", reranked)
    assert code == 0
    assert out.splitlines()[0].endswith(" 60 products, encoded in fp32 (asked for)")
    names = [line[4:].split("  ")[0] for line in out.splitlines()[:-1]]
    assert names == ["CURRENT and manifest", "files", "journal"]
    assert out.splitlines()[-1].endswith(" is whole")


def test_the_full_form_adds_the_child_the_models_and_the_canary_with_their_figures(
    run: Run, reranked: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "_passed", set())
    code, out, _ = run("verify", "--bundle", reranked, "--full", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["ok"], [check["passed"] for check in report["checks"]]) == (True, [True] * 8)
    found = {check["name"]: check["found"] for check in report["checks"]}
    first, last = ["CURRENT and manifest", "files", "journal", "vector store", "child"], ["models", "canary"]
    assert list(found) == [*first, *last, "journal on top"]
    assert found["journal on top"] == "60 products are shown once the journal is applied"
    assert found["models"] == "everything loads; encoder and reranker as the fingerprint says"
    assert "24 searches answered" in found["canary"]
    assert "of 8 queries (at least 0.999)" in found["canary"]
    assert "8 pairs at most 0.0000 deviations off (at most 0.25)" in found["canary"]


def test_what_is_refused_is_the_last_line_and_the_exit_code_says_so(run: Run, bundle: Path):
    path = next(bundle.glob("versions/*/lexical/rows.i32"))
    path.write_bytes(bytes(path.stat().st_size))
    code, out, _ = run("verify", "--bundle", bundle, "--full")
    assert code == 3
    *_, refused, verdict = out.splitlines()
    assert refused.startswith("!!  files")
    assert "rows.i32 was altered" in refused
    assert verdict.endswith(" is refused")
    code, out, _ = run("verify", "--bundle", bundle, "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["error"]["code"]) == (3, False, "artifact_corrupt")


def test_a_child_that_is_killed_is_named_with_its_signal(run: Run, reranked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_passed", set())
    monkeypatch.setattr(probe, "CHILD", ("-c", "import os; os.kill(os.getpid(), 11)"))
    code, out, _ = run("verify", "--bundle", reranked, "--full")
    assert code == 3
    assert "was killed by signal 11 (SIGSEGV)" in out


def test_a_version_that_cannot_be_read_is_listed_and_the_others_too(run: Run, bundle: Path):
    torn = bundle / "versions" / "2026-01-01T000000Z-000000"
    torn.mkdir()
    (torn / "MANIFEST.json").write_bytes(b"{")
    code, out, _ = run("versions", "--bundle", bundle)
    assert code == 0
    assert any(line.startswith("* ") and "60 products" in line for line in out.splitlines())
    assert any(torn.name in line and "do not parse" in line for line in out.splitlines())
