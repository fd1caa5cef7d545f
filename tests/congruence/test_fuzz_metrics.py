"""A sample of the differential fuzzing of the measures; `python tools/bench/fuzz_metrics.py` runs 100,000 cases."""

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bench" / "fuzz_metrics.py"
TROUBLES = (
    "tied scores",
    "empty answers",
    "unanswered queries",
    "queries nobody judged",
    "queries that do not count",
    "products ranked twice, refused",
)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("fuzz_metrics", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_metrics"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz_metrics"]


def test_the_plain_twin_ir_measures_and_trec_eval_agree_on_2000_random_cases(tool):
    tally = tool.fuzz(2_000, seed=11)
    assert tally.differences == []
    assert tally.cases == 2_000
    assert tally.values > 40_000
    # Every kind of trouble and every convention was met often.
    assert all(tally.met[kind] > 100 for kind in TROUBLES), tally.met
    assert all(tally.met[f"convention {rules.title}"] > 100 for rules in tool.RULES.values()), tally.met


def test_a_fault_in_the_twin_is_found(tool, monkeypatch):
    right = tool.recall
    monkeypatch.setattr(
        tool, "recall", lambda ranked, grades, *, k, min_grade: right(ranked, grades, k=k + 1, min_grade=min_grade)
    )
    differences = tool.fuzz(100, seed=11).differences
    assert differences
    assert all(" R" in difference for difference in differences)


def test_an_implementation_that_pays_twice_for_one_product_is_found(tool, monkeypatch):
    monkeypatch.setattr(tool, "reciprocal_rank", lambda ranked, grades: 0.0)
    assert any("RR accepted" in difference for difference in tool.fuzz(50, seed=11).differences)
