"""A recipe from a folder of files to models, cards, logs and a table; steps that do not help are left out."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from indexing.errors import ConfigError, EnvironmentProblem
from retrieval.config import EncoderConfig, RuntimeConfig
from retrieval.encoder import DualEncoder
from shortlist.cli import main
from shortlist.compose import load_config
from shortlist.jobs.train import recipe
from shortlist.jobs.train.ground import read_ground
from shortlist.jobs.train.measure import measure
from shortlist.jobs.train.recipe import run_recipe
from shortlist.jobs.train.report import ablation, summary
from shortlist.jobs.train.steps import Made
from shortlist.training_config import TrainConfig

SPLITS = {"q-red-mouse": "test", "q-acme-chair": "test", "q-couch": "dev", "q-typo": "dev"}


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def source(tmp_path, tiny_products, tiny_queries, tiny_judgments):
    """The toy shop as files, with splits."""
    folder = tmp_path / "shop"
    folder.mkdir()
    columns = {"product_id": [], "title": [], "category": []}
    for product in tiny_products:
        for name, values in columns.items():
            values.append(getattr(product, name))
    pq.write_table(pa.table(columns), folder / "products.parquet")
    write_csv(folder / "queries.csv", ["query_id", "text"], [(query.query_id, query.text) for query in tiny_queries])
    judged = [(each.query_id, each.product_id, each.grade) for each in tiny_judgments]
    write_csv(folder / "judgments.csv", ["query_id", "product_id", "grade"], judged)
    splits = [(query.query_id, SPLITS.get(query.query_id, "train")) for query in tiny_queries]
    write_csv(folder / "splits.csv", ["query_id", "split"], splits)
    return folder


@pytest.fixture
def overrides(recipe_overrides):
    return [
        *recipe_overrides,
        "retriever.precision=fp32",
        "retriever.batch_size=16",
        "retriever.learning_rate=2e-3",
        "retriever.epochs=3",
        "retriever.freeze_embeddings=false",
        "mining.hidden_share=1.0",
    ]


@pytest.fixture
def config(overrides):
    return load_config(TrainConfig, [*overrides, "steps=[retriever,hard_negatives,attacks]"])


def test_a_recipe_leaves_models_cards_logs_plots_and_a_table(source, config, tmp_path):
    out = tmp_path / "run"
    report = run_recipe(config, source=source, out=out)
    assert [row.step for row in report.rows] == ["untrained", "retriever", "hard_negatives", "attacks"]
    assert report.counts == {"learn": 6, "tune": 2, "scored": 2}
    untrained, trained, _, attacked = report.rows
    one_edit = attacked.record["queries"]["one edit"]
    assert one_edit["changed"] == 2
    assert one_edit["hybrid"]["nDCG@10"]["clean"] == pytest.approx(_last(report).scored["hybrid"].means["nDCG@10"])
    assert attacked.record["products"]["keyword stuffing"]["queries"] == 2
    assert "| one edit | 2 | dense |" in (out / "ablation.md").read_text()
    assert trained.kept
    assert trained.tuned > untrained.scored["dense"].means["nDCG@10"] * 0  # a number, from the tuning queries
    assert set(trained.scored) == {"bm25", "dense", "hybrid"}
    assert set(untrained.scored) == {*trained.scored, "hybrid, rrf", "hybrid, zscore", "hybrid, convex"}
    assert untrained.scored["bm25"].means == trained.scored["bm25"].means
    assert list(trained.scored["dense"].values) == ["nDCG@10", "condensed_nDCG@10", "R(rel=2)@100", "Judged@10"]
    table = (out / "ablation.md").read_text()
    assert "## dense" in table
    assert f"| retriever | {trained.scored['dense'].means['nDCG@10']:.4f} |" in table
    stored = json.loads((out / "report.json").read_text())
    assert stored["rows"][1]["scored"]["dense"]["nDCG@10"]["mean"] == trained.scored["dense"].means["nDCG@10"]
    folder = out / "steps" / "01-retriever"
    assert (folder / "losses.svg").read_text().startswith("<?xml")
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    card = (out / "models" / "encoder" / "README.md").read_text()
    assert all(text in card for text in ("SHA-256", "seed 7", "95 % interval", "test is scored"))
    tower = DualEncoder.open(EncoderConfig(model=str(out / "models" / "encoder")), RuntimeConfig(device="cpu"))
    assert tower.dim == 32


def _last(report):
    return next(row for row in reversed(report.rows) if row.kept and row.scored)


def test_spelling_is_kept_where_the_choosing_queries_are_better_corrected(source, overrides, tmp_path):
    by_words = ["fusion.dense=0", "fusion.lexical=1"]  # a random encoder finds nothing
    config = load_config(TrainConfig, [*overrides, *by_words, "steps=[spelling,retriever,attacks]"])
    report = run_recipe(config, source=source, out=tmp_path / "run")
    untrained, spelt, trained, _ = report.rows
    assert spelt.record["for example"] == {"headphnes": "headphone"}  # as the lexical index has it
    assert (spelt.record["queries"], spelt.record["corrected"]) == (10, 1)
    assert spelt.kept
    assert spelt.scored["bm25"].means == untrained.scored["bm25"].means  # the mistyped query chooses, it is not scored
    assert trained.record["training"]["queries"] == 6
    assert "lexical.spelling=true" in summary(report, tmp_path / "run")
    without = run_recipe(replace(config, steps=["attacks"]), source=source, out=tmp_path / "without").rows[-1]
    ours, theirs = (row.record["queries"]["one edit"]["dense"]["nDCG@10"] for row in (report.rows[-1], without))
    assert ours["attacked"] == ours["clean"]  # every edit was put right
    assert theirs["attacked"] != theirs["clean"]


def test_spelling_is_left_out_where_no_query_has_an_unknown_word_and_where_it_is_on_already(
    source, overrides, tmp_path
):
    steps = [*overrides, "steps=[spelling,attacks]"]
    known = load_config(TrainConfig, [*steps, "lexical.spelling=true"])
    assert run_recipe(known, source=source, out=tmp_path / "on").rows[1].reason == "queries are corrected already"
    path = source / "queries.csv"
    path.write_text(path.read_text().replace("headphnes", "headphones"))
    row = run_recipe(load_config(TrainConfig, steps), source=source, out=tmp_path / "none").rows[1]
    assert (row.kept, row.reason) == (False, "no query has a word that would be corrected")


def test_an_encoder_between_the_untrained_and_the_trained_one_is_taken_where_it_is_better(
    source, overrides, tiny_model_folder, tmp_path, monkeypatch
):
    config = load_config(TrainConfig, [*overrides, "steps=[retriever,interpolate]"])
    whole = run_recipe(config, source=source, out=tmp_path / "whole").rows[-1]
    assert list(whole.record["dev_ndcg"]) == ["1.0", "0.9", "0.8", "0.7", "0.6", "0.5"]
    best = max(whole.record["dev_ndcg"].values())
    assert whole.record["dev_ndcg"][f"{whole.record['share']:.1f}"] == best
    assert bool(whole.reason) == (whole.record["share"] == 1 or not whole.kept)
    monkeypatch.setattr("shortlist.jobs.train.interpolating.SHARES", (0.5,))
    steps = tmp_path / "half" / "steps"
    assert run_recipe(config, source=source, out=tmp_path / "half").rows[-1].record["share"] == 0.5
    folders = (tiny_model_folder, steps / "01-retriever" / "encoder", steps / "02-interpolate" / "encoder")
    before, after, half = (load_file(folder / "model.safetensors") for folder in folders)
    assert any(np.abs(after[name] - before[name]).max() > 1e-3 for name in before)
    assert all(np.abs(half[name] - (before[name] + after[name]) / 2).max() < 1e-6 for name in before)


def test_measures_are_those_of_the_evaluations_own_library(tiny_queries, tiny_judgments):
    import ir_measures
    from ir_measures import Judged, R, nDCG

    rng = np.random.default_rng(0)
    grades = {}
    for each in tiny_judgments:
        if rng.random() < 0.4:
            grades.setdefault(each.query_id, {})[each.product_id] = each.grade
    order = [f"{number:04d}" for number in range(60)]
    run = {
        query.query_id: [(order[row], 60.0 - place) for place, row in enumerate(rng.permutation(60))]
        for query in tiny_queries
    }
    measured = measure(run, tiny_queries, grades, min_grade=2)
    qrels = [ir_measures.Qrel(name, product, grade) for name, of in grades.items() for product, grade in of.items()]
    scored = [ir_measures.ScoredDoc(name, product, score) for name, of in run.items() for product, score in of]
    names = {
        nDCG @ 10: "nDCG@10",
        nDCG(judged_only=True) @ 10: "condensed_nDCG@10",
        R(rel=2) @ 100: "R(rel=2)@100",
        Judged @ 10: "Judged@10",
    }
    for found in ir_measures.iter_calc(list(names), qrels, scored):
        assert measured.values[names[found.measure]][found.query_id] == pytest.approx(found.value, abs=1e-9)


def test_an_interrupted_recipe_goes_on_after_the_last_whole_step(source, config, tmp_path, monkeypatch):
    whole = run_recipe(config, source=source, out=tmp_path / "whole")
    out, mining = tmp_path / "killed", recipe.STEPS["hard_negatives"]

    class Killed:
        name, needs, makes, decides, labels = mining.name, mining.needs, mining.makes, mining.decides, mining.labels

        def run(self, bench, folder):
            raise KeyboardInterrupt

        def rankers(self, bench):
            return {}

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "STEPS", {**recipe.STEPS, mining.name: Killed()})
        with pytest.raises(KeyboardInterrupt):
            run_recipe(config, source=source, out=out)
    began = (out / "steps" / "01-retriever" / "step.json").stat().st_mtime_ns
    resumed = run_recipe(config, source=source, out=out)
    assert (out / "steps" / "01-retriever" / "step.json").stat().st_mtime_ns == began
    assert [row.scored for row in resumed.rows] == [row.scored for row in whole.rows]
    assert [row.kept for row in resumed.rows] == [row.kept for row in whole.rows]
    wide = [[line for line in ablation(report).splitlines() if line.count("|") >= 10] for report in (whole, resumed)]
    told = [sorted(line.rsplit(" | ", 2)[0] for line in lines) for lines in wide]  # the last cells say minutes
    assert told[0] == told[1]


class Spoiling:
    """A step whose encoder is worse: random weights."""

    name, needs, makes, decides, labels = "spoil", (), ("encoder",), "dense", True

    def run(self, bench, folder):
        tower = bench.tower()
        tower.save(folder / "encoder")
        from safetensors.numpy import load_file, save_file

        path = folder / "encoder" / "model.safetensors"
        weights = load_file(path)
        rng = np.random.default_rng(0)
        save_file({name: rng.normal(size=of.shape).astype(of.dtype) for name, of in weights.items()}, path)
        return Made({"encoder": folder / "encoder"})

    def rankers(self, bench):
        return {}


def test_a_step_that_does_not_help_is_left_out_and_the_table_says_why(source, overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "STEPS", {**recipe.STEPS, "spoil": Spoiling()})
    config = load_config(TrainConfig, [*overrides, "steps=[retriever,spoil]"])
    report = run_recipe(config, source=source, out=tmp_path / "run")
    spoilt = report.rows[2]
    assert not spoilt.kept
    assert spoilt.reason.startswith("dense nDCG@10 on the tuning queries 0.")
    assert report.artefacts["encoder"] == "steps/01-retriever/encoder"
    assert spoilt.reason in (tmp_path / "run" / "ablation.md").read_text()


def test_typos_are_decided_by_misspelt_queries(source, overrides, tmp_path):
    config = load_config(TrainConfig, [*overrides, "steps=[retriever,typos]"])
    report = run_recipe(config, source=source, out=tmp_path / "run")
    row = report.rows[2]
    told = json.loads((tmp_path / "run/steps/02-typos/encoder/training.json").read_text())
    assert (told["trainer"]["noise_weight"], told["trainer"]["epochs"]) == (1.0, 2)
    assert (told["report"]["dev"], told["report"]["best_epoch"]) == ([], 2.0)  # clean queries would stop it at once
    assert told["report"]["queries"] == report.counts["learn"]  # those that choose are not learned from
    assert "dense, one edit" in row.scored
    assert row.kept == (not row.reason)
    assert not row.reason or row.reason.startswith("dense, one edit nDCG@10 on the tuning queries")


def test_further_seeds_repeat_the_recipe_and_the_table_has_their_spread(source, overrides, tmp_path):
    settings = [*overrides, "steps=[retriever]"]
    once = run_recipe(load_config(TrainConfig, settings), source=source, out=tmp_path / "run")
    thrice = run_recipe(load_config(TrainConfig, [*settings, "seeds=[8,9]"]), source=source, out=tmp_path / "run")
    assert [row.seconds for row in thrice.rows] == [row.seconds for row in once.rows]  # gone on with, not trained again
    assert list(thrice.repeats) == [8, 9]
    values = [report["dense"]["nDCG@10"] for report in (thrice.headline, *thrice.repeats.values())]
    line = next(
        line for line in (tmp_path / "run/ablation.md").read_text().splitlines() if "| dense | nDCG@10 |" in line
    )
    assert thrice.headline["whole recipe"] == thrice.headline["hybrid"]  # nothing behind the first stage
    cells = [*values, np.mean(values), np.std(values, ddof=1)]
    assert line == f"| dense | nDCG@10 | {' | '.join(f'{value:.4f}' for value in cells)} |"
    told = json.loads((tmp_path / "run/seeds/8/steps/01-retriever/encoder/training.json").read_text())
    assert told["trainer"]["seed"] == 8
    with pytest.raises(ConfigError, match=r"seeds must differ from each other and from 7, got \[7\]"):
        load_config(TrainConfig, [*settings, "seeds=[7]"])


def test_the_scored_queries_decide_nothing(source, config, tmp_path):
    first = run_recipe(config, source=source, out=tmp_path / "first")
    judged = (source / "judgments.csv").read_text().splitlines()
    scored = [name for name, split in SPLITS.items() if split == "test"]
    turned = [
        f"{line.rpartition(',')[0]},{3 - int(line.rpartition(',')[2])}" if line.split(",")[0] in scored else line
        for line in judged
    ]
    (source / "judgments.csv").write_text("\n".join(turned) + "\n")
    second = run_recipe(config, source=source, out=tmp_path / "second")
    assert [row.scored for row in first.rows] != [row.scored for row in second.rows]
    assert [(row.kept, row.tuned) for row in first.rows] == [(row.kept, row.tuned) for row in second.rows]
    losses = [
        json.loads((tmp_path / run / "steps/01-retriever/encoder/training.json").read_text())
        for run in ("first", "second")
    ]
    assert losses[0]["report"]["losses"] == losses[1]["report"]["losses"]


def test_without_splits_no_label_is_learned_from(source, config, tmp_path):
    (source / "splits.csv").unlink()
    report = run_recipe(config, source=source, out=tmp_path / "run")
    assert report.counts == {"learn": 0, "tune": 0, "scored": 10}
    assert [row.reason for row in report.rows[1:]] == ["no labelled queries to learn from"] * 2 + [""]
    assert report.artefacts == {}


def test_few_labels_learns_from_the_products_alone(source, overrides, tmp_path):
    (source / "splits.csv").unlink()
    config = load_config(
        TrainConfig,
        ["experiment=few_labels", "steps=[adapt,attacks]", "folds=0", *overrides,
         "adaptation.precision=fp32", "adaptation.batch_size=32",
         "adaptation.learning_rate=2e-3", "adaptation.epochs=3", "synthetic.products=60", "synthetic.dev_share=0.1"],
    )  # fmt: skip
    report = run_recipe(config, source=source, out=tmp_path / "run")
    adapt = report.rows[1]
    assert adapt.kept
    assert adapt.record["kept"]["title"] > 20
    assert sum(adapt.record["kept"].values()) <= sum(adapt.record["made"].values())
    assert adapt.record["training"]["dev_queries"] > 0
    assert adapt.scored["dense"].means["nDCG@10"] > report.rows[0].scored["dense"].means["nDCG@10"]


def test_without_a_test_split_a_fixed_share_of_train_chooses(source, overrides, tmp_path):
    text = (source / "splits.csv").read_text().replace("test", "dev")
    (source / "splits.csv").write_text(text)
    ground = read_ground(load_config(TrainConfig, [*overrides, "tune_share=0.5"]), source)
    roles = {role: {query.query_id for query in queries} for role, queries in ground.queries.items()}
    assert roles["scored"] == set(SPLITS)
    assert roles["tune"]
    assert roles["learn"]
    assert not roles["tune"] & roles["learn"]
    assert read_ground(load_config(TrainConfig, [*overrides, "tune_share=0.5"]), source).queries == ground.queries


def test_the_mined_negatives_are_written_with_their_estimated_share_of_good_products(source, config, tmp_path):
    report = run_recipe(config, source=source, out=tmp_path / "run")
    told = report.rows[2].record["mining"]
    low, high = told["false_negative_interval"]
    assert told["hidden"] > 0
    assert low <= told["false_negative_share"] <= high
    found = json.loads((tmp_path / "run" / "steps" / "02-hard_negatives" / "negatives.json").read_text())
    assert sum(map(len, found.values())) == told["negatives"]
    assert not math.isnan(report.rows[2].tuned)


def test_an_unknown_step_is_refused_with_a_suggestion(source, overrides, tmp_path):
    config = load_config(TrainConfig, [*overrides, "steps=[retreiver]"])
    with pytest.raises(ConfigError, match="unknown step 'retreiver'; did you mean 'retriever'"):
        run_recipe(config, source=source, out=tmp_path / "run")


def test_a_folder_of_another_recipe_or_of_nobody_is_refused(source, overrides, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(ConfigError, match="mine holds files that no recipe wrote"):
        run_recipe(load_config(TrainConfig, overrides), source=source, out=tmp_path / "mine")
    only = load_config(TrainConfig, [*overrides, "steps=[retriever]", "retriever.epochs=1"])
    run_recipe(only, source=source, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="run holds another recipe's run, or one on other data"):
        run_recipe(load_config(TrainConfig, overrides), source=source, out=tmp_path / "run")


def test_the_command_runs_a_recipe(source, overrides, tmp_path, capsys):
    command = ["train", "experiment=many_labels", "--source", str(source), "--out", str(tmp_path / "run"), "--json"]
    assert main([*command, *overrides, "steps=[retriever]"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in told["rows"]] == ["untrained", "retriever"]


def test_a_missing_package_of_the_extra_is_named(source, config, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(EnvironmentProblem, match=r"matplotlib.*pip install 'shortlist\[train\]'"):
        run_recipe(config, source=source, out=tmp_path / "run")
