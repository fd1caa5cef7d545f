"""Two reports, or two systems of one: who is compared with whom, what is refused, what is written, which gates hold."""

import json
from pathlib import Path

import pytest

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound, ConfigError, SourceDataError
from shortlist.evaluation import Convention, EvaluationOptions, SystemRun, evaluate_runs, write_evaluation
from shortlist.evaluation.cells import ComparisonOptions
from shortlist.evaluation.comparison import compare_reports
from shortlist.evaluation.comparison_text import comparison_document, comparison_text
from shortlist.evaluation.gates import missed_gates, parse_comparison_gates
from shortlist.evaluation.stored import read_report
from shortlist.evaluation.verdict import Decision

COUNT = 40
QRELS = {f"q{number}": {"a": 3, "b": 1, "c": 0} for number in range(COUNT)}
TEXTS = {f"q{number}": "usb 3 hub" if number < 12 else "mouse" for number in range(COUNT)}
RIGHT = [("a", 3.0), ("b", 2.0), ("c", 1.0)]
SWAPPED = [("b", 3.0), ("a", 2.0), ("c", 1.0)]
OPTIONS = ComparisonOptions(trials=1_000)


def run_of(right):
    """Return a run that is right on the queries whose numbers are given, and swaps two products on the others."""
    return SystemRun({f"q{number}": RIGHT if number in right else SWAPPED for number in range(COUNT)})


def report(folder: Path, runs, *, qrels=QRELS, **settings) -> Path:
    settings.setdefault("options", EvaluationOptions(trials=50))
    write_evaluation(evaluate_runs("toy", qrels, runs, query_texts=TEXTS, **settings), folder)
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return report(tmp_path_factory.mktemp("old") / "base", {"bm25": run_of(range(12)), "dense": run_of(range(20))})


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> Path:
    # dense gains on most queries without a number and loses on those with one.
    return report(
        tmp_path_factory.mktemp("new") / "next", {"bm25": run_of(range(12)), "dense": run_of(range(12, COUNT))}
    )


# --- reading back -----------------------------------------------------------------------------------------------------


def test_a_report_is_read_back_as_it_was_measured(old):
    found = read_report(old)
    assert (found.dataset, found.convention, found.primary, found.baseline) == ("toy", "linear", "nDCG@10", "dense")
    assert list(found.systems) == ["bm25", "dense"]
    assert found.systems["bm25"]["RR"]["q0"] == 1.0
    assert found.queries["q0"] == "usb 3 hub"
    assert found.slices["numbers"]["q0"] == "yes"


def test_a_folder_without_a_report_is_refused(tmp_path):
    with pytest.raises(ArtifactNotFound, match=r"report\.json is missing; make one with: shortlist evaluate --out"):
        read_report(tmp_path)


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_values_that_were_altered_are_refused(old, tmp_path):
    folder = copied(old, tmp_path / "copy")
    document = json.loads((folder / "per_query.json").read_text())
    document["systems"]["dense"]["nDCG@10"]["q0"] = 1.0
    (folder / "per_query.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactCorrupt, match=r"per_query\.json was altered: SHA-256 is"):
        read_report(folder)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format": 2}, ArtifactIncompatible, "expected format 1 in .*found 2; evaluate again"),
        ({"files": {}}, ArtifactCorrupt, r"lacks something it should hold \(KeyError\('per_query.json'\)\)"),
        ({"order": ["gone"]}, ArtifactCorrupt, r"KeyError\('gone'\)"),
    ],
)
def test_a_report_of_another_shape_is_refused(old, tmp_path, change, error, message):
    folder = copied(old, tmp_path / "copy")
    document = json.loads((folder / "report.json").read_text()) | change
    (folder / "report.json").write_text(json.dumps(document))
    with pytest.raises(error, match=message):
        read_report(folder)


# --- who is compared with whom ----------------------------------------------------------------------------------------


def compared_names(compared):
    return [(of.baseline, of.candidate) for of in compared.cells.comparisons if of.cell == "all"]


def test_two_reports_are_compared_system_by_system(old, new):
    compared = compare_reports(str(old), str(new), options=OPTIONS)
    assert compared_names(compared) == [("base:bm25", "bm25"), ("base:dense", "dense")]
    assert [found.decision for found in compared.verdicts] == [Decision.cannot_tell, Decision.no_ship]


def test_two_systems_of_one_report(old):
    compared = compare_reports(f"{old}:bm25", f"{old}:dense", options=OPTIONS)
    assert compared_names(compared) == [("bm25", "dense")]


def test_one_system_against_all_of_a_report(old, new):
    assert compared_names(compare_reports(f"{old}:bm25", str(old), options=OPTIONS)) == [("bm25", "dense")]
    found = compared_names(compare_reports(f"{old}:bm25", str(new), options=OPTIONS))
    assert found == [("base:bm25", "bm25"), ("base:bm25", "dense")]
    assert compared_names(compare_reports(str(old), f"{new}:dense", options=OPTIONS)) == [("base:dense", "dense")]


def test_a_folder_with_a_colon_in_its_name_is_a_folder(old, tmp_path):
    folder = copied(old, tmp_path / "a:dense")
    assert compared_names(compare_reports(f"{folder}:bm25", f"{folder}:dense", options=OPTIONS)) == [("bm25", "dense")]
    assert len(compared_names(compare_reports(str(old), str(folder), options=OPTIONS))) == 2


def test_what_cannot_be_paired_is_refused(old, new, tmp_path):
    other = report(tmp_path / "other", {"theirs": run_of([])})
    cases = [
        (str(old), str(old), "is given twice; name two of its systems"),
        (f"{old}:dense", f"{old}:dense", "is given twice; name two systems, or two reports"),
        (str(old), str(other), "no system is in both reports: .* has bm25, dense, .*other has theirs"),
        (f"{old}:dnese", str(new), "has no system 'dnese'; did you mean 'dense'"),
        (str(old), f"{other}:theirs", "has no system 'theirs' to compare .*other:theirs with; name one of bm25, dense"),
        (f"{other}:theirs", str(other), "has no system besides 'theirs'"),
    ]
    for first, second, message in cases:
        with pytest.raises(ConfigError, match=message):
            compare_reports(first, second, options=OPTIONS)


def test_reports_of_different_data_are_refused_with_both_digests(old, tmp_path):
    other = report(tmp_path / "other", {"dense": run_of([])}, qrels=QRELS | {"q0": {"a": 2}})
    digests = [read_report(folder).qrels_sha256[:16] for folder in (old, other)]
    with pytest.raises(
        SourceDataError, match=rf"of different data: .*base .*judgments {digests[0]}.*other .*judgments {digests[1]}"
    ):
        compare_reports(str(old), str(other), options=OPTIONS)


def test_reports_of_different_conventions_are_refused(old, tmp_path):
    options = EvaluationOptions(trials=50, convention=Convention.exponential)
    other = report(tmp_path / "other", {"dense": run_of([])}, options=options)
    with pytest.raises(ConfigError, match=r"convention=linear, .*other with convention=exponential"):
        compare_reports(str(old), str(other), options=OPTIONS)


def test_a_measure_that_one_report_lacks_is_refused(old, tmp_path):
    other = report(tmp_path / "other", {"dense": run_of([])}, options=EvaluationOptions(trials=50, k=5))
    with pytest.raises(ConfigError, match="the measure 'nDCG@10' is not in both reports"):
        compare_reports(str(old), str(other), options=OPTIONS)
    assert compare_reports(str(old), str(other), measure="RR", options=OPTIONS).measure == "RR"


def test_slices_are_chosen_by_name(old, new):
    compared = compare_reports(f"{old}:dense", f"{new}:dense", slices=["numbers"], options=OPTIONS)
    assert [cell.cell for cell in compared.cells.comparisons] == ["all", "numbers/no", "numbers/yes"]
    none = compare_reports(f"{old}:dense", f"{new}:dense", slices=[], options=OPTIONS)
    assert [cell.cell for cell in none.cells.comparisons] == ["all"]
    with pytest.raises(ConfigError, match=r"slices names 'nubmers', which .* lacks; did you mean 'numbers'"):
        compare_reports(str(old), str(new), slices=["nubmers"], options=OPTIONS)


def test_more_comparisons_than_the_trials_can_tell_are_refused(old, new):
    with pytest.raises(ConfigError, match=r"comparisons with trials=50 cannot reach p = 0\.05 .* set trials=[0-9]+ or"):
        compare_reports(str(old), str(new), options=ComparisonOptions(trials=50))


def test_slices_that_differ_between_reports_are_counted_aloud(old, tmp_path):
    folder = copied(old, tmp_path / "copy")
    per_query = json.loads((folder / "per_query.json").read_text())
    per_query["slices"]["numbers"]["q0"] = "no"
    (folder / "per_query.json").write_text(json.dumps(per_query))
    document = json.loads((folder / "report.json").read_text())
    import hashlib

    document["files"]["per_query.json"] = hashlib.sha256((folder / "per_query.json").read_bytes()).hexdigest()
    (folder / "report.json").write_text(json.dumps(document))
    (note,) = compare_reports(str(old), str(folder), options=OPTIONS).notes
    assert note.startswith("slice numbers differs between the reports on 1 queries")


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_loss_hidden_in_a_slice_is_found_and_said(old, new):
    compared = compare_reports(f"{old}:dense", f"{new}:dense", options=OPTIONS)
    overall = compared.cells.comparisons[0]
    assert overall.difference > 0
    (found,) = compared.verdicts
    assert found.decision is Decision.no_ship
    assert "in numbers/yes" in found.reason
    assert "hides" in found.reason


def test_the_text_shows_every_cell_of_one_candidate(old, new):
    lines = comparison_text(compare_reports(f"{old}:dense", f"{new}:dense", options=OPTIONS)).splitlines()
    assert lines[0].startswith("toy: nDCG@10 on 40 queries, convention linear; ")
    assert lines[2] == "base:dense -> dense"
    assert lines[3].split()[:4] == ["cell", "queries", "baseline", "candidate"]
    (numbers,) = [line for line in lines if line.startswith("numbers/yes")]
    assert numbers.split()[1] == "12"
    assert "0/0/12" in numbers
    assert numbers.endswith("LOSS")
    assert any(line.startswith("verdict: no ship: ") for line in lines)


def test_the_text_shows_of_several_candidates_what_is_significant(old, new):
    text = comparison_text(compare_reports(str(old), str(new), options=OPTIONS))
    assert text.count("verdict: ") == 2
    assert "more slices without a significant difference; --json has them all" in text
    bm25 = text.split("base:dense -> dense")[0]
    assert "numbers/yes" not in bm25
    assert "both are equal on all 40 queries" in bm25


def test_the_document_holds_everything_a_script_needs(old, new):
    compared = compare_reports(str(old), str(new), options=OPTIONS)
    document = json.loads(json.dumps(comparison_document(compared), allow_nan=False))
    assert document["verdicts"]["dense"]["decision"] == "no ship"
    assert len(document["comparisons"]) == len(compared.cells.comparisons)
    first = document["comparisons"][0]
    assert {"cell", "queries", "difference", "interval_95", "p", "p_holm", "wins", "detectable"} <= set(first)
    assert document["options"]["trials"] == 1_000


# --- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "missed"),
    [
        ("difference>=0", []),
        ("difference>=.9", ["dense all difference is 0.0"]),
        ("dense:difference >= 0", []),
        ("bm25:difference<=0", []),
        ("numbers/yes:difference>=-.01", ["dense numbers/yes difference is -0."]),
        ("dense:numbers/yes:losses<=11", ["dense numbers/yes losses is 12.0000, wanted <=11"]),
        ("bm25:numbers/yes:losses<=0", []),
        ("low>-1", []),
        ("high<1", []),
        ("detectable<=.0001", ["dense all detectable is"]),
        ("p_holm<=.9", []),
        ("ship", ["dense: no ship, wanted ship"]),
        ("bm25:ship", ["bm25: cannot tell, wanted ship"]),
    ],
)
def test_gates_hold_of_the_last_system_unless_they_name_one(old, new, gate, missed):
    compared = compare_reports(str(old), str(new), options=OPTIONS)
    found = missed_gates(parse_comparison_gates([gate]), compared)
    assert len(found) == len(missed)
    assert all(said.startswith(expected) for said, expected in zip(found, missed, strict=True))


@pytest.mark.parametrize("gate", ["shipp", "difference", "difference>=much", "nDCG@10>=.7", "", "difference=>0"])
def test_a_gate_of_another_form_is_refused(gate):
    with pytest.raises(ConfigError, match=r"is neither \[system:\]ship nor of the form"):
        parse_comparison_gates([gate])


def test_a_gate_on_what_was_not_compared_is_refused_with_what_was(old, new):
    compared = compare_reports(str(old), str(new), options=OPTIONS)
    with pytest.raises(
        ConfigError, match=r"--gate names 'numbres/yes', .*did you mean .*numbers/yes'.*compared: all, "
    ):
        missed_gates(parse_comparison_gates(["numbres/yes:difference>=0"]), compared)
