"""A cross-encoder for few labels: its weight is chosen on every query, by models that had not seen it."""

import json
import operator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexing.errors import ConfigError
from rerank.config import CrossEncoderTrainerConfig
from rerank.folder import FUSION_FILE
from retrieval.records import Judgment, Query
from shortlist.compose import load_config
from shortlist.jobs.train import cross_fitting
from shortlist.jobs.train.cross_fitting import cross_fit
from shortlist.jobs.train.ground import LEARN, TUNE
from shortlist.training_config import TrainConfig

PRODUCTS = tuple(f"p{place:02d}" for place in range(20))
WORDS = ("mouse", "laptop", "charger", "sofa", "armchair", "speaker", "phone", "printer")
WORDS += ("toner", "desk", "lamp", "radio", "tripod", "camera", "battery", "cable")


@pytest.fixture
def bench():
    rng = np.random.default_rng(0)
    queries = [Query(f"q{place}", f"{word}x") for place, word in enumerate(WORDS)]
    grades = {query.query_id: dict(zip(PRODUCTS, rng.integers(0, 4, 20).tolist(), strict=True)) for query in queries}
    lists = {query.query_id: [(name, float(-rank)) for rank, name in enumerate(PRODUCTS)] for query in queries}
    roles = {LEARN: queries[:12], TUNE: queries[12:]}

    def judgments(*names):
        found = [query.query_id for role in names for query in roles[role]]
        return [Judgment(name, product, grade) for name in found for product, grade in grades[name].items()]

    ground = SimpleNamespace(queries=roles, grades=grades, texts={name: name for name in PRODUCTS}, judgments=judgments)
    asked = operator.methodcaller("removesuffix", "x")  # every query is mistyped
    return SimpleNamespace(
        ground=ground,
        asked=asked,
        queries=lambda *names: [replace(query, text=asked(query.text)) for role in names for query in roles[role]],
        config=SimpleNamespace(inner_folds=4, fold_seed=7, depth=20, runtime=None),
        run=lambda system, queries, depth: {query.query_id: lists[query.query_id] for query in queries},
    )


@pytest.fixture
def trained(bench, monkeypatch):
    """Let a training remember its queries; a model of it knows the grades of those, and of others as ``knows`` says."""
    runs, knows = [], []

    def train(config, *, queries, judgments, dev_query_ids, first_stage, out, **_):
        assert not dev_query_ids
        names = {query.query_id for query in queries}
        assert {one.query_id for one in judgments} == set(first_stage) == names
        out.mkdir()
        (out / "texts.json").write_text(json.dumps(sorted(query.text for query in queries)))
        runs.append(names)
        fit = SimpleNamespace(steps=3, loss=0.5)
        return SimpleNamespace(pairs=len(judgments), grades={0: 1}, fit=fit)

    def opened(config, runtime):
        texts = json.loads((Path(config.model) / "texts.json").read_text())
        by_text = {query.text: query.query_id for query in bench.queries(LEARN, TUNE)}

        def score(query, names):
            grades = bench.ground.grades[by_text[query]] if query in texts or knows else {}
            return np.array([grades.get(name, 0) for name in names], np.float32)

        return SimpleNamespace(score=score)

    monkeypatch.setattr(cross_fitting, "train_reranker", train)
    monkeypatch.setattr(cross_fitting.CrossEncoderReranker, "open", opened)
    return SimpleNamespace(runs=runs, knows=knows)


def test_a_model_that_knows_only_what_it_saw_gets_no_weight_and_says_why(bench, trained, tmp_path):
    made = cross_fit(bench, tmp_path, CrossEncoderTrainerConfig(), "reranker")
    assert made.record["choice"]["weight"] == 0.0
    assert made.refused == "no weight above 0 won on 16 queries that its models had not seen"


def test_every_query_is_left_out_once_and_the_model_that_stays_learned_from_all(bench, trained, tmp_path):
    trained.knows.append("everything")
    made = cross_fit(bench, tmp_path, CrossEncoderTrainerConfig(), "reranker")
    everyone = {query.query_id for some in bench.ground.queries.values() for query in some}
    *inner, last = trained.runs
    assert sorted(name for names in inner for name in everyone - names) == sorted(everyone)
    assert last == everyone
    assert (made.refused, made.record["choice"]["queries"]) == ("", 16)
    assert json.loads((tmp_path / "reranker" / "texts.json").read_text()) == sorted(WORDS)  # as they are searched
    stored = json.loads((tmp_path / "reranker" / FUSION_FILE).read_text())
    assert stored["weight"] == made.record["choice"]["weight"] > 0.5
    assert not (tmp_path / "inner").exists()


def test_inner_folds_that_were_scored_are_not_trained_again(bench, trained, tmp_path, monkeypatch):
    train, killed = cross_fitting.train_reranker, []

    def dies(config, **settings):
        if len(trained.runs) == 2 and not killed:
            settings["out"].mkdir()
            killed.append(True)
            raise KeyboardInterrupt
        return train(config, **settings)

    monkeypatch.setattr(cross_fitting, "train_reranker", dies)
    with pytest.raises(KeyboardInterrupt):
        cross_fit(bench, tmp_path, CrossEncoderTrainerConfig(), "reranker")
    resumed = cross_fit(bench, tmp_path, CrossEncoderTrainerConfig(), "reranker")
    assert len(trained.runs) == 5
    whole = tmp_path / "whole"
    whole.mkdir()
    assert cross_fit(bench, whole, CrossEncoderTrainerConfig(), "reranker").record == resumed.record


def test_steps_that_need_queries_that_were_not_seen_are_refused_after_it():
    with pytest.raises(ConfigError, match=r"only attacks may follow step reranker.*got \['confidence', 'attacks'\]"):
        load_config(TrainConfig, ["inner_folds=4", "steps=[reranker,confidence,attacks]"])
    with pytest.raises(ConfigError, match="inner_folds must be 0 or at least 2, got 1"):
        load_config(TrainConfig, ["inner_folds=1"])
