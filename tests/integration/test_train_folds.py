"""A recipe without splits: every query scored once by what the other folds made; the rest of a recipe as it is."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import storage
from indexing.errors import ConfigError, SourceDataError
from retrieval.metrics import has_gain
from shortlist.compose import load_config
from shortlist.jobs.train import recipe
from shortlist.jobs.train.ground import LEARN, SCORED, TUNE, read_ground
from shortlist.jobs.train.recipe import run_recipe
from shortlist.jobs.train.steps import Made
from shortlist.training_config import TrainConfig

TEXTS = "red mouse,mouse red,keyboard,laptop,charger,head set,headset,phone case,sofa,armchair,shoes,Acme,Norvik,couch"
SEATS = {"sofa", "office chair"}


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def source(tmp_path, tiny_products):
    """Queries that each want their own products, which no product says of itself; one wants nothing."""
    folder = tmp_path / "shop"
    folder.mkdir()
    columns = {name: [getattr(product, name) for product in tiny_products] for name in ("product_id", "title")}
    pq.write_table(pa.table(columns), folder / "products.parquet")
    queries = [(f"q{place:02d}", text) for place, text in enumerate(TEXTS.split(","))]
    judged = [
        (query_id, tiny_products[(7 * place + step) % 60].product_id, max(0, 3 - step) if place != 9 else 0)
        for place, (query_id, _) in enumerate(queries)
        for step in range(5)
    ]
    write_csv(folder / "queries.csv", ["query_id", "text"], queries)
    write_csv(folder / "judgments.csv", ["query_id", "product_id", "grade"], judged)
    return folder


@pytest.fixture
def overrides(recipe_overrides):
    return [*recipe_overrides, "folds=4"]


class Once:
    """A step without labels that changes nothing: the encoder as it is."""

    name, needs, makes, decides, labels = "once", (), ("encoder",), "dense", False

    def __init__(self):
        self.runs = 0

    def run(self, bench, folder):
        self.runs += 1
        bench.tower().save(folder / "encoder")
        return Made({"encoder": folder / "encoder"}, {"seed": 1})

    def rankers(self, bench):
        return {}


class Memory:
    """A step that knows the good products of every query it saw, and is killed when it starts its ``dies``-th run."""

    name, needs, makes, decides, labels = "memory", (), ("answers",), "hybrid_rerank", True

    def __init__(self, dies=0):
        self.runs, self.dies = 0, dies

    def run(self, bench, folder):
        self.runs += 1
        if self.runs == self.dies:
            raise KeyboardInterrupt
        ground = bench.ground
        seen = {
            query.query_id: ground.grades[query.query_id] for role in (LEARN, TUNE) for query in ground.queries[role]
        }
        storage.replace_json(folder / "answers.json", seen)
        return Made(
            {"answers": folder / "answers.json"}, {"roles": {name: len(of) for name, of in ground.queries.items()}}
        )

    def rankers(self, bench):
        seen = storage.read_json(bench.artefacts["answers"])

        def rank(queries, depth):
            found = bench.run("hybrid", queries, depth)
            for query_id, ranking in found.items():
                grades = seen.get(query_id, {})
                ranking.sort(key=lambda hit: -grades.get(hit[0], 0))
            return found

        return {"hybrid_rerank": rank}


@pytest.fixture
def steps(monkeypatch):
    """Replace the steps that there are by the two above."""

    def replace(**memory):
        made = (Once(), Memory(**memory))
        monkeypatch.setattr(recipe, "STEPS", {**recipe.STEPS, **{step.name: step for step in made}})
        return made

    return replace


@pytest.fixture
def config(overrides):
    return load_config(TrainConfig, [*overrides, "steps=[once,memory]"])


def test_every_query_is_scored_once_by_what_saw_neither_it_nor_a_twin(source, overrides, steps, tmp_path):
    once, memory = steps()
    config = load_config(TrainConfig, [*overrides, "steps=[once,memory,attacks]"])
    report = run_recipe(config, source=source, out=tmp_path / "run")
    untrained, shared, learned, attacked = report.rows
    graded = {query_id for query_id, grades in _ground(config, source).grades.items() if has_gain(grades)}
    assert set(learned.scored["hybrid_rerank"].values["nDCG@10"]) == graded
    assert len(graded) == 13
    assert learned.scored["hybrid_rerank"] == untrained.scored["hybrid"]  # what was remembered was of no use to it
    assert untrained.scored["hybrid, zscore"] == untrained.scored["hybrid"] != untrained.scored["hybrid, rrf"]
    assert learned.kept_in == "4 of 4"  # although it knew all of those that choose
    assert [fold["tuned"] for fold in learned.record["folds"]] == [pytest.approx(1.0)] * 4
    assert (once.runs, memory.runs) == (1, 5)
    assert shared.kept_in == "0 of 4"  # no better than without
    assert attacked.record["queries"]["one edit"]["counted"] == 13
    clean = attacked.record["queries"]["one edit"]["hybrid"]["nDCG@10"]["clean"]
    assert clean == pytest.approx(untrained.scored["hybrid"].means["nDCG@10"])


def test_the_models_for_a_build_learn_from_all_labels_and_the_report_says_whose_figures_it_has(
    source, config, steps, tmp_path
):
    steps()
    out = tmp_path / "run"
    report = run_recipe(config, source=source, out=out)
    assert report.artefacts == {"answers": "final/steps/02-memory/answers.json"}
    assert len(json.loads((out / report.artefacts["answers"]).read_text())) == 14
    assert report.counts["learn"] + report.counts["tune"] == report.counts["scored"] == 14
    table = (out / "ablation.md").read_text()
    for text in ("4 folds by sha256 of seed 7", "figures are those of the folds", "| 4 of 4 |", "## Against the best"):
        assert text in table
    against = json.loads((out / "report.json").read_text())["against_untrained"]
    last = [one for one in against if one["step"] == "memory"]
    assert [one["measure"] for one in last] == ["nDCG@10", "condensed_nDCG@10", "R(rel=2)@100", "Judged@10"]
    assert {one["system"] for one in last} == {"hybrid_rerank"}
    means = {name: of.means["nDCG@10"] for name, of in report.rows[0].scored.items()}
    assert last[0]["untrained_mean"] == max(means.values())
    assert last[0]["difference"] == pytest.approx(means["hybrid"] - max(means.values()))
    hits = json.loads((out / "hits.json").read_text())
    assert set(hits) == {"bm25", "dense", "hybrid", "hybrid_rerank"}
    assert len(hits["hybrid_rerank"]) == 14
    assert all(len(found) == 10 for found in hits["hybrid_rerank"].values())


def test_without_refit_no_model_is_left(source, overrides, steps, tmp_path):
    _, memory = steps()
    config = load_config(TrainConfig, [*overrides, "steps=[memory]", "refit=false"])
    report = run_recipe(config, source=source, out=tmp_path / "run")
    assert (report.artefacts, memory.runs, report.rows[1].kept) == ({}, 4, True)


def test_a_killed_cross_validation_goes_on_in_the_fold_where_it_stopped(source, config, steps, tmp_path):
    steps()
    whole = run_recipe(config, source=source, out=tmp_path / "whole")
    steps(dies=3)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, source=source, out=tmp_path / "killed")
    once, memory = steps()
    resumed = run_recipe(config, source=source, out=tmp_path / "killed")
    assert (once.runs, memory.runs) == (0, 3)
    assert [(row.kept_in, row.scored, row.stands) for row in resumed.rows] == [
        (row.kept_in, row.scored, row.stands) for row in whole.rows
    ]
    assert resumed.hits == whole.hits


def test_the_grades_of_a_fold_decide_nothing_in_it(source, config, steps, tmp_path):
    steps()
    first = run_recipe(config, source=source, out=tmp_path / "first")
    ground = _ground(config, source)
    scored = {query.query_id for query in ground.fold(0).queries[SCORED]}
    lines = (source / "judgments.csv").read_text().splitlines()
    turned = [f"{line[:-1]}{3 - int(line[-1])}" if line[:3] in scored else line for line in lines]
    (source / "judgments.csv").write_text("\n".join(turned) + "\n")
    second = run_recipe(config, source=source, out=tmp_path / "second")
    assert first.rows[0].scored != second.rows[0].scored
    assert first.rows[1].record["folds"] != second.rows[1].record["folds"]
    for one, other in zip(first.rows[1:3], second.rows[1:3], strict=True):
        assert one.record["folds"][0] == other.record["folds"][0]


def test_folds_part_all_queries_and_twins_share_one(source, config):
    ground = _ground(config, source)
    parts = [ground.fold(number) for number in range(ground.folds)]
    everyone = sorted(query.query_id for query in ground.queries[SCORED])
    for role in (SCORED, TUNE):
        assert sorted(query.query_id for part in parts for query in part.queries[role]) == everyone
    for part in parts:
        assert sorted(query.query_id for of in part.queries.values() for query in of) == everyone
    assert ground.fold_of["q00"] == ground.fold_of["q01"]
    assert ground.fold_of["q05"] == ground.fold_of["q06"]


def test_few_labels_weighs_a_cross_encoder_on_all_that_a_fold_may_look_at(
    source, overrides, tiny_model_folder, tmp_path
):
    settings = ["experiment=few_labels", *overrides, "folds=3", "inner_folds=2", "steps=[fusion,reranker]", "depth=20"]
    settings += [f"reranker.base={tiny_model_folder}", "reranker.epochs=1", "reranker.max_tokens=16"]
    report = run_recipe(load_config(TrainConfig, settings), source=source, out=tmp_path / "run")
    fusion, reranker = report.rows[1:]
    assert fusion.record["queries"] == 13  # of all labels, for a build
    assert reranker.record["inner_folds"] == 2
    asked = [fold["record"]["choice"]["queries"] for fold in reranker.record["folds"]]
    assert sum(asked) == 2 * 13  # each query by the two folds that it is not scored in
    made = tmp_path / "run" / "final" / "steps" / "02-reranker"
    weight = json.loads((made / "reranker" / "final_fusion.json").read_text())["weight"]
    assert (weight > 0) == reranker.kept == ("reranker" in report.artefacts)
    if not reranker.kept:
        assert reranker.reason == "no weight above 0 won on 13 queries that its models had not seen"


def test_splits_go_before_folds(source, config, capsys):
    names = [f"q{place:02d}" for place in range(14)]
    write_csv(source / "splits.csv", ["query_id", "split"], [(name, "train") for name in names[:7]])
    ground = _ground(config, source)
    assert (ground.folds, ground.fold_of) == (0, {})
    assert "folds=4 has no part: parquet has splits" in capsys.readouterr().err


def test_too_few_queries_and_too_few_folds_are_refused(source, overrides):
    with pytest.raises(SourceDataError, match=r"13 folds need .* got 12; judge more queries, or set folds=0"):
        _ground(load_config(TrainConfig, [*overrides, "folds=13"]), source)
    with pytest.raises(ConfigError, match=r"folds must be 0 or at least 3 .*, got 2"):
        load_config(TrainConfig, [*overrides, "folds=2"])


def _ground(config, source):
    return read_ground(config, source)
