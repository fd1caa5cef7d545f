"""The final fusion of a recipe: learned from queries of its own, left beside the cross-encoder, used by an engine."""

import json
import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from indexing.errors import ConfigError
from rerank.config import CrossEncoderConfig
from rerank.corrected import Corrected, fusion_of
from rerank.cost import BatchCost
from rerank.deadline import Deadline
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.folder import FUSION_FILE
from rerank.trees import LEAF, read_trees
from retrieval.config import ConvexConfig
from retrieval.records import Product, Query
from shortlist.caches import CacheConfig
from shortlist.compose import load_config
from shortlist.engine import SearchEngine
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.final_fusing import LearnFinalFusion
from shortlist.jobs.train.ground import FUSE, LEARN, SCORED, TUNE, Ground, read_ground
from shortlist.jobs.train.running import one_step
from shortlist.training_config import TrainConfig

KINDS, COLOURS = ("chair", "desk", "lamp", "sofa", "mug", "mat"), ("red", "blue", "grey", "pink", "gold", "white")
SHOP = [Product(f"{kind}-{colour}", f"{colour} {kind}") for kind in KINDS for colour in COLOURS]
STUMP = {"feature": [FEATURES.index("title_words"), LEAF, LEAF], "threshold": [0.9, 0, 0], "left": [1, 1, 2]}
STUMP |= {"right": [2, 1, 2], "value": [0.0, -1.0, 9.0]}
TREES = read_trees([STUMP], features=len(FEATURES))


@dataclass
class Blind:
    """A cross-encoder without an eye for anything."""

    fusion: Corrected | Convex
    asked: int = 0

    def score(self, query, texts):
        self.asked += len(texts)
        return np.arange(len(texts), dtype=np.float32) * 0


@pytest.fixture
def bench(tmp_path, tiny_model_folder, tiny_cross_encoder_folder):
    """Models that read nothing but numbers, and queries that want what bears both of their words in its title."""
    queries = {
        role: [
            Query(f"{role}-{kind}-{colour}{'' if role == FUSE else ' new'}", f"{colour} {kind}")
            for kind in KINDS
            for colour in COLOURS[: 6 if role == FUSE else 2]
        ]
        for role in (FUSE, TUNE, SCORED)
    }
    grades = {
        query.query_id: {
            product.product_id: 3 if set(query.text.split()) == set(product.title.split()) else 0 for product in SHOP
        }
        for some in queries.values()
        for query in some
    }
    settings = (f"encoder.model={tiny_model_folder}", "runtime.precision=fp32", "runtime.device=cpu", "depth=36")
    config = load_config(TrainConfig, [*settings, "runtime.threads=1", "steps=[final_fusion]"])
    config.fusion = ConvexConfig(dense=1.0, lexical=0.0)
    texts = {product.product_id: f"item {place}" for place, product in enumerate(SHOP)}
    roles = {LEARN: [Query("q", "learned by the models")], **queries}
    ground = Ground("toy", tuple(SHOP), texts, roles, {**grades, "q": {}}, {}, {}, "")
    cross = shutil.copytree(tiny_cross_encoder_folder, tmp_path / "cross")
    (cross / FUSION_FILE).write_text(json.dumps({"weight": 0.0}))
    return Bench(config, ground, tmp_path / "run", tmp_path / "vectors", artefacts={"reranker": cross})


def test_trees_are_learned_from_queries_of_their_own_and_kept_where_the_tuning_queries_are_better_off(bench, tmp_path):
    step = LearnFinalFusion()
    row = one_step(bench, step, bench.out / "steps" / "01-final_fusion")
    assert (row.kept, row.reason) == (True, "")
    assert row.record["queries"] == len(KINDS) * len(COLOURS)
    assert row.record["trees"] > 0
    assert row.record["choice"]["nested_gain"] > 0.2
    assert row.record["gains"]["title_words"] > 0.3
    scored = {system: found.means["nDCG@10"] for system, found in row.scored.items()}
    assert scored["hybrid_rerank"] > scored["hybrid"] + 0.3
    folder = bench.artefacts["reranker"]
    assert folder == bench.out / "steps" / "01-final_fusion" / "reranker"
    assert isinstance(fusion_of(CrossEncoderConfig(model=str(folder)), folder), Corrected)


def test_grades_of_other_queries_change_nothing_of_the_trees(bench, tmp_path):
    def learned(folder):
        folder.mkdir()
        made = LearnFinalFusion().run(bench, folder)
        return json.loads((made.artefacts["reranker"] / "final_trees.json").read_text())

    one = learned(tmp_path / "one")
    for query in (*bench.ground.queries[TUNE], *bench.ground.queries[SCORED]):
        of = bench.ground.grades[query.query_id]
        bench.ground.grades[query.query_id] = {name: 3 - grade for name, grade in of.items()}
    assert learned(tmp_path / "other") == one


def test_the_queries_of_the_final_fusion_are_taken_from_those_that_models_learn_from(tmp_path):
    rows = [(f"q{place}", f"text {place}", "train" if place < 80 else "test") for place in range(100)]
    (tmp_path / "products.csv").write_text("product_id,title\np1,red lamp\n")
    (tmp_path / "queries.csv").write_text("query_id,text\n" + "".join(f"{name},{text}\n" for name, text, _ in rows))
    (tmp_path / "judgments.csv").write_text("query_id,product_id,grade\n" + "".join(f"{n},p1,1\n" for n, *_ in rows))
    (tmp_path / "splits.csv").write_text("query_id,split\n" + "".join(f"{n},{split}\n" for n, _, split in rows))
    without = read_ground(load_config(TrainConfig, ["catalog=csv", "steps=[reranker]"]), tmp_path)
    config = load_config(TrainConfig, ["catalog=csv", "steps=[reranker,final_fusion]", "fuse_share=0.25"])
    ground = read_ground(config, tmp_path)
    assert FUSE not in without.queries
    assert 10 < len(ground.queries[FUSE]) < 30
    both = {query.query_id for role in (LEARN, FUSE) for query in ground.queries[role]}
    assert both == {query.query_id for query in without.queries[LEARN]}
    assert len(ground.queries[LEARN]) + len(ground.queries[FUSE]) == len(both)
    assert ground.queries[SCORED] == without.queries[SCORED]


def test_confidence_is_learned_after_the_order_that_it_judges():
    with pytest.raises(ConfigError, match="confidence after final_fusion"):
        load_config(TrainConfig, ["steps=[reranker,confidence,final_fusion]"])


# --- in an engine -----------------------------------------------------------------------------------------------------


def engine_over(generation):
    return SearchEngine(SimpleNamespace(load=lambda: generation, cache=CacheConfig()))


def test_an_engine_ranks_by_the_trees_within_a_deadline_or_without_and_explains_them(make_generation):
    generation = make_generation(SHOP, reranker=Blind(Corrected(Convex(0.0), TREES)))
    with engine_over(generation) as engine:
        first = engine.search("gold sofa", rerank=False, depth=36).hits
        found = engine.search("gold sofa", depth=36)
        assert [hit.product_id for hit in found.hits[:1]] == ["sofa-gold"]
        assert found.hits[0].score - found.hits[1].score > 5 > first[0].score - first[1].score
        assert engine.search("gold sofa", depth=36, deadline_ms=60_000).hits == found.hits
        told = engine.explain("gold sofa", "sofa-gold")
        assert told.parts["trees.title_words"] == 9.0
        assert sum(told.parts.values()) == pytest.approx(told.stage("answer").score, abs=1e-5)
        assert engine.explain("gold sofa", "sofa-gold", rerank=False).parts == {}
        late = engine.search("gold sofa", depth=36, deadline_ms=0)
        assert (late.degraded, late.reranked) == (("rerank",), (0, 36))


def test_a_cut_answer_is_told_as_such_and_the_unseen_follow(make_generation):
    blind = Blind(Corrected(Convex(0.0), TREES))
    generation = make_generation(SHOP, reranker=blind, cost=BatchCost(2.0, 1.0))
    deadline = Deadline.after(0.0, 20.0, clock=lambda: blind.asked * 0.001)
    found = generation.rank(["gold sofa"], recall_depth=36, rerank_depth=36, deadline=deadline)[0]
    scored, of = found.reranked
    assert (found.degraded, found.settled, of) == (("rerank",), False, 36)
    assert 0 < scored == blind.asked < 36
    assert ["rerank" in ranked.stages for ranked in found.ranked] == [True] * scored + [False] * (36 - scored)
    assert found.ranked[0].product_id == "sofa-gold"
    assert found.ranked[0].score - found.ranked[1].score > 5
