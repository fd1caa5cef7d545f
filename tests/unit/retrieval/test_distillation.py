"""What a dual encoder learns from a teacher's lists: the divergence by value, the order, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from indexing.errors import SourceDataError, VectorError
from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.dev import dev_set
from retrieval.distillation import TaughtList, distil, list_loss
from retrieval.encoder import DualEncoder
from retrieval.records import Judgment, Query
from retrieval.training_config import ContrastiveConfig, DistillationConfig

CPU = RuntimeConfig(device="cpu", threads=1)
TAUGHT = DistillationConfig(epochs=12, lists_per_step=4, learning_rate=5e-3)
CONFIG = ContrastiveConfig(
    freeze_embeddings=False, dropout=False, precision=Precision.fp32, patience=99, temperature=0.1
)
QUERIES = ("red", "blue", "green", "white", "black", "grey", "pink", "brown")
WORDS = ("sofa", "lamp", "phone", "chair", "mouse", "desk", "clock", "table")


def lists():
    """Every query wants another product most, and shares no word with any."""
    scores = np.linspace(3, -3, len(WORDS)).astype(np.float32)
    return [TaughtList(query, tuple(np.roll(WORDS, place)), scores) for place, query in enumerate(QUERIES)]


def similarities(encoder):
    tower = DualEncoder.open(encoder, CPU)
    queries = tower.encode_queries(list(QUERIES))
    return [queries[place] @ tower.encode_products(of.products).T for place, of in enumerate(lists())]


def agreement(encoder):
    pairs = zip(similarities(encoder), lists(), strict=True)
    return np.mean([np.corrcoef(found, of.scores)[0, 1] for found, of in pairs])


def test_the_divergence_and_its_gradient_are_those_of_the_plain_formula_and_empty_places_count_nothing():
    import torch

    rng = np.random.default_rng(0)
    given, wanted, sizes = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), (5, 3, 2)

    def reference(values):
        found = []
        for row, size in enumerate(sizes):
            p, q = (np.exp(of[row][:size] / heat) for of, heat in ((wanted, 2.0), (values.reshape(3, 5), 0.1)))
            found.append((p / p.sum() * np.log(p / p.sum() / (q / q.sum()))).sum())
        return np.mean(found)

    there = np.arange(5) < np.array(sizes)[:, None]
    at = torch.tensor(given, requires_grad=True)
    masked = torch.where(torch.from_numpy(there), at, -torch.inf)
    teacher = torch.from_numpy(np.where(there, wanted, -np.inf))
    loss = list_loss(masked, teacher, temperature=0.1, teacher_temperature=2.0)
    assert loss.item() == pytest.approx(reference(given), abs=1e-12)
    loss.backward()
    steps = np.eye(15) * 1e-6
    numeric = [(reference(given.ravel() + d) - reference(given.ravel() - d)) / 2e-6 for d in steps]
    assert at.grad.numpy().ravel() == pytest.approx(np.array(numeric), abs=1e-7)
    assert (at.grad.numpy()[~there] == 0).all()
    own = list_loss(teacher * 0.1, teacher, temperature=0.1, teacher_temperature=1.0)
    assert own.item() == pytest.approx(0, abs=1e-12)


def test_a_dual_encoder_learns_the_teachers_order_and_is_written_as_a_plain_folder(tiny_model_folder, tmp_path):
    before = EncoderConfig(model=str(tiny_model_folder))
    steps = []
    report = distil(
        CONFIG,
        TAUGHT,
        lists(),
        encoder=before,
        runtime=CPU,
        dev=None,
        out=tmp_path / "m",
        progress=False,
        watch=lambda step, values: steps.append((step, values["loss"])),
    )
    after = replace(before, model=str(tmp_path / "m"))
    assert agreement(after) > max(0.7, agreement(before) + 0.4)
    assert (report.lists, report.pairs, report.steps, report.best_step) == (8, 64, 24, 24)
    assert report.loss[1] < report.loss[0] / 2
    assert [step for step, _ in steps] == list(range(1, 25))
    told = json.loads((tmp_path / "m" / "training.json").read_text())
    assert told["distillation"]["lists_per_step"] == 4


def test_held_out_queries_choose_the_weights_and_the_model_as_it_came_is_among_them(tiny_model_folder, tmp_path):
    encoder = EncoderConfig(model=str(tiny_model_folder))
    texts = {word: word for word in WORDS}
    first = [of.products[int(found.argmax())] for found, of in zip(similarities(encoder), lists(), strict=True)]
    judged = [Judgment(query, found, 3) for query, found in zip(QUERIES, first, strict=True)]  # what it finds untaught
    dev = dev_set([Query(query, query) for query in QUERIES], judged, texts, pool=8, rng=np.random.default_rng(0))
    report = distil(CONFIG, TAUGHT, lists(), encoder=encoder, runtime=CPU, dev=dev, out=tmp_path / "m", progress=False)
    assert report.dev[0].step == 0
    assert report.dev[0].ndcg == 1.0 > report.dev[-1].ndcg
    assert report.best_step == 0
    assert agreement(replace(encoder, model=str(tmp_path / "m"))) == pytest.approx(agreement(encoder), abs=1e-5)


def test_the_seed_decides_the_result(tiny_model_folder, tmp_path):
    encoder = EncoderConfig(model=str(tiny_model_folder))
    brief = replace(TAUGHT, epochs=1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = {"encoder": encoder, "runtime": CPU, "dev": None, "progress": False}
        distil(replace(CONFIG, seed=seed), brief, lists(), out=tmp_path / name, **settings)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "there is no list to distil from"),
        ([TaughtList("couch", ("sofa",), np.float32([1]))], "query 'couch' has 1 products"),
        (
            [TaughtList("couch", ("sofa", "lamp"), np.float32([1, np.nan]))],
            r"'couch' has 2 products and the scores \[1",
        ),
    ],
)
def test_lists_that_teach_nothing_are_refused_before_a_model_is_opened(wrong, message, tmp_path):
    with pytest.raises(SourceDataError, match=message):
        distil(
            CONFIG, TAUGHT, wrong, encoder=EncoderConfig(model="/nowhere"), runtime=CPU, dev=None, out=tmp_path / "m"
        )


def test_a_loss_that_is_not_finite_names_the_queries_of_its_batch(tiny_model_folder, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("retrieval.distillation.list_loss", lambda *_, **__: torch.tensor(torch.nan))
    with pytest.raises(VectorError, match=r"loss is nan at step 1, for a batch with the queries '\w+', '\w+', '\w+'; "):
        distil(
            CONFIG,
            TAUGHT,
            lists(),
            encoder=EncoderConfig(model=str(tiny_model_folder)),
            runtime=CPU,
            dev=None,
            out=tmp_path / "m",
            progress=False,
        )
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "distillation.depth must be at least 1, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DistillationConfig(**change)
