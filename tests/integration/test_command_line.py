import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from shortlist.cli.commands import RUNNERS
from shortlist.cli.options import COMMANDS
from shortlist.jobs.doctor import CUDA_FAISS

Run = Callable[..., tuple[int, str, str]]
CUDA_FAISS_IS_HERE = any(name in CUDA_FAISS for name in packages_distributions()["faiss"])


def test_every_command_has_a_runner_and_the_other_way_round():
    assert [command.name for command in COMMANDS] != []
    assert {command.name for command in COMMANDS} == set(RUNNERS)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(run: Run, command: str):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith(f"usage: shortlist {command}")
    assert "example: shortlist" in out


def test_the_program_without_a_command_lists_them_all(run: Run):
    code, out, _ = run()
    assert code == 0
    assert all(command.summary in out for command in COMMANDS)


def test_build_then_search_then_verify_then_versions(run: Run, shop: Path, tiny_model_folder: Path, tmp_path: Path):
    out_folder = tmp_path / "a bundle, with = in it"
    code, out, _ = run(
        "build",
        "--source",
        shop,
        "--out",
        out_folder,
        f"encoder.model={tiny_model_folder}",
        "index=hnsw",
        "runtime=default",
    )
    assert code == 0
    assert "published" in out
    assert "recall" in out
    code, out, _ = run("search", "wireless mouse", "--bundle", out_folder, "k=3", "--json")
    assert code == 0
    answer = json.loads(out)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["hits"][0]["product"]["title"].count("wireless mouse") == 1
    code, out, _ = run("verify", "--bundle", out_folder, "--full", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = run("versions", "--bundle", out_folder)
    assert code == 0
    assert out.startswith("* ")
    assert out.splitlines()[0].endswith("  encoded in fp32")


def test_filters_are_plain_conditions(run: Run, published: Path):
    code, out, _ = run(
        "search",
        "mouse",
        "--bundle",
        published,
        "--filter",
        "price<50",
        "--filter",
        "attributes.colour=black",
        "--json",
        "k=60",
    )
    products = [hit["product"] for hit in json.loads(out)["hits"]]
    assert code == 0
    assert products
    assert all(p["price"] < 50 and p["attributes"]["colour"] == "black" for p in products)


def test_a_dry_run_prints_the_plan_and_writes_nothing(run: Run, shop: Path, tiny_model_folder: Path, tmp_path: Path):
    code, out, _ = run(
        "build",
        "--source",
        shop,
        "--out",
        tmp_path / "out",
        "--dry-run",
        "--json",
        f"encoder.model={tiny_model_folder}",
    )
    planned = json.loads(out)
    assert code == 0
    assert (planned["products"], planned["texts"], planned["to_encode"]) == (60, 60, 60)
    assert planned["index"]["kind"] == "flat"
    assert not (tmp_path / "out").exists()


def test_check_counts_without_a_model(run: Run, shop: Path, tiny_model_folder: Path):
    code, out, _ = run("check", "--source", shop, "--json", f"encoder.model={tiny_model_folder}")
    survey = json.loads(out)
    assert code == 0
    assert (survey["report"]["rows"], survey["duplicates"], survey["tokens"]["texts"]) == (60, 0, 60)


def test_evaluate_writes_runs_and_reports(run: Run, shop: Path, published: Path, tmp_path: Path):
    out_folder = tmp_path / "runs"
    code, out, _ = run(
        "evaluate",
        "--source",
        shop,
        "--bundle",
        published,
        "--out",
        out_folder,
        "systems=[bm25,dense,hybrid]",
        "--json",
    )
    assert code == 0
    report = json.loads((out_folder / "report.json").read_text())
    assert list(json.loads(out)["systems"]) == list(report["systems"]) == ["bm25", "dense", "hybrid"]
    assert report["queries"] == 10
    written = {path.name for path in out_folder.iterdir()}
    assert {"qrels.txt", "bm25.trec", "dense.trec", "hybrid.trec", "report.html"} <= written


def test_other_judgments_on_the_same_catalogue(run: Run, shop: Path, published: Path, tmp_path: Path):
    judgments = tmp_path / "mine, all.csv"
    judgments.write_text("query,product_id,grade\nwireless mouse,0000,3\ncouch,0045,3\n")
    code, out, _ = run(
        "evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "runs", "--judgments", judgments,
        "systems=[hybrid]", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["queries"] == 2


def test_a_gate_that_is_missed_exits_with_5_and_says_by_how_much(run: Run, shop: Path, published: Path, tmp_path: Path):
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "runs", "systems=[bm25]"]
    code, out, err = run(*words, "--gate", "nDCG@10>=1.01")
    assert code == 5
    assert "gate missed: bm25 nDCG@10 is 0." in out
    assert "report.html" in out
    assert "bm25 nDCG@10 is 0." in err
    assert "wanted >=1.01" in err
    assert (tmp_path / "runs" / "report.json").exists()
    assert run(*words, "--gate", "nDCG@10>=0.1")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["serch"], 2, "unknown command 'serch'; did you mean 'search'?"),
        (["build", "--sorce", "x"], 2, "unknown option --sorce; did you mean '--source'?"),
        (["build", "--source", "x"], 2, "--out DIR is required"),
        (["build", "--source", "x", "--out", "y", "index=hnws"], 2, "did you mean 'hnsw'?"),
        (["build", "--source", "nowhere", "--out", "y"], 3, "nowhere"),
        (["search", "--bundle", "x"], 2, "give the query as the first argument"),
        (["search", "k=5", "--bundle", "x"], 2, "'k=5' came where the query should be"),
        (["search", "mouse", "--bundle", "nowhere"], 3, "no bundle at nowhere"),
        (["search", "mouse", "--bundle", "x", "k=10", "depth=5"], 2, "depth=5 is below k=10"),
        (["search", "mouse", "--bundle", "x", "--filter", "what"], 2, "what"),
        (["versions", "--bundle", "x", "a=b"], 2, "versions takes no configuration overrides"),
        (
            ["evaluate", "--source", "x", "--bundle", "y", "--out", "z", "--gate", "good"],
            2,
            "--gate 'good' is not of the form",
        ),
    ],
)
def test_wrong_words_are_refused_with_a_code_and_the_way_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_json_too_when_json_is_asked_for(run: Run, tmp_path: Path):
    code, out, _ = run("verify", "--bundle", tmp_path, "--json")
    error = json.loads(out)["error"]
    assert (code, error["code"], error["exit_code"]) == (3, "artifact_not_found", 3)


def test_hybrid_rerank_of_a_bundle_without_a_reranker_says_what_to_do(
    run: Run, shop: Path, published: Path, tmp_path: Path
):
    words = ["evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "runs"]
    code, _, err = run(*words, "systems=[bm25,dense,hybrid,hybrid_rerank]")
    assert code == 2
    assert "leave it out with 'systems=[bm25,dense,hybrid]'" in err


def test_doctor_exits_with_4_when_both_faiss_are_installed(run: Run, monkeypatch: pytest.MonkeyPatch):
    from importlib import metadata

    from shortlist.jobs import doctor

    versions = {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"}

    def version(name: str) -> str | None:
        try:
            return versions.get(name) or metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    monkeypatch.setattr(doctor, "_version", version)
    code, out, _ = run("doctor")
    assert code == 4
    assert "both install the module faiss" in out


def test_doctor_loads_neither_torch_nor_faiss():
    # A FAISS for CUDA is asked which devices it sees.
    heavy = "{'torch', 'transformers'}" if CUDA_FAISS_IS_HERE else "{'torch', 'faiss', 'transformers'}"
    script = f"import sys; from shortlist.cli import main; main(['doctor']); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_without_systems_all_that_the_bundle_has_are_evaluated(run: Run, shop: Path, published: Path, tmp_path: Path):
    code, out, _ = run("evaluate", "--source", shop, "--bundle", published, "--out", tmp_path / "runs", "--json")
    assert code == 0
    assert list(json.loads(out)["systems"]) == ["bm25", "dense", "hybrid"]
