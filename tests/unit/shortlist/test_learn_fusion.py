"""The first fusion of a recipe: chosen on held-out queries, source by source, and used from then on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from retrieval.config import ConvexConfig, RrfConfig, ZscoreConfig
from retrieval.records import Query
from retrieval.text import normalise_query
from shortlist.compose import load_config
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.fusing import LearnFusion, candidates
from shortlist.jobs.train.ground import LEARN, SCORED, TUNE
from shortlist.jobs.train.recipe import RecipeReport
from shortlist.jobs.train.report import summary
from shortlist.training_config import TrainConfig

PRODUCTS = tuple(f"p{place:02d}" for place in range(40))
CONFIGURED = ZscoreConfig(source_depth=40)


def ranked(scores):
    order = np.argsort(-scores, kind="stable")
    return order.astype(np.int64), scores[order].astype(np.float32)


def bench_of(*, dense_noise, lexical_noise, queries=40, seed=0):
    """Queries whose grades both sources see through noise; queries to learn from and to be scored would break it."""
    rng = np.random.default_rng(seed)
    tune = [Query(f"q{place}", f"text {place}") for place in range(queries)]
    grades = {query.query_id: dict(zip(PRODUCTS, rng.integers(0, 4, 40).tolist(), strict=True)) for query in tune}
    seen = {
        query.text: {
            name: ranked(np.array([*grades[query.query_id].values()]) + rng.normal(scale=noise, size=40))
            for name, noise in (("dense", dense_noise), ("lexical", lexical_noise))
        }
        for query in tune
    }
    roles = {TUNE: tune, LEARN: [Query("learn", "?")], SCORED: [Query("scored", "?")]}
    return SimpleNamespace(
        fusion=CONFIGURED,
        product_ids=PRODUCTS,
        unseen=tune,
        ground=SimpleNamespace(queries=roles, grades=grades),
        asked=normalise_query,
        sources=lambda texts: [seen[text] for text in texts],
    )


def learned(bench, folder):
    folder.mkdir()
    made = LearnFusion().run(bench, folder)
    return json.loads(made.artefacts["fusion"].read_text()), made.record


def test_a_source_that_says_nothing_is_left_out_and_the_gain_holds_on_queries_without_a_part_in_it(tmp_path):
    for name, noises, share in (("a", (0.3, 99.0), 1.0), ("b", (99.0, 0.3), 0.0)):
        found, record = learned(bench_of(dense_noise=noises[0], lexical_noise=noises[1]), tmp_path / name)
        assert found["dense"] == pytest.approx(share, abs=0.11)
        assert found["lexical"] == pytest.approx(1 - share, abs=0.11)
        assert record["choice"]["nested_gain"] == pytest.approx(record["choice"]["gain"], abs=0.02)
        assert record["choice"]["gain"] > 0.1


def test_two_sources_that_err_apart_keep_the_configured_fusion_or_one_that_weighs_both(tmp_path):
    found, record = learned(bench_of(dense_noise=1.0, lexical_noise=1.0), tmp_path / "a")
    assert min(found["dense"], found["lexical"]) > 0
    means = record["nDCG@10"]
    assert len(means) == 1 + 33
    best = max(means.values())
    assert means["zscore dense=1 lexical=1"] <= best <= means["zscore dense=1 lexical=1"] + 0.05
    assert best > max(means["zscore dense=0 lexical=1"], means["zscore dense=1 lexical=0"])


def test_a_fusion_that_finds_less_does_not_win_however_well_it_orders_ten(tmp_path):
    """The dense source finds 10 of 60 good products, in order; the lexical one all, and a bad one far above them."""
    names = tuple(f"p{place:03d}" for place in range(200))
    queries = [Query(f"q{place}", f"text {place}") for place in range(20)]
    outlier = np.array([0.0] * 199 + [999.0]) + np.linspace(1, 0, 200)
    lists = {"dense": (np.arange(10), np.linspace(1, 0.5, 10, dtype=np.float32)), "lexical": ranked(outlier)}
    bench = SimpleNamespace(
        fusion=ZscoreConfig(source_depth=200),
        product_ids=names,
        unseen=queries,
        ground=SimpleNamespace(grades={query.query_id: dict.fromkeys(names[:60], 3) for query in queries}),
        asked=normalise_query,
        sources=lambda texts: [lists for _ in texts],
    )
    found, record = learned(bench, tmp_path / "a")
    means = record["nDCG@10"]
    assert means["zscore dense=1 lexical=0"] == max(means.values()) > means["zscore dense=1 lexical=1"]
    assert found["lexical"] > 0
    assert record["found less"] == 3


def test_too_few_queries_and_none_keep_what_was_configured(tmp_path):
    for name, queries in (("few", 9), ("none", 0)):
        found, record = learned(bench_of(dense_noise=0.1, lexical_noise=99.0, queries=queries), tmp_path / name)
        assert found == {"kind": "zscore", "dense": 1.0, "lexical": 1.0, "source_depth": 40}
        assert (record["queries"], record["choice"]["place"]) == (queries, 0)


def test_every_kind_is_tried_at_every_share_with_the_configured_depth():
    tried = list(candidates(CONFIGURED))
    assert {type(config) for config in tried} == {ZscoreConfig, ConvexConfig, RrfConfig}
    assert {config.source_depth for config in tried} == {40}
    assert {round(config.dense + config.lexical, 9) for config in tried} == {1.0}
    assert sorted({config.dense for config in tried}) == pytest.approx(np.linspace(0, 1, 11))


def test_a_recipe_goes_on_with_the_learned_fusion_and_says_how_to_build_with_it(tmp_path):
    config = load_config(TrainConfig, ["steps=[fusion]"])
    path = tmp_path / "fusion.json"
    path.write_text(json.dumps({"kind": "convex", "dense": 0.7, "lexical": 0.3, "source_depth": 500}))
    bench = Bench(config=config, ground=None, out=tmp_path, vectors=tmp_path / "vectors")
    assert bench.fusion == config.fusion
    bench.artefacts["fusion"] = path
    assert bench.fusion == ConvexConfig(dense=0.7, lexical=0.3, source_depth=500)
    report = RecipeReport("toy", "test is scored", {"scored": 1}, (), {"fusion": "fusion.json"}, {}, {}, 1.0)
    assert "fusion=convex fusion.dense=0.7 fusion.lexical=0.3 fusion.source_depth=500" in summary(report, tmp_path)
