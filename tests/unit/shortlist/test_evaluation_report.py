"""The report as files, page and table."""

import hashlib
import json
import math
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from indexing.errors import EnvironmentProblem
from retrieval.records import Product
from shortlist.evaluation import (
    Convention,
    EvaluationOptions,
    Provenance,
    SystemRun,
    evaluate_runs,
    table,
    write_evaluation,
)
from shortlist.evaluation.caveats import caveats
from shortlist.evaluation.figures import latency_ms, p_text, signed
from shortlist.evaluation.page.render import render

QRELS = {"q1": {"a": 3, "b": 1}, "q2": {"a": 2, "c": 1, "d": 0}, "zero": {"a": 0}}
BM25 = {"q1": [("b", 2.0), ("x", 1.0), ("a", 1.0)]}
DENSE = {"q1": [("a", 2.0), ("b", 1.0)], "q2": [("a", 1.0), ("c", 0.5)]}
LATENCIES = {f"q{number}": float(number) for number in range(1, 102)}
HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script> & "quotes"'


def evaluation_of(runs=None, **settings):
    runs = runs or {"bm25": SystemRun(BM25, LATENCIES), "dense": SystemRun(DENSE)}
    settings.setdefault("options", EvaluationOptions(trials=50))
    settings.setdefault("generated_at", "2026-01-02T03:04:05+00:00")
    return evaluate_runs("toy", QRELS, runs, **settings)


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_files_are_written_with_report_json_last_and_their_digests_in_it(tmp_path):
    paths = write_evaluation(evaluation_of(), tmp_path / "runs" / "toy")
    names = ["qrels.txt", "bm25.trec", "dense.trec", "per_query.json", "report.html", "report.json"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "runs" / "toy").iterdir()) == sorted(names)
    digests = json.loads(paths[-1].read_text())["files"]
    assert digests == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths[:-1]}


def test_report_json_holds_the_means_under_the_names_of_the_measures(tmp_path):
    provenance = Provenance(bundle="b", generation="g1", fingerprint="f", judgments="judgments.csv", digests={"j": "1"})
    evaluation = evaluation_of(provenance=provenance)
    report = json.loads(write_evaluation(evaluation, tmp_path)[-1].read_text())
    assert (report["dataset"], report["queries"], report["left_out"]) == ("toy", 2, 1)
    assert (report["format"], report["primary"], report["baseline"]) == (1, "nDCG@10", "dense")
    bm25, dense = report["systems"]["bm25"], report["systems"]["dense"]
    assert {name: bm25[name] for name in evaluation.measures} == evaluation.systems["bm25"].means
    assert dense["nDCG@10"] == 1.0
    assert bm25["latency_ms"] == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert dense["latency_ms"] is None
    assert (bm25["unanswered"], bm25["not_evaluated"]) == (1, 0)
    assert bm25["against_baseline"]["losses"] == 2
    assert bm25["against_baseline"]["difference"] == pytest.approx(bm25["nDCG@10"] - 1.0)
    assert dense["against_baseline"] is None
    assert bm25["interval_95"]["RR"][0] <= bm25["RR"] <= bm25["interval_95"]["RR"][1]
    assert report["provenance"]["generation"] == "g1"
    assert report["provenance"]["digests"] == {"j": "1"}
    assert report["conventions"]["name"] == "linear"
    assert report["generated_at"] == "2026-01-02T03:04:05+00:00"
    assert report["resampling"] == {"trials": 50, "seed": 7}


def test_per_query_json_holds_every_value_behind_the_means(tmp_path):
    write_evaluation(evaluation_of(), tmp_path)
    document = json.loads((tmp_path / "per_query.json").read_text())
    assert document["left_out"] == ["zero"]
    assert document["systems"]["bm25"]["RR"] == {"q1": 1.0, "q2": 0.0}
    assert document["systems"]["dense"]["AP"] == {"q1": 1.0, "q2": 1.0}


def test_qrels_txt_holds_the_evaluated_queries_alone(tmp_path):
    write_evaluation(evaluation_of(), tmp_path)
    assert (tmp_path / "qrels.txt").read_text() == "q1 0 a 3\nq1 0 b 1\nq2 0 a 2\nq2 0 c 1\nq2 0 d 0\n"


def test_writing_twice_gives_the_same_bytes_and_leaves_strange_files_alone(tmp_path):
    write_evaluation(evaluation_of(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_evaluation(evaluation_of(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- the page ---------------------------------------------------------------------------------------------------------

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "col"}


class Page(HTMLParser):
    """Collects tags, attributes and texts, and checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = set(), [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    @property
    def text(self):
        return "\n".join(self.texts)


def test_the_page_asks_the_network_for_nothing_and_runs_nothing():
    page = Page(render(evaluation_of(query_texts={"q1": HOSTILE})))
    assert page.tags.isdisjoint({"script", "iframe", "img", "object", "embed", "video"})
    asking = ("src", "href", "srcset", "action", "xlink:href", "data", "poster", "background")
    links = {value for name, value in page.attributes if name in asking}
    assert "data:," in links
    # The others lead to places on the page itself.
    assert all(link.startswith("#") for link in links - {"data:,"})
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
    style = render(evaluation_of()).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_texts_of_the_catalogue_are_shown_and_not_obeyed():
    products = {"a": Product("a", HOSTILE, brand="<b>Acme</b>"), "b": Product("b", "x"), "c": Product("c", "y")}
    page = Page(
        render(
            evaluation_of(
                query_texts={"q1": HOSTILE},
                products_for_display=products.__getitem__,
                provenance=Provenance(source=HOSTILE, settings={"fusion": HOSTILE}),
            )
        )
    )
    assert page.texts.count(HOSTILE) >= 4
    assert "<b>Acme</b>" in page.text


def test_the_page_shows_what_was_measured():
    evaluation = evaluation_of(
        provenance=Provenance(generation="2026-01-01T000000Z-abc", digests={"judgments.csv": "5" * 64}),
        query_texts={"q1": "wireless mouse"},
    )
    text = Page(render(evaluation)).text
    bm25 = evaluation.systems["bm25"]
    assert all(f"{mean:.4f}" in text for mean in bm25.means.values())
    assert "dense leads with nDCG@10 1.000" in text
    assert "better on 2 queries, equal on 0, worse on 0." in text
    assert "1 unanswered" in text
    assert "wireless mouse" in text
    assert "bundle 2026-01-01T000000Z-abc" in text
    assert "5" * 64 in text
    assert "2026-01-02 03:04 UTC" in text
    assert "the grade" in text
    assert all(caveat in text for caveat in caveats(evaluation))


def test_a_lead_that_chance_may_explain_says_so():
    runs = {"one": SystemRun(DENSE), "two": SystemRun(DENSE | {"q1": [("b", 2.0), ("a", 1.0)]})}
    text = Page(render(evaluation_of(runs))).text
    assert "(p = 1.000, so chance may explain it): better on 1 query, equal on 1, worse on 0." in text


def test_one_system_alone_has_a_page_too():
    text = Page(render(evaluation_of({"dense": SystemRun(DENSE)}))).text
    assert "One system alone: nothing to compare." in text
    assert "dense reaches nDCG@10 1.000." in text
    assert "leads with" not in text


def test_one_system_alone_is_held_against_nothing_in_the_table():
    lines = table(evaluation_of({"dense": SystemRun(DENSE)})).splitlines()
    assert lines[0].endswith("p95 ms")
    assert lines[2].split() == ["dense", *["1.0000"] * 6, "-", "-"]
    assert lines[3] == "toy: 2 queries (1 more does not count and is left out)"


def test_exponential_gains_are_named_on_the_page():
    text = Page(render(evaluation_of(options=EvaluationOptions(trials=50, convention=Convention.exponential)))).text
    assert "nDCG(dcg='exp-log2')\u200b@10" in text
    assert "2^grade - 1" in text


def test_half_a_surrogate_pair_in_a_title_does_not_stop_the_report(tmp_path):
    write_evaluation(
        evaluation_of(products_for_display=lambda product_id: Product(product_id, "half \udc80")), tmp_path
    )
    assert "half ?" in (tmp_path / "report.html").read_text("utf-8")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    evaluation = evaluation_of()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentProblem, match=r"report\.html needs .* pip install 'shortlist\[eval\]'"):
        render(evaluation)


# --- table, figures and caveats ---------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_says_what_it_rests_on():
    runs = {"bm25": SystemRun(BM25, LATENCIES), "dense": SystemRun(DENSE)}
    lines = table(evaluation_of(runs, options=EvaluationOptions(trials=99_999))).splitlines()
    head = "system  nDCG@10  condensed_nDCG@10  R(rel=2)@100  Judged@10      RR      AP  p50 ms  p95 ms"
    assert lines[0].startswith(head)
    assert lines[0].endswith("vs dense")
    assert set(lines[1]) == {"-"}
    assert len(lines[0]) == len(lines[1]) == len(lines[2]) == len(lines[3])
    assert lines[2].split()[:9] == ["bm25", "0.3443", "0.3984", "0.5000", "0.3333", "0.5000", "0.4167", "51.0", "96.0"]
    assert lines[2].split()[9:] == ["-0.6557", "[-1.0000,", "-0.3115]", "(p", "=", ".499)"]
    assert lines[3].split() == ["dense", *["1.0000"] * 6, "-", "-", "-"]
    assert lines[4] == (
        "toy: 2 queries (1 more does not count and is left out); "
        "vs dense: difference in nDCG@10 [95 % interval], p of a paired randomisation test, corrected for their number"
    )
    assert lines[5].startswith("convention linear: gain the grade; discount 1 / log2(rank + 1); ideal")
    # Random orders of 3, 1 and of 2, 1, 0.
    floors = (2 + 2 / math.log2(3)) / (3 + 1 / math.log2(3)), (1 + 1 / math.log2(3) + 0.5) / (2 + 1 / math.log2(3))
    assert lines[6] == f"random order: nDCG@10 {sum(floors) / 2:.4f} of the judged products"
    assert lines[7].startswith("note: Judged@10 runs from 0.333 (bm25) to 1.000 (dense)")


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, "p = 1.000"), (0.0496, "p = .050"), (0.001, "p = .001"), (0.0009, "p < .001")]
)
def test_a_p_value_is_written_with_three_decimals(p, text):
    assert p_text(p) == text


def test_a_difference_carries_a_real_minus():
    assert (signed(0.0314), signed(-0.0314)) == ("+0.031", "−0.031")


def test_percentiles_are_interpolated_and_absent_when_nobody_measured():
    evaluation = evaluation_of({"dense": SystemRun(DENSE, {"q1": 1.0, "q2": 2.0})})
    assert latency_ms(evaluation.systems["dense"]) == pytest.approx({"p50": 1.5, "p95": 1.95, "p99": 1.99})
    assert latency_ms(evaluation_of({"dense": SystemRun(DENSE)}).systems["dense"]) is None


def test_caveats_name_the_gap_in_judged_products_the_silence_and_the_few_queries():
    gap, silence, few = caveats(evaluation_of())
    assert "from 0.333 (bm25) to 1.000 (dense)" in gap
    assert "biased against bm25. Read condensed_nDCG@10" in gap
    assert silence == "Queries left without an answer, each scored 0: bm25 1 of 2."
    assert few.startswith("Only 2 queries")


def test_many_answered_and_judged_queries_need_no_caveat():
    qrels = {f"q{number}": {"a": 1} for number in range(50)}
    runs = {name: SystemRun({query_id: [("a", 1.0)] for query_id in qrels}) for name in ("one", "two")}
    assert caveats(evaluate_runs("toy", qrels, runs, options=EvaluationOptions(trials=10))) == []


def test_importing_the_evaluation_loads_none_of_its_heavy_libraries():
    script = (
        "import sys, shortlist.evaluation; print([m for m in ('ir_measures', 'jinja2', 'torch') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
