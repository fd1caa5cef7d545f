"""Train a cross-encoder on the toy shop, open what was written, and rerank with it."""

import json

import numpy as np
import pytest

from indexing.errors import ArtifactCorrupt, ConfigError, SourceDataError, StorageError
from rerank import CrossEncoderConfig, CrossEncoderTrainerConfig, open_reranker
from rerank.config import Loss
from rerank.final import Convex
from rerank.training import train_reranker
from retrieval.config import Precision, RuntimeConfig
from retrieval.records import Judgment, Query

CPU = RuntimeConfig(device="cpu", threads=1)
DEPTH = 20
GRADES = {"sofa": 3, "office chair": 2}


@pytest.fixture(scope="module")
def shop(tiny_products):
    """60 queries that all want something to sit on, complete grades, and a first stage that guesses.

    What is good is a matter of the product alone, so that a random network learns it within seconds.
    """
    texts = {product.product_id: product.title for product in tiny_products}
    grades = {p.product_id: GRADES[p.attributes["type"]] for p in tiny_products if p.attributes["type"] in GRADES}
    queries = [Query(f"q{p.product_id}", f"{p.attributes['colour']} seat {p.product_id}") for p in tiny_products]
    rng = np.random.default_rng(17)
    lists = {}
    for query in queries:
        bad = rng.permutation([product_id for product_id in texts if product_id not in grades])[: DEPTH - len(grades)]
        found = rng.permutation([*grades, *bad]).tolist()
        lists[query.query_id] = [(product_id, 1 / rank) for rank, product_id in enumerate(found, start=1)]
    judgments = [
        Judgment(query.query_id, product_id, grade) for query in queries for product_id, grade in grades.items()
    ]
    return {"queries": queries, "judgments": judgments, "product_texts": texts, "first_stage": lists}


def config(folder, **settings):
    recipe = {"epochs": 4, "max_per_grade": 8, "learning_rate": 3e-3, "freeze_embeddings": False}
    sizes = {"max_tokens": 32, "random_negatives": 2, "dev_share": 0.3, "complete_grades": True}
    return CrossEncoderTrainerConfig(base=str(folder), **{**recipe, **sizes, **settings})


def quick(folder, **settings):
    return config(folder, epochs=1, learning_rate=1e-3, max_per_grade=1, negatives_from_first_stage=1, **settings)


@pytest.fixture(scope="module")
def trained(tiny_model_folder, shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "reranker"
    return out, train_reranker(config(tiny_model_folder), runtime=CPU, out=out, progress=False, **shop)


def test_a_trained_cross_encoder_beats_a_first_stage_that_guesses(trained):
    _, report = trained
    assert report.choice.weight > 0.5
    assert report.choice.gain > 0.2
    assert (report.queries, report.dev_queries) == (42, 18)
    assert report.pairs == sum(report.grades.values())
    assert set(report.grades) == {0, 2, 3}
    assert report.grades[3] == report.grades[2] == 42 * 5
    assert report.fit.best_step <= report.fit.steps
    best = max(look.score for look in report.fit.evaluations)
    assert best == pytest.approx(max(report.choice.ndcg.values()))


def test_the_weight_is_stored_with_the_model_and_taken_when_it_is_opened(trained):
    out, report = trained
    stored = json.loads((out / "final_fusion.json").read_text())
    assert stored["weight"] == report.choice.weight
    assert stored["queries"] == 18
    assert stored["nDCG@10"]["0.0"] == report.choice.ndcg[0.0]
    reranker = open_reranker(CrossEncoderConfig(model=str(out)), CPU)
    assert reranker.fusion == Convex(report.choice.weight)


def test_the_opened_model_orders_products_by_their_grade(trained, shop):
    out, _ = trained
    reranker = open_reranker(CrossEncoderConfig(model=str(out)), CPU)
    ids, texts = list(shop["product_texts"]), list(shop["product_texts"].values())
    grades = {judgment.product_id: judgment.grade for judgment in shop["judgments"]}
    order = np.argsort(-reranker.score("purple seat 1234", texts))
    assert [grades.get(ids[i], 0) for i in order[:10]] == [3] * 5 + [2] * 5


def test_what_is_written_is_a_plain_cross_encoder_folder(trained, shop):
    import torch
    from sentence_transformers import CrossEncoder

    out, _ = trained
    pairs = [(query.text, text) for query in shop["queries"][:3] for text in list(shop["product_texts"].values())[:5]]
    library = CrossEncoder(str(out), device="cpu")
    reranker = open_reranker(CrossEncoderConfig(model=str(out)), CPU)
    assert reranker.score_many(pairs) == pytest.approx(
        library.predict(pairs, activation_fn=torch.nn.Identity()), abs=1e-5
    )
    assert library.predict(pairs).max() <= 1
    assert not list(out.rglob("*.bin"))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_state(tiny_model_folder, shop, tmp_path):
    import torch

    state = torch.random.get_rng_state()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        train_reranker(quick(tiny_model_folder, seed=seed), runtime=CPU, out=tmp_path / name, progress=False, **shop)
    assert bool((torch.random.get_rng_state() == state).all())
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"]
    assert weights["a"] != weights["c"]
    assert (tmp_path / "a" / "final_fusion.json").read_bytes() == (tmp_path / "b" / "final_fusion.json").read_bytes()


def test_only_the_output_folder_is_written(tiny_model_folder, shop, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    train_reranker(quick(tiny_model_folder), runtime=CPU, out=tmp_path / "models" / "r", progress=False, **shop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "work"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["r"]
    assert list(work.iterdir()) == []


def test_named_dev_queries_are_held_out_and_an_empty_output_folder_is_filled(tiny_model_folder, shop, tmp_path):
    (tmp_path / "r").mkdir()
    dev = [query.query_id for query in shop["queries"][:12]]
    report = train_reranker(
        quick(tiny_model_folder), runtime=CPU, out=tmp_path / "r", dev_query_ids=dev, progress=False, **shop
    )
    assert (report.queries, report.dev_queries) == (48, 12)
    assert report.choice.queries == 12


def test_without_a_first_stage_all_queries_are_trained_on_and_no_weight_is_stored(tiny_model_folder, shop, tmp_path):
    settings = {**shop, "first_stage": None}
    out = tmp_path / "r"
    report = train_reranker(quick(tiny_model_folder), runtime=CPU, out=out, progress=False, **settings)
    assert (report.queries, report.dev_queries, report.choice) == (60, 0, None)
    assert report.fit.evaluations == ()
    with pytest.raises(ConfigError, match=r"has no final_fusion\.json.*set reranker\.weight"):
        open_reranker(CrossEncoderConfig(model=str(out)), CPU)
    assert open_reranker(CrossEncoderConfig(model=str(out), weight=0.5), CPU).fusion == Convex(0.5)


def test_bf16_is_used_where_the_device_has_it(tiny_model_folder, shop, tmp_path, monkeypatch):
    for has, used in ((True, Precision.bf16), (False, Precision.fp32)):
        monkeypatch.setattr("rerank.training.has_bf16", lambda device, has=has: has)
        report = train_reranker(quick(tiny_model_folder), runtime=CPU, out=tmp_path / used.name, progress=False, **shop)
        assert report.precision is used


def test_an_output_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="exists and is not empty"):
        train_reranker(
            CrossEncoderTrainerConfig(), runtime=CPU, queries=[], judgments=[], product_texts={}, out=tmp_path
        )


def test_judgments_without_a_good_product_are_refused_before_a_model_is_loaded(shop, tmp_path):
    bad = [Judgment(judgment.query_id, judgment.product_id, 0) for judgment in shop["judgments"]]
    with pytest.raises(SourceDataError, match="no grade above 0 to learn from: 600 judgments"):
        train_reranker(
            CrossEncoderTrainerConfig(base="/nowhere"), runtime=CPU, out=tmp_path / "r", **{**shop, "judgments": bad}
        )


def test_a_loss_that_breaks_names_the_pairs_and_leaves_the_best_model_beside_where_it_would_have_been(
    tiny_model_folder, shop, tmp_path, monkeypatch
):
    import torch

    from rerank import objectives, training

    evaluated = []
    loss, choose = objectives.Binary.loss, training.best_weight
    monkeypatch.setattr(training, "best_weight", lambda held_out: evaluated.append(1) or choose(held_out))
    monkeypatch.setattr(
        objectives.Binary, "loss", lambda self, *given: loss(self, *given) * (torch.nan if evaluated else 1)
    )
    settings = {"runtime": CPU, "out": tmp_path / "r", "progress": False, **shop}
    message = (
        r"the loss is nan at step \d+, for a batch with '\w+ seat \w+' and '.*' and 29 more pairs; .*r\.last-good$"
    )
    with pytest.raises(ConfigError, match=message):
        train_reranker(quick(tiny_model_folder, evaluations=4), **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["r.last-good"]
    kept = open_reranker(CrossEncoderConfig(model=str(tmp_path / "r.last-good")), CPU)
    assert np.isfinite(kept.score("red seat", ["Sofa", "Phone"])).all()
    evaluated.clear()
    with pytest.raises(ConfigError, match=r"r\.last-good-2$"):
        train_reranker(quick(tiny_model_folder, evaluations=4), **settings)


@pytest.mark.parametrize("loss", ["ordinal", "listwise"])
def test_other_losses_write_the_same_kind_of_folder_and_order_products_by_their_grade(
    tiny_model_folder, shop, tmp_path, loss
):
    train_reranker(config(tiny_model_folder, loss=Loss(loss)), runtime=CPU, out=tmp_path / "r", progress=False, **shop)
    reranker = open_reranker(CrossEncoderConfig(model=str(tmp_path / "r")), CPU)
    ids, texts = list(shop["product_texts"]), list(shop["product_texts"].values())
    grades = {judgment.product_id: judgment.grade for judgment in shop["judgments"]}
    order = np.argsort(-reranker.score("purple seat 1234", texts))
    assert [grades.get(ids[i], 0) for i in order[:10]] == [3] * 5 + [2] * 5
    assert json.loads((tmp_path / "r" / "training.json").read_text())["trainer"]["loss"] == loss


def test_a_student_of_fewer_layers_learns_its_teachers_scores_and_not_the_grades(
    trained, tiny_model_folder, shop, tmp_path
):
    teacher_folder, _ = trained
    upside_down = [Judgment(j.query_id, j.product_id, 5 - j.grade) for j in shop["judgments"]]
    report = train_reranker(
        config(tiny_model_folder, layers=1, teacher=str(teacher_folder), teacher_depth=6, epochs=8),
        runtime=CPU,
        out=tmp_path / "r",
        progress=False,
        **{**shop, "judgments": upside_down},
    )
    assert report.grades[-1] > 0
    teacher, student = (
        open_reranker(CrossEncoderConfig(model=str(folder), weight=0.5), CPU)
        for folder in (teacher_folder, tmp_path / "r")
    )
    texts = list(shop["product_texts"].values())
    scores = [model.score("purple seat 1234", texts) for model in (teacher, student)]
    assert np.corrcoef(scores)[0, 1] > 0.9
    assert student.layers == 1


def test_a_grade_outside_the_declared_scale_is_refused_before_a_step_is_taken(tiny_model_folder, shop, tmp_path):
    with pytest.raises(SourceDataError, match=r"a grade above trainer\.top_grade=2, such as query 'q"):
        train_reranker(quick(tiny_model_folder, top_grade=2), runtime=CPU, out=tmp_path / "r", progress=False, **shop)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tiny_model_folder, shop, tmp_path, monkeypatch):
    def refused(*_args):
        raise ArtifactCorrupt("no")

    monkeypatch.setattr("indexing.storage.adopt_folder", refused)
    with pytest.raises(ArtifactCorrupt, match="no"):
        train_reranker(quick(tiny_model_folder), runtime=CPU, out=tmp_path / "r", progress=False, **shop)
    assert list(tmp_path.iterdir()) == []
