"""The command ``evaluate`` on a toy shop: bundles, runs from elsewhere, conventions, and what other tools say."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.records import Judgment, Query
from shortlist.cli import main
from shortlist.evaluation.trec import read_run

Run = Callable[..., tuple[int, str, str]]
SYSTEMS = ["bm25", "dense", "hybrid"]


@pytest.fixture(scope="module")
def evaluated(shop: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an evaluation of the toy bundle."""
    out = tmp_path_factory.mktemp("evaluated") / "toy"
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", out, "systems=[bm25,dense,hybrid]"]
    assert main([str(word) for word in words]) == 0
    return out


def report_of(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


# --- what a report holds ----------------------------------------------------------------------------------------------


def test_the_report_of_a_bundle_has_floors_and_every_slice_the_shop_allows(evaluated: Path):
    report = report_of(evaluated)
    assert report["convention"] == "linear"
    assert 0 < report["floors"]["catalogue"] <= report["floors"]["judged"] < 1
    assert report["ceiling"] is None
    assert report["gaps"]["outside"] == 0
    per_query = json.loads((evaluated / "per_query.json").read_text())
    assert per_query["queries"]["q-couch"] == "couch"
    slices = per_query["slices"]
    assert set(slices) == {"length", "overlap", "head_tail", "brand", "numbers", "typos", "department"}
    assert slices["typos"] == dict.fromkeys(per_query["queries"], "no") | {"q-typo": "yes"}
    assert slices["brand"]["q-norvik-laptop"] == slices["brand"]["q-acme-chair"] == "named"
    assert slices["numbers"]["q-model"] == "yes"
    assert slices["department"]["q-couch"] == "furniture"
    assert slices["overlap"]["q-couch"] == "low"
    assert slices["overlap"]["q-mouse"] == "all"
    assert set(per_query["slice_definitions"]) == set(slices)


def test_the_raters_of_a_source_make_a_ceiling(run: Run, shop: Path, evaluated: Path, tmp_path: Path):
    source = tmp_path / "shop"
    shutil.copytree(shop, source)
    (source / "rater_grades.csv").write_text(
        "query_id,product_id,grade_ann,grade_bob\nq-mouse,0000,3,0\nq-mouse,0005,0,3\nq-couch,0045,2,3\n"
    )
    code, out, _ = run(
        "evaluate", "--source", source, "--run", evaluated / "bm25.trec", "--out", tmp_path / "out"
    )  # fmt: skip
    assert code == 0
    assert "ceiling: human raters as systems get nDCG@10" in out
    assert set(report_of(tmp_path / "out")["ceiling"]["raters"]) == {"ann", "bob"}


# --- runs from elsewhere ----------------------------------------------------------------------------------------------


def test_our_run_file_measured_as_anybodys_gives_our_numbers(run: Run, shop: Path, evaluated: Path, tmp_path: Path):
    words = [word for name in SYSTEMS for word in ("--run", evaluated / f"{name}.trec")]
    code, _, _ = run("evaluate", "--source", shop, *words, "--out", tmp_path / "again")
    assert code == 0
    ours, again = report_of(evaluated), report_of(tmp_path / "again")
    measures = ["nDCG@10", "condensed_nDCG@10", "R(rel=2)@100", "Judged@10", "RR", "AP"]
    for name in SYSTEMS:
        assert {m: again["systems"][name][m] for m in measures} == {m: ours["systems"][name][m] for m in measures}
    # Words of the whole catalogue tell typos without a bundle too.
    assert json.loads((tmp_path / "again" / "per_query.json").read_text())["slices"]["typos"]["q-typo"] == "yes"


def test_a_run_and_judgments_alone_are_enough(run: Run, evaluated: Path, tmp_path: Path):
    code, out, _ = run(
        "evaluate", "--judgments", evaluated / "qrels.txt", "--run", evaluated / "dense.trec",
        "--out", tmp_path / "alone", "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(out)
    assert report["dataset"] == "qrels"
    assert report["systems"]["dense"]["nDCG@10"] == report_of(evaluated)["systems"]["dense"]["nDCG@10"]
    assert report["floors"]["catalogue"] is None
    assert str(evaluated / "dense.trec") in report["provenance"]["digests"]


def test_a_run_from_elsewhere_stands_before_the_bundles_systems_and_may_be_the_baseline(
    run: Run, shop: Path, published: Path, evaluated: Path, tmp_path: Path
):
    code, out, _ = run(
        "evaluate", "--source", shop, "--bundle", published, "--run", evaluated / "bm25.trec",
        "--out", tmp_path / "both", "systems=[bm25]", "--json",
    )  # fmt: skip
    assert code == 0
    assert list(json.loads(out)["systems"]) == ["toy_bm25", "bm25"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q-mouse Q0 0000 1 2 t", "q-mouse Q0 0000 2 1 t"], "line 2: product '0000' stands twice in query 'q-mouse'"),
        (["q-mouse Q0 0000 1 nan t"], "line 1: expected a finite number, got 'nan'"),
        (["elsewhere Q0 0000 1 2 t"], "'t' answers 1 queries, none of them judged"),
        (["q-mouse 0000 1 2 t"], "line 1: expected 6 columns"),
        ([], "found none"),
    ],
)
def test_a_run_that_breaks_its_contract_is_refused(
    run: Run, shop: Path, tmp_path: Path, lines: list[str], message: str
):
    (tmp_path / "their.trec").write_text("".join(f"{line}\n" for line in lines))
    code, out, err = run("evaluate", "--source", shop, "--run", tmp_path / "their.trec", "--out", tmp_path / "out")
    assert (code, out) == (3, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_products_and_queries_that_do_not_fit_are_counted_aloud(run: Run, shop: Path, tmp_path: Path):
    (tmp_path / "their.trec").write_text("q-mouse Q0 0000 1 2 t\nq-mouse Q0 gone 2 1 t\nstranger Q0 0000 1 2 t\n")
    (tmp_path / "qrels.txt").write_text("q-mouse 0 0000 3\nq-mouse 0 vanished 2\n")
    code, out, _ = run(
        "evaluate", "--source", shop, "--judgments", tmp_path / "qrels.txt", "--run", tmp_path / "their.trec",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "The catalogue does not hold the products of 1 judgment, 1 of them with a grade above 0" in out
    assert "Ranked products that the catalogue does not hold: t 1." in out
    assert "ignored: t 1." in out
    assert "9 queries of the catalogue have no judgments" in out


def test_a_bundle_cannot_be_asked_a_query_without_a_text(run: Run, shop: Path, published: Path, tmp_path: Path):
    (tmp_path / "qrels.txt").write_text("q-mouse 0 0000 3\nq-strange 0 0000 3\n")
    code, _, err = run(
        "evaluate", "--source", shop, "--bundle", published, "--judgments", tmp_path / "qrels.txt",
        "--out", tmp_path / "out", "systems=[bm25]",
    )  # fmt: skip
    assert code == 3
    assert "judges 1 queries that parquet does not have, such as ['q-strange']" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "x"], "there is nothing to measure: give a bundle (--bundle DIR) or a run (--run FILE)"),
        (["--bundle", "x"], "a bundle is asked the queries of its catalogue: give --source DIR"),
        (["--run", "x"], "there are no judgments: give a catalogue (--source DIR) or a file (--judgments FILE)"),
        (["--run", "x", "--source", "y", "convention=w_lni"], "convention"),
    ],
)
def test_too_little_to_measure_is_said_before_anything_is_opened(run: Run, tmp_path: Path, words: list, message: str):
    code, out, err = run("evaluate", *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err


# --- conventions ------------------------------------------------------------------------------------------------------


def test_grades_outside_a_conventions_scale_are_refused(run: Run, shop: Path, published: Path, tmp_path: Path):
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "out", "systems=[bm25]"]
    code, _, err = run(*words, "convention=w_dt")
    assert code == 3
    assert "grades must be one of 0, 1, 2 under convention W-DT (WANDS: Exact 2" in err


def test_where_judged_products_alone_are_ranked_every_one_of_them_is(
    run: Run, shop: Path, published: Path, tmp_path: Path, tiny_judgments: tuple[Judgment, ...]
):
    wanted = [j for j in tiny_judgments if j.query_id in ("q-mouse", "q-typo") and j.product_id < "0020"]
    scale = {0: 0, 1: 1, 2: 10, 3: 100}
    judgments = tmp_path / "esci.txt"
    judgments.write_text("".join(f"{j.query_id} 0 {j.product_id} {scale[j.grade]}\n" for j in wanted))
    words = [
        "evaluate", "--source", shop, "--bundle", published, "--judgments", judgments, "--out", tmp_path / "out",
        "systems=[bm25,dense]", "--json",
    ]  # fmt: skip
    code, out, _ = run(*words, "convention=esci_paper")
    assert code == 0
    paper = json.loads(out)
    assert paper["primary"] == "nDCG[E-T1]"
    assert paper["systems"]["bm25"]["Judged@10"] == 1.0
    for name in ("bm25", "dense"):
        answers = read_run(tmp_path / "out" / f"{name}.trec")
        assert {query: len(ranking) for query, ranking in answers.items()} == {"q-mouse": 20, "q-typo": 20}
    # bm25 knows no word of "headphnes": its ranking is the order of the ids.
    typo = [product_id for product_id, _ in read_run(tmp_path / "out" / "bm25.trec")["q-typo"]]
    assert typo == sorted(typo)
    assert json.loads(run(*words, "convention=esci_released")[1])["primary"] == "nDCG[E-T1-released]"


# --- against an earlier report ----------------------------------------------------------------------------------------


def test_a_report_says_where_it_comes_from(evaluated: Path, published: Path, shop: Path):
    told = report_of(evaluated)["provenance"]
    assert told["command"].startswith("shortlist evaluate --source ")
    assert told["command"].endswith("'systems=[bm25,dense,hybrid]'")
    assert {"catalog.kind", "catalog.format", "runtime.kind", "systems", "k", "depth"} <= told["configuration"].keys()
    assert told["configuration"]["systems"] == "bm25, dense, hybrid"
    assert {"index.kind", "index recall.value", "fusion.kind", "reranker.kind", "query tower.weights"} <= told[
        "settings"
    ].keys()
    assert told["settings"]["products"] == "60"
    assert (told["bundle"], told["source"]) == (str(published), str(shop))
    assert told["digests"].keys() >= {"products.parquet", "judgments.csv", "queries.csv"}


def test_a_report_is_held_against_the_one_it_replaces(run: Run, shop: Path, evaluated: Path, tmp_path: Path):
    words = ["evaluate", "--source", shop, "--out", tmp_path / "out"]
    shutil.copy(evaluated / "bm25.trec", tmp_path / "mine.trec")
    assert run(*words, "--run", tmp_path / "mine.trec", "k=10")[0] == 0
    assert report_of(tmp_path / "out")["against"] is None
    assert "Since the last report" not in (tmp_path / "out" / "report.html").read_text()
    # The same name, now for what the dense system answered.
    (tmp_path / "mine.trec").write_text((evaluated / "dense.trec").read_text().replace(" dense\n", " bm25\n"))
    code, out, _ = run(*words, "--run", tmp_path / "mine.trec", "depth=50", "--json")
    assert code == 0
    against = json.loads(out)["against"]
    assert against == report_of(tmp_path / "out")["against"]
    (name,) = against["systems"]
    bm25, dense_mean = (report_of(evaluated)["systems"][system]["nDCG@10"] for system in ("bm25", "dense"))
    assert against["systems"][name]["before"] == pytest.approx(bm25)
    assert against["systems"][name]["now"] == pytest.approx(dense_mean)
    changed = {setting["name"]: (setting["before"], setting["now"]) for setting in against["settings"]}
    assert changed["depth"] == ("100", "50")
    assert str(tmp_path / "mine.trec") in changed
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Since the last report" in page
    assert "Queries that moved most" in page


def test_another_report_can_be_named_and_one_that_is_not_there_is_refused_first(
    run: Run, shop: Path, evaluated: Path, tmp_path: Path
):
    words = ["evaluate", "--source", shop, "--run", evaluated / "bm25.trec", "--out", tmp_path / "out"]
    assert run(*words, "--against", evaluated)[0] == 0
    assert report_of(tmp_path / "out")["against"]["folder"] == str(evaluated)
    code, _, err = run(*words, "--against", tmp_path / "nowhere")
    assert code == 3
    assert f"no report at {tmp_path / 'nowhere'}" in err


def test_a_last_report_of_another_release_is_named_and_replaced(run: Run, shop: Path, evaluated: Path, tmp_path: Path):
    (tmp_path / "report.json").write_text('{"format": 0}')
    (tmp_path / "per_query.json").write_text("{}")
    assert run("evaluate", "--source", shop, "--run", evaluated / "bm25.trec", "--out", tmp_path)[0] == 0
    assert "expected format 1" in report_of(tmp_path)["against"]["obstacle"]


# --- what other tools say ---------------------------------------------------------------------------------------------


def test_the_ir_measures_command_line_prints_our_numbers(evaluated: Path):
    names = ["nDCG@10", "nDCG(judged_only=True)@10", "R(rel=2)@100", "Judged@10", "RR", "AP"]
    ours = ["nDCG@10", "condensed_nDCG@10", "R(rel=2)@100", "Judged@10", "RR", "AP"]
    for system in SYSTEMS:
        command = [sys.executable, "-m", "ir_measures", "qrels.txt", f"{system}.trec", *names, "--places", "9"]
        printed = subprocess.run(command, cwd=evaluated, capture_output=True, text=True, check=True).stdout
        theirs = [float(line.split("\t")[1]) for line in printed.splitlines()]
        expected = [report_of(evaluated)["systems"][system][name] for name in ours]
        assert theirs == pytest.approx(expected, abs=1e-9)


def test_trec_evals_code_on_our_files_gives_our_numbers(evaluated: Path):
    import pytrec_eval

    with (evaluated / "qrels.txt").open() as file:
        qrels = pytrec_eval.parse_qrel(file)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "map", "recip_rank"})
    for system in SYSTEMS:
        with (evaluated / f"{system}.trec").open() as file:
            found = evaluator.evaluate(pytrec_eval.parse_run(file))
        ours = report_of(evaluated)["systems"][system]
        for theirs, name in (("ndcg_cut_10", "nDCG@10"), ("map", "AP"), ("recip_rank", "RR")):
            # Over all judged queries, as trec_eval -c has it: pytrec_eval leaves unanswered ones out.
            mean = sum(values[theirs] for values in found.values()) / len(qrels)
            assert mean == pytest.approx(ours[name], abs=1e-12)


@pytest.mark.skipif(shutil.which("trec_eval") is None, reason="no trec_eval binary on the path")
def test_the_trec_eval_binary_prints_our_numbers(evaluated: Path):
    for system in SYSTEMS:
        command = ["trec_eval", "-c", "-m", "ndcg_cut.10", "-m", "map", "qrels.txt", f"{system}.trec"]
        printed = subprocess.run(command, cwd=evaluated, capture_output=True, text=True, check=True).stdout
        theirs = {line.split()[0]: float(line.split()[2]) for line in printed.splitlines()}
        ours = report_of(evaluated)["systems"][system]
        assert theirs == pytest.approx({"ndcg_cut_10": ours["nDCG@10"], "map": ours["AP"]}, abs=5e-5)


def test_every_query_of_the_toy_shop_was_asked(evaluated: Path, tiny_queries: tuple[Query, ...]):
    assert set(read_run(evaluated / "dense.trec")) == {query.query_id for query in tiny_queries}
