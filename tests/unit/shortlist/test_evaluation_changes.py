"""What changed since an earlier report: systems, queries, settings, and when nothing can be said."""

import json
from dataclasses import replace

import pytest

from indexing.errors import ArtifactNotFound
from shortlist.evaluation import Convention, EvaluationOptions, Provenance, SystemRun, evaluate_runs, write_evaluation
from shortlist.evaluation.changes import SettingChange, Unreadable, changes_since, last_report
from shortlist.evaluation.origins import origins_of
from shortlist.evaluation.stored import read_report

QRELS = {f"q{number:02}": {"good": 3, "fair": 1, "bad": 0} for number in range(20)}
GOOD, FAIR = [("good", 3.0), ("fair", 2.0)], [("fair", 3.0), ("good", 2.0)]
THEN = {"same": dict.fromkeys(QRELS, GOOD), "better": dict.fromkeys(QRELS, FAIR), "gone": dict.fromkeys(QRELS, GOOD)}
NOW = {"same": dict.fromkeys(QRELS, GOOD), "better": dict.fromkeys(QRELS, GOOD), "new": dict.fromkeys(QRELS, FAIR)}
SETTINGS = {"index.kind": "flat", "fusion.kind": "rrf"}


def evaluation_of(runs, qrels=QRELS, *, latency_ms=1.0, options=None, **provenance):
    return evaluate_runs(
        "toy",
        qrels,
        {name: SystemRun(run, dict.fromkeys(qrels, latency_ms)) for name, run in runs.items()},
        options=options or EvaluationOptions(trials=2000),
        query_texts={"q00": "wireless mouse"},
        provenance=Provenance(**({"settings": SETTINGS, "configuration": {"k": "10"}} | provenance)),
        generated_at="2026-01-02T03:04:05+00:00",
    )


@pytest.fixture
def earlier(tmp_path):
    write_evaluation(evaluation_of(THEN), tmp_path / "report")
    return last_report(tmp_path / "report")


def test_systems_are_paired_by_name_and_query(earlier):
    changes = changes_since(earlier, evaluation_of(NOW, latency_ms=2.5))
    same, better = changes.systems
    assert (same.name, same.comparison.ties, same.comparison.difference, same.moved) == ("same", 20, 0.0, ())
    fair, good = better.comparison.baseline_mean, better.comparison.candidate_mean
    assert (fair, good) == (pytest.approx(0.7967, abs=1e-4), 1.0)
    assert better.comparison.difference == pytest.approx(good - fair)
    assert (better.comparison.interval.low, better.comparison.wins) == (pytest.approx(good - fair), 20)
    assert better.comparison.p_holm < 0.01
    assert (better.p50_before_ms, better.p50_now_ms) == (1.0, 2.5)
    assert (changes.gone, changes.new, changes.obstacle) == (("gone",), ("new",), "")
    assert changes.generated_at == "2026-01-02T03:04:05+00:00"


def test_the_queries_that_moved_most_come_first_and_equal_ones_by_their_id(earlier):
    runs = NOW | {"better": NOW["better"] | {"q07": [("bad", 1.0)], "q03": FAIR}}
    moved = changes_since(earlier, evaluation_of(runs)).systems[1].moved
    assert [query.query_id for query in moved] == ["q07", "q00", "q01", "q02", "q04"]
    assert (moved[0].now, moved[0].text) == (0.0, "q07")
    assert (moved[1].text, moved[1].now) == ("wireless mouse", 1.0)


def test_settings_versions_and_digests_that_differ_are_listed(earlier):
    now = evaluation_of(NOW, settings={"index.kind": "hnsw", "index.links": "32"}, digests={"judgments.csv": "1"})
    now = replace(now, versions=now.versions | {"torch": "9.9"})
    changes = changes_since(earlier, now)
    assert changes.settings == (
        SettingChange("the bundle", "index.kind", "flat", "hnsw"),
        SettingChange("the bundle", "index.links", None, "32"),
        SettingChange("the bundle", "fusion.kind", "rrf", None),
        SettingChange("versions", "torch", earlier.origins["versions"].get("torch"), "9.9"),
    )
    # The earlier report named no digest: that is said once, and not digest by digest.
    assert changes.unrecorded == ("digests (SHA-256)",)


def test_an_equal_report_has_no_changes(earlier):
    changes = changes_since(earlier, evaluation_of(THEN))
    assert (changes.settings, changes.gone, changes.new, changes.unrecorded) == ((), (), (), ())
    assert all(change.comparison.ties == 20 for change in changes.systems)


@pytest.mark.parametrize(
    ("qrels", "options", "obstacle"),
    [
        (
            {q: of for q, of in QRELS.items() if q != "q00"} | {"other": {"good": 1}},
            {},
            "it was measured on other queries: 1 that are not here, and 1 of these 20 it does not have",
        ),
        (QRELS | {"q00": {"good": 2}}, {}, "other judgments of the same queries"),
        (QRELS, {"convention": Convention.exponential}, "with convention=linear, this one with convention=exponential"),
        (QRELS, {"k": 5}, "its primary measure is nDCG@10, here it is nDCG@5"),
    ],
)
def test_what_cannot_be_compared_says_why_and_lists_the_settings_all_the_same(earlier, qrels, options, obstacle):
    now = evaluation_of(NOW, qrels, options=EvaluationOptions(trials=50, **options), settings={"index.kind": "hnsw"})
    changes = changes_since(earlier, now)
    assert obstacle in changes.obstacle
    assert changes.systems == ()
    assert SettingChange("the bundle", "index.kind", "flat", "hnsw") in changes.settings


def test_a_folder_without_a_report_has_no_last_one(tmp_path):
    assert last_report(tmp_path) is None
    with pytest.raises(ArtifactNotFound, match="no report at"):
        read_report(tmp_path)


def test_a_last_report_that_cannot_be_read_does_not_stop_a_new_one(tmp_path):
    (tmp_path / "report.json").write_text('{"format": 99}')
    (tmp_path / "per_query.json").write_text('{"format": 99}')
    last = last_report(tmp_path)
    assert isinstance(last, Unreadable)
    changes = changes_since(last, evaluation_of(NOW))
    assert "expected format 1" in changes.obstacle
    assert (changes.generated_at, changes.settings, changes.systems) == ("", (), ())


def test_a_report_of_before_the_configuration_was_recorded_is_read(tmp_path):
    write_evaluation(evaluation_of(THEN), tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    del document["provenance"]["configuration"], document["provenance"]["command"]
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert "k" not in read_report(tmp_path).origins["how it was measured"]


def test_a_report_read_back_rests_on_what_the_evaluation_did(tmp_path):
    evaluation = evaluation_of(NOW, source="s", bundle="b", generation="g", fingerprint="f", digests={"a": "1"})
    write_evaluation(evaluation, tmp_path)
    assert read_report(tmp_path).origins == origins_of(evaluation)


def test_report_json_holds_the_changes(tmp_path, earlier):
    evaluation = evaluation_of(NOW)
    write_evaluation(evaluation, tmp_path / "now", changes=changes_since(earlier, evaluation))
    against = json.loads((tmp_path / "now" / "report.json").read_text())["against"]
    assert against["folder"] == str(earlier.folder)
    assert against["systems"]["same"]["difference"] == 0.0
    assert against["systems"]["better"]["now"] == 1.0
    assert against["systems"]["better"]["moved"][0]["query_id"] == "q00"
    assert (against["gone"], against["new"]) == (["gone"], ["new"])
