"""The command ``compare`` on two evaluations of a toy shop."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shortlist.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def report(shop: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "toy"
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", out, "systems=[bm25,dense,hybrid]"]
    assert main([str(word) for word in words]) == 0
    return out


def test_two_systems_of_a_report_are_compared_with_a_verdict(run: Run, report: Path):
    code, out, _ = run("compare", f"{report}:bm25", f"{report}:dense", "min_queries=2")
    assert code == 0
    assert out.startswith("parquet: nDCG@10 on 10 queries, convention linear; ")
    assert "bm25 -> dense" in out
    assert "numbers/yes 1" in out.split("not tested, fewer than 2 queries: ")[1]
    assert "verdict: " in out


def test_json_and_another_measure(run: Run, report: Path):
    code, out, _ = run(
        "compare", f"{report}:bm25", report, "--measure", "R(rel=2)@100", "slices=[length]", "min_queries=1", "--json"
    )
    document = json.loads(out)
    assert code == 0
    assert document["measure"] == "R(rel=2)@100"
    assert list(document["verdicts"]) == ["dense", "hybrid"]
    assert {cell["cell"].split("/")[0] for cell in document["comparisons"]} == {"all", "length"}


def test_a_missed_gate_exits_with_5_and_shows_the_comparison_all_the_same(run: Run, report: Path):
    words = ["compare", f"{report}:bm25", f"{report}:hybrid"]
    code, out, _ = run(*words, "--gate", "ship", "--gate", "difference>=-1")
    assert code == 5
    assert "verdict: cannot tell" in out
    assert out.rstrip().endswith("gate missed: hybrid: cannot tell, wanted ship")
    code, out, _ = run(*words, "--gate", "difference>=2", "--json")
    assert code == 5
    assert json.loads(out)["missed_gates"][0].startswith("hybrid all difference is ")
    assert run(*words, "--gate", "difference>=-1")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "give the baseline as the first argument, e.g.: shortlist compare"),
        (["a"], 2, "give the candidate as the second argument"),
        (["a", "trials=5"], 2, "'trials=5' came where the candidate should be"),
        (["a", "b"], 3, "no report at a: report.json is missing"),
        (["a", "b", "--gate", "good"], 2, "--gate 'good' is neither [system:]ship nor of the form"),
        (["a", "b", "trails=5"], 2, "unknown configuration key 'trails'; did you mean 'trials'"),
    ],
)
def test_wrong_words_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    found, out, err = run("compare", *words)
    assert (found, out) == (code, "")
    assert message in err
