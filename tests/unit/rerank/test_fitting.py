import numpy as np
import pytest

from indexing.errors import ConfigError, EnvironmentProblem
from rerank.config import CrossEncoderTrainerConfig, Loss
from rerank.cross_encoder import CrossEncoderReranker
from rerank.examples import Example
from rerank.final import Convex
from rerank.fitting import fit, plan
from rerank.model import new_cross_encoder
from rerank.objectives import BATCHES_PER_POOL, Binary, make_objective, shuffled_batches
from retrieval.config import Precision

WORDS = ("red mouse", "blue sofa", "green lamp", "black phone", "white desk", "gold watch", "grey rug", "pink towel")


@pytest.fixture
def model(tiny_model_folder):
    import torch

    torch.set_num_threads(1)  # two threads over matrices this small wait more than they work
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return new_cross_encoder(tiny_model_folder, layers=0, max_tokens=32)


def fitted(model, pairs, labels, *, evaluate=None, rescue=None, **settings):
    scorer = CrossEncoderReranker(model, folder="tiny", fusion=Convex(0.0))
    steps = []
    config, encoded = CrossEncoderTrainerConfig(**settings), scorer.tokenizer.encode(pairs)
    objective = Binary(np.round(np.asarray(labels) * 10).astype(np.int64), top=10, device="cpu")
    outcome = fit(
        model,
        encoded,
        objective,
        plan(objective, encoded, config),
        config=config,
        device="cpu",
        precision=Precision.fp32,
        evaluate=evaluate,
        advance=steps.append,
        named=lambda batch: f"{len(batch)} pairs",
        rescue=rescue,
    )
    assert sum(steps) == outcome.steps
    return outcome, scorer


def test_32_pairs_are_learned_by_heart(model):
    # Every query with its own product and with three others: nothing but reading both sides together tells them apart.
    pairs = [(WORDS[i], WORDS[(i + j) % 8]) for i in range(8) for j in range(4)]
    labels = [1.0 if j == 0 else 0.0 for _ in range(8) for j in range(4)]
    outcome, scorer = fitted(model, pairs, labels, epochs=60, batch_size=16, learning_rate=5e-3)
    scores = scorer.score_many(pairs)
    good = np.array(labels) == 1
    assert scores[good].min() > scores[~good].max()
    assert scores[good].min() > 0 > scores[~good].max()  # logits of a probability above and below one half
    assert outcome.steps == 60 * 2


def test_graded_labels_come_out_as_expected_shares_of_the_gain(model):
    # The same pair twice as good, once as bad: the score that minimises the loss is the logit of 2/3.
    pairs = [("red mouse", "red mouse")] * 3 + [("red mouse", "sofa")] * 3
    outcome, scorer = fitted(model, pairs, [1, 1, 0, 0, 0, 0.3], epochs=80, batch_size=6, learning_rate=5e-3)
    expected = 1 / (1 + np.exp(-scorer.score_many([pairs[0], pairs[3]])))
    assert expected == pytest.approx([2 / 3, 0.1], abs=0.02)
    assert outcome.loss > 0


def test_the_weights_of_the_best_evaluation_are_kept_and_patience_ends_the_training(model):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    snapshots = []

    def evaluate():
        assert not model.training
        snapshots.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(scores)

    pairs = [(text, text) for text in WORDS]
    outcome, _ = fitted(model, pairs, [1, 0] * 4, evaluate=evaluate, epochs=5, batch_size=4, patience=2)
    assert [(look.step, look.score) for look in outcome.evaluations] == [(2, 0.5), (4, 0.7), (6, 0.6), (8, 0.7)]
    assert (outcome.steps, outcome.best_step) == (8, 4)
    kept = model.state_dict()
    assert all(bool((kept[name] == tensor).all()) for name, tensor in snapshots[1].items())
    assert any(bool((kept[name] != tensor).any()) for name, tensor in snapshots[3].items())


def test_evaluations_are_spread_over_the_epochs(model):
    pairs = [(text, text) for text in WORDS] * 2
    labels = [1, 0] * 8
    outcome, _ = fitted(model, pairs, labels, evaluate=lambda: 0.0, epochs=2, batch_size=2, evaluations=2, patience=9)
    assert [look.step for look in outcome.evaluations] == [4, 8, 12, 16]


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step(model):
    import torch

    with torch.no_grad():
        model[2].linear.bias.fill_(float("inf"))
    with pytest.raises(
        ConfigError,
        match=r"the loss is (nan|inf) at step 1, for a batch with 2 pairs; lower trainer\.learning_rate "
        r"\(now 0\.0002\), or set trainer\.precision=fp32$",
    ):
        fitted(model, [("a", "b"), ("c", "d")], [1, 0])


def test_a_loss_that_breaks_after_an_evaluation_leaves_the_best_weights_and_says_where(model):
    import torch

    kept = {}

    def evaluate():
        kept.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        model[2].register_forward_hook(lambda _module, _given, found: {**found, "scores": found["scores"] * torch.nan})
        return 0.5

    def rescue(step):
        assert not model.training
        assert all(bool((model.state_dict()[name] == tensor).all()) for name, tensor in kept.items())
        return f"folder-of-{step}"

    with pytest.raises(ConfigError, match=r"the loss is nan at step 3.*of step 2, stay in folder-of-2$"):
        fitted(
            model,
            [(text, text) for text in WORDS],
            [1, 0] * 4,
            evaluate=evaluate,
            rescue=rescue,
            epochs=2,
            batch_size=4,
        )


def test_a_step_that_does_not_fit_into_memory_says_what_halves_it(model, monkeypatch):
    import torch

    def refuse(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("rerank.fitting.forward_scores", refuse)
    message = r"at a step of 8 pairs on cpu; trainer\.batch_size=4 halves.*half of trainer\.max_tokens=96"
    with pytest.raises(EnvironmentProblem, match=message):
        fitted(model, [(text, text) for text in WORDS], [1, 0] * 4)
    monkeypatch.setattr("rerank.fitting.forward_scores", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fitted(model, [(text, text) for text in WORDS], [1, 0] * 4)


@pytest.mark.parametrize("loss", Loss)
def test_every_objective_learns_to_put_the_better_grade_above(model, loss):
    pairs = [(query, f"{worth} {query}") for query in WORDS for worth in ("fine", "fair", "poor")]
    examples = [Example(query, text, 2 - place % 3) for place, (query, text) in enumerate(pairs)]
    config = CrossEncoderTrainerConfig(loss=loss, epochs=25, batch_size=9, learning_rate=5e-3)
    scorer = CrossEncoderReranker(model, folder="tiny", fusion=Convex(0.0))
    objective, encoded = make_objective(config, examples, device="cpu"), scorer.tokenizer.encode(pairs)
    settings = {"config": config, "device": "cpu", "precision": Precision.fp32, "named": str}
    fit(model, encoded, objective, plan(objective, encoded, config), evaluate=None, advance=lambda _: None, **settings)
    scores = scorer.score_many(pairs).reshape(-1, 3)
    assert (scores[:, 0] > scores[:, 1]).all()
    assert (scores[:, 1] > scores[:, 2]).all()


def test_every_pair_comes_once_per_epoch_in_batches_of_like_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, size=1003)
    batches = list(shuffled_batches(lengths, 4, rng))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1003))
    assert sorted({len(batch) for batch in batches}) == [3, 4]
    assert len(batches) == 251
    padding = sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum() - 1
    assert padding < 0.02  # without grouping by length it is .5
    assert BATCHES_PER_POOL * 4 < 1003  # or all would be one pool, sorted whole


def test_the_order_of_batches_is_drawn_anew_for_every_epoch():
    rng = np.random.default_rng(0)
    lengths = np.arange(100)
    first, second = ([batch.tolist() for batch in shuffled_batches(lengths, 10, rng)] for _ in range(2))
    assert first != second
    again = [batch.tolist() for batch in shuffled_batches(lengths, 10, np.random.default_rng(0))]
    assert again == first
