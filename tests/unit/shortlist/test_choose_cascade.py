"""The table of quality and cost decides whether a cascade is used, and with how many candidates."""

import json
import shutil

import pytest

from rerank.corrected import Corrected, write_trees
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.folder import FUSION_FILE
from rerank.trees import read_trees
from retrieval.records import Product, Query
from shortlist.compose import load_config
from shortlist.jobs.train import cascading
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.cascading import HYBRID_CASCADE, ChooseCascade, cascade_lines, chosen
from shortlist.jobs.train.ground import LEARN, SCORED, TUNE, Ground
from shortlist.jobs.train.recipe import RecipeReport
from shortlist.jobs.train.report import summary
from shortlist.jobs.train.running import Row, one_step
from shortlist.training_config import TrainConfig

SHOP = [Product(f"p{place:02d}", f"red lamp {place}") for place in range(30)]


def row(way, passes, ndcg, ms):
    return {"way": way, "passes": passes, "nDCG@10": ndcg, "ms": ms}


def test_the_cheapest_cascade_that_loses_next_to_nothing_is_chosen():
    whole, student = row("whole", None, 0.80, 100.0), row("student", None, 0.70, 5.0)
    ten, twenty, thirty = (row("cascade", n, q, ms) for n, q, ms in ((10, 0.79, 25), (20, 0.7985, 45), (30, 0.81, 65)))
    assert chosen([student, whole, ten, twenty, thirty]) == 20
    assert chosen([student, whole, ten, thirty]) == 30
    assert chosen([student, whole, ten]) is None
    assert chosen([student, whole, row("cascade", 30, 0.81, 71.0)]) is None
    assert chosen([student, whole]) is None


@pytest.fixture
def bench(tmp_path, tiny_model_folder, tiny_cross_encoder_folder):
    settings = (f"encoder.model={tiny_model_folder}", "runtime.precision=fp32", "runtime.device=cpu", "depth=25")
    config = load_config(TrainConfig, [*settings, "runtime.threads=1", "steps=[cascade]"])
    roles = {role: [Query(f"{role}{place}", f"red lamp {place}") for place in range(3)] for role in (TUNE, SCORED)}
    grades = {query.query_id: {f"p{query.query_id[-1:]:0>2}": 1} for some in roles.values() for query in some}
    texts = {product.product_id: product.title for product in SHOP}
    ground = Ground(
        "toy", tuple(SHOP), texts, {LEARN: [Query("q", "learned")], **roles}, {**grades, "q": {}}, {}, {}, ""
    )
    made = {}
    for name in ("reranker", "student"):
        made[name] = shutil.copytree(tiny_cross_encoder_folder, tmp_path / "run" / name)
        (made[name] / FUSION_FILE).write_text(json.dumps({"weight": 0.5}))
    return Bench(config, ground, tmp_path / "run", tmp_path / "vectors", artefacts=made)


def test_every_way_is_measured_on_the_choosing_queries_and_the_report_has_the_table(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(cascading, "SHARE", 0.0)
    found = one_step(bench, ChooseCascade(), bench.out / "steps" / "none")
    assert (found.kept, "cascade" in bench.artefacts) == (False, False)
    assert found.reason.startswith("no cascade within 0.002 of the whole model's nDCG@10 takes at most")
    assert [(row["way"], row["passes"]) for row in found.record["table"]] == [
        ("student", None), ("whole", None), ("cascade", 10), ("cascade", 20),
    ]  # fmt: skip
    assert all(row["ms"] > 0 for row in found.record["table"])
    assert "| cascade | 20 |" in "\n".join(cascade_lines(found.record))
    assert cascade_lines(found.record)[-1] == "The cascade is not used."
    monkeypatch.setattr(cascading, "SHARE", 1e9)
    monkeypatch.setattr(cascading, "LOSS", 1.0)
    step = ChooseCascade()
    made = step.run(bench, bench.out)
    assert made.refused == ""
    bench.artefacts |= made.artefacts
    (rank,) = step.rankers(bench).values()
    run = rank(bench.ground.queries[SCORED], 30)
    assert {len(ranked) for ranked in run.values()} == {30}
    values = [[score for _, score in ranked] for ranked in run.values()]
    assert values == [sorted(scores, reverse=True) for scores in values]
    rows = (Row(step="untrained", kept=True),)
    report = RecipeReport("toy", "x", {SCORED: 3}, rows, {"cascade": "cascade.json"}, {}, {}, 0.0)
    passes = made.record["passes"]
    assert f"reranker.student={bench.out / 'models' / 'student'} reranker.passes={passes}" in summary(report, bench.out)
    assert list(step.rankers(bench)) == [HYBRID_CASCADE]


def test_what_cannot_be_a_cascade_is_refused_in_words(bench):
    write_trees(bench.artefacts["reranker"], Corrected(Convex(0.5), read_trees([], features=len(FEATURES))), {})
    assert "trees" in ChooseCascade().run(bench, bench.out).refused
    (bench.artefacts["student"] / FUSION_FILE).write_text(json.dumps({"weight": 0.0}))
    assert ChooseCascade().run(bench, bench.out).refused == "the student weighs 0 in the final fusion"
