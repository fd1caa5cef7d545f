"""Fine-tuning from judgments to a folder that anybody's sentence-transformers opens."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from indexing.errors import ArtifactCorrupt, ConfigError, EnvironmentProblem, SourceDataError, StorageError, VectorError
from retrieval import contrastive
from retrieval.config import EncoderConfig, Precision, RuntimeConfig, TextConfig
from retrieval.contrastive import train_retriever
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import tower_fingerprint
from retrieval.learner import Learner
from retrieval.pairs import training_pairs
from retrieval.records import Judgment, Query
from retrieval.renderings import renderings
from retrieval.training_config import ContrastiveConfig, Weighting

RUNTIME = RuntimeConfig(device="cpu", threads=1)
RECIPE = ContrastiveConfig(
    epochs=4, batch_size=16, learning_rate=2e-3, min_grade=2, patience=9, precision=Precision.fp32, seed=3,
    freeze_embeddings=False,
)  # fmt: skip


@pytest.fixture
def train(tiny_model_folder, tiny_products, tiny_queries, tiny_judgments, tmp_path):
    """Train on the toy shop with whatever a test wants to be different."""

    def run(config=RECIPE, out="model", **changes):
        arguments = {
            "encoder": EncoderConfig(model=str(tiny_model_folder), query_max_tokens=16),
            "runtime": RUNTIME,
            "queries": tiny_queries,
            "judgments": tiny_judgments,
            "product_texts": {product.product_id: product.title for product in tiny_products},
            "dev_query_ids": {"q-red-mouse", "q-acme-chair"},
            "out": tmp_path / out,
            "progress": False,
        }
        return train_retriever(config, **arguments | changes)

    return run


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_training_improves_the_dev_queries_and_keeps_the_best(train, tmp_path):
    report = train()
    assert report.dev_after > report.dev_before + 0.05
    assert report.dev_after == max(point.ndcg for point in report.dev)
    assert [point.epoch for point in report.dev] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert report.best_epoch == max(report.dev, key=lambda point: point.ndcg).epoch
    assert report.queries == 8
    assert report.pairs == 8 * 5  # every type has five variants, all of grade 2 or 3
    assert report.steps == len(report.losses) == 4 * 3
    assert np.mean(report.losses[-3:]) < np.mean(report.losses[:3])


def test_the_folder_is_plain_sentence_transformers_with_a_record(train, tmp_path, tiny_products):
    from sentence_transformers import SentenceTransformer

    report = train()
    texts = [product.title for product in tiny_products[:5]]
    encoder = DualEncoder.open(EncoderConfig(model=str(tmp_path / "model"), query_max_tokens=0), RUNTIME)
    plain = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert encoder.settings.query_max_tokens == 16
    assert encoder.settings.product_max_tokens == 64  # the model's own, not the length of training
    assert np.abs(plain.encode_document(texts) - encoder.encode_products(texts)).max() < 1e-6
    assert np.abs(plain.encode_query(texts) - encoder.encode_queries(texts)).max() < 1e-6
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["trainer"]["temperature"] == RECIPE.temperature
    assert record["report"]["losses"] == list(report.losses)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not [path for path in (tmp_path / "model").rglob("*") if path.suffix in (".bin", ".pt")]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train, tmp_path):
    short = replace(RECIPE, epochs=1)
    first, second = train(short, "first"), train(short, "second")
    train(replace(short, seed=4), "third")
    one, two, three = (weights(tmp_path / name) for name in ("first", "second", "third"))
    assert first.losses == second.losses
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(not np.array_equal(one[name], three[name]) for name in one)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_half_of_the_way_is_half_of_what_every_weight_learned(train, tmp_path, tiny_model_folder, lora_rank):
    short = replace(RECIPE, epochs=1, lora_rank=lora_rank)
    train(short, "whole", dev_query_ids=())
    train(replace(short, interpolation=0.5), "half", dev_query_ids=())
    before, whole, half = (weights(folder) for folder in (tiny_model_folder, tmp_path / "whole", tmp_path / "half"))
    assert any(np.abs(whole[name] - before[name]).max() > 1e-3 for name in before)
    assert all(np.abs(half[name] - (before[name] + whole[name]) / 2).max() < 1e-6 for name in before)


def test_training_leaves_the_callers_random_numbers_alone(train):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(RECIPE, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_training_that_hurts_gives_the_untrained_model_back(train, tmp_path, tiny_model_folder):
    report = train(replace(RECIPE, learning_rate=1.0, patience=1))
    assert report.best_epoch == 0.0
    assert report.stopped_early
    assert report.steps == 3  # one epoch, one look, no patience left
    before, after = weights(tiny_model_folder), weights(tmp_path / "model")
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_frozen_embeddings_stay_and_the_rest_learns(train, tmp_path, tiny_model_folder):
    train(replace(RECIPE, freeze_embeddings=True))
    before, after = weights(tiny_model_folder), weights(tmp_path / "model")
    words = "embeddings.word_embeddings.weight"
    assert np.array_equal(before[words], after[words])
    assert not np.array_equal(
        before["encoder.layer.0.output.dense.weight"], after["encoder.layer.0.output.dense.weight"]
    )


def test_without_dev_queries_every_epoch_is_trained(train):
    report = train(dev_query_ids=set())
    assert (report.dev, report.dev_before, report.dev_after, report.dev_queries) == ((), None, None, 0)
    assert (report.steps, report.best_epoch, report.stopped_early) == (4 * 4, 4.0, False)


def test_dev_queries_are_drawn_when_none_are_named(train):
    report = train(replace(RECIPE, dev_share=0.2, epochs=1), dev_query_ids=None)
    assert (report.queries, report.dev_queries) == (8, 2)


def test_several_evaluations_an_epoch_are_spread_over_it(train):
    report = train(replace(RECIPE, epochs=1, evaluations=3))
    assert [point.step for point in report.dev] == [0, 1, 2, 3]


def test_prompts_are_trained_with_and_written(train, tmp_path, tiny_model_folder):
    encoder = EncoderConfig(model=str(tiny_model_folder), query_prompt="for you: ", product_prompt="new ")
    train(replace(RECIPE, epochs=1), encoder=encoder)
    fields = tower_fingerprint(tmp_path / "model", EncoderConfig(), TextConfig()).fields
    assert (fields["query_prompt"], fields["product_prompt"]) == ("for you: ", "new ")


def test_bf16_trains_where_the_device_has_it_and_says_so_where_not(train, monkeypatch, caplog):
    bf16 = replace(RECIPE, epochs=1, precision=Precision.bf16)
    monkeypatch.setattr(contrastive, "has_bf16", lambda _: True)
    with_it = train(bf16, "with")
    monkeypatch.setattr(contrastive, "has_bf16", lambda _: False)
    with caplog.at_level(logging.WARNING):
        without = train(bf16, "without")
    assert (with_it.precision, without.precision) == ("bf16", "fp32")
    assert "trainer.precision=bf16, but this cpu has no bfloat16 arithmetic; training in fp32" in caplog.text
    assert with_it.losses != without.losses
    assert with_it.losses == pytest.approx(without.losses, rel=0.05)


def test_thirty_two_pairs_can_be_learned_by_heart(tiny_model_folder, tiny_products):
    queries = [Query(str(number), product.title) for number, product in enumerate(tiny_products[:32])]
    judgments = [Judgment(str(number), product.product_id, 3) for number, product in enumerate(tiny_products[:32])]
    texts = {product.product_id: product.description for product in tiny_products}
    config = replace(RECIPE, learning_rate=3e-3, temperature=0.05)
    tower = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RUNTIME)
    pairs = training_pairs(queries, judgments, texts, min_grade=1)
    learner = Learner(tower, pairs, config=config)
    (batch,) = pairs.epoch(np.random.default_rng(0), max_positives=1, batch_size=64)
    assert len(batch.queries) == 32
    losses = [learner.step(batch, step=step, rate_share=1.0) for step in range(60)]
    assert losses[0] > 1.5
    assert np.mean(losses[-5:]) < losses[0] / 5


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(train, tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "backward", lambda *_, **__: float("nan"))
    with pytest.raises(VectorError, match=r"loss is nan at step 1, for a batch with the queries '.*', '.*', '.*' and "):
        train()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(train, tmp_path, monkeypatch):
    fail_at(monkeypatch, 5, float("nan"))
    with pytest.raises(VectorError, match=r"nan at step 5.*the last good checkpoint stays at .*\.model\.checkpoint"):
        train(replace(RECIPE, checkpoint_steps=2))
    assert [path.name for path in tmp_path.iterdir()] == [".model.checkpoint.safetensors"]


def fail_at(monkeypatch, step, failure):
    """Let the step of this number give a loss, or raise."""
    backward = Learner.backward

    def failing(self, batch, *, step, at=step):
        if step == at:
            if isinstance(failure, float):
                return failure
            raise failure
        return backward(self, batch, step=step)

    monkeypatch.setattr(Learner, "backward", failing)


@pytest.mark.parametrize(
    ("kill_at", "changes"),
    [
        (1, {}),  # before the first checkpoint
        (7, {}),
        (12, {"lora_rank": 2}),
        (4, {"noise_weight": 0.5, "max_negatives": 2, "weighting": Weighting.graded}),
    ],
)
def test_a_killed_run_goes_on_to_the_same_result(train, tmp_path, monkeypatch, kill_at, changes):
    recipe = replace(RECIPE, checkpoint_steps=2, **changes)
    whole = train(recipe, "whole")
    with monkeypatch.context() as patch:
        fail_at(patch, kill_at, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(recipe, "killed")
    resumed = train(recipe, "killed")
    assert resumed.resumed_at == (kill_at - 1) // 2 * 2
    assert resumed.losses == whole.losses
    assert resumed.dev == whole.dev
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "killed"}


def test_the_checkpoint_of_another_run_is_not_gone_on_from(train, tmp_path, monkeypatch, caplog):
    recipe = replace(RECIPE, checkpoint_steps=1)
    with monkeypatch.context() as patch:
        fail_at(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(recipe)
    with caplog.at_level(logging.WARNING):
        assert train(replace(recipe, seed=8)).resumed_at == 0
    assert "is of a run with other settings or data; starting anew" in caplog.text


def test_a_file_that_is_no_checkpoint_is_refused(train, tmp_path):
    (tmp_path / ".model.checkpoint.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ArtifactCorrupt, match=r"checkpoint\.safetensors is no checkpoint: .*; remove it to start anew"):
        train(replace(RECIPE, checkpoint_steps=1))


def test_low_rank_additions_are_merged_into_a_plain_folder(train, tmp_path, tiny_model_folder, tiny_products):
    report = train(replace(RECIPE, lora_rank=4, learning_rate=1e-2), dev_query_ids=set())
    assert np.mean(report.losses[-3:]) < 0.7 * np.mean(report.losses[:3])
    before, after = weights(tiny_model_folder), weights(tmp_path / "model")
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert "encoder.layer.0.attention.self.query.weight" in changed
    assert not any("LayerNorm" in name or "bias" in name or "embeddings" in name for name in changed)
    tower = DualEncoder.open(EncoderConfig(model=str(tmp_path / "model")), RUNTIME)
    assert tower.encode_products([tiny_products[0].title]).shape == (1, 32)


def test_memory_that_does_not_suffice_names_the_setting_that_halves_it(train, monkeypatch):
    import torch

    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("retrieval.learner.cached_backward", refuse)
    expected = r"products with trainer\.batch_tokens=8192 on cpu; trainer\.batch_tokens=4096 halves"
    with pytest.raises(EnvironmentProblem, match=expected):
        train()


def test_another_error_of_torch_is_not_taken_for_missing_memory(train, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("retrieval.learner.cached_backward", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train()


def test_every_step_is_told_to_who_watches(train):
    seen = []
    report = train(replace(RECIPE, epochs=2), watch=lambda step, values: seen.append((step, dict(values))))
    assert [values["loss"] for _, values in seen if "loss" in values] == list(report.losses)
    assert [values["dev_ndcg"] for _, values in seen if "dev_ndcg" in values] == [p.ndcg for p in report.dev[1:]]
    assert [step for step, values in seen if "loss" in values] == list(range(1, report.steps + 1))


def test_products_are_read_with_fields_left_out_only_where_the_recipe_wants_it(train, tiny_products):
    texts = TextConfig(fields=["title", "brand", "category", "attributes"])
    others = renderings(tiny_products, texts)
    plain = train(out="plain", renderings=others)
    dropped = train(replace(RECIPE, field_dropout=0.5), out="dropped", renderings=others)
    again = train(replace(RECIPE, field_dropout=0.5), out="again", renderings=others)
    assert plain.losses == train(out="none").losses
    assert dropped.losses != plain.losses
    assert dropped.losses == again.losses


def test_mined_negatives_take_part(train):
    plain, mined = train(out="plain"), train(out="mined", negatives={"red wireless mouse": ["0030", "0031"]})
    assert plain.losses == mined.losses  # a dev query's are not learned from
    mined = train(replace(RECIPE, max_negatives=2), out="more", negatives={"couch": ["0030", "0031", "0032"]})
    assert mined.losses != plain.losses


def test_nothing_to_learn_from_is_said_before_the_model_is_opened(train, tmp_path):
    with pytest.raises(SourceDataError, match=r"trainer\.min_grade=9, .* 8 training queries are grade 0: \d+"):
        train(replace(RECIPE, min_grade=9), encoder=EncoderConfig(model="no such model"))


def test_a_folder_that_holds_something_is_refused_first(train, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("x")
    with pytest.raises(StorageError, match="model exists and is not empty"):
        train(judgments=[])
    (tmp_path / "model" / "mine.txt").unlink()
    train(replace(RECIPE, epochs=1))
    assert (tmp_path / "model" / "modules.json").exists()


def test_an_interrupted_write_leaves_nothing(train, tmp_path, monkeypatch):
    from indexing import storage

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "publish_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(replace(RECIPE, epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_training_writes_nothing_to_the_working_folder_and_no_logs(train, tmp_path, monkeypatch, capfd):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    train(replace(RECIPE, epochs=1))
    assert list((tmp_path / "cwd").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_model_without_normalize_is_saved_with_one(train, tmp_path, tiny_model_folder):
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "raw"))
    entries = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(entries[:2]))
    train(replace(RECIPE, epochs=1), encoder=EncoderConfig(model=str(folder)))
    saved = json.loads((tmp_path / "model" / "modules.json").read_text())
    assert [entry["type"].rpartition(".")[2] for entry in saved] == ["Transformer", "Pooling", "Normalize"]


def test_a_mistyped_model_is_a_configuration_error(train):
    with pytest.raises(ConfigError, match="model folder nowhere does not exist"):
        train(encoder=EncoderConfig(model="nowhere"))


def test_the_recipe_refuses_what_cannot_be_meant():
    for changes, message in (
        ({"epochs": 0}, r"trainer\.epochs must be at least 1, got 0"),
        ({"min_grade": 0}, r"trainer\.min_grade must be at least 1, got 0"),
        ({"dev_share": 1.0}, r"trainer\.dev_share in \[0, 1\), got 0\.1 and 1\.0"),
        ({"batch_size": 1}, r"trainer\.batch_size must be at least 2"),
        ({"temperature": 0.0}, r"trainer\.temperature and trainer\.learning_rate must be > 0"),
        ({"reverse_share": 1.5}, r"trainer\.reverse_share must be in \[0, 1\], got 1\.5"),
        ({"dims": [8, 0]}, r"trainer\.dims must be 1 or more each, got \[8, 0\]"),
        ({"lora_rank": -1}, r"trainer\.lora_rank must be 0 or more, got -1"),
        ({"min_grade": 3, "max_grade": 2}, r"trainer\.max_grade=2 is below trainer\.min_grade=3"),
    ):
        with pytest.raises(ValueError, match=message):
            ContrastiveConfig(**changes)
