import numpy as np
import pytest

from indexing.errors import ConfigError
from rerank.config import CrossEncoderTrainerConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.fitting import BATCHES_PER_POOL, fit, shuffled_batches, steps_in
from rerank.model import new_cross_encoder
from retrieval.config import Precision

WORDS = ("red mouse", "blue sofa", "green lamp", "black phone", "white desk", "gold watch", "grey rug", "pink towel")


@pytest.fixture
def model(tiny_model_folder):
    import torch

    torch.set_num_threads(1)  # two threads over matrices this small wait more than they work
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return new_cross_encoder(tiny_model_folder, layers=0, max_tokens=32)


def fitted(model, pairs, labels, *, evaluate=None, **settings):
    scorer = CrossEncoderReranker(model, folder="tiny", weight=0.0)
    steps = []
    outcome = fit(
        model,
        scorer.tokenizer.encode(pairs),
        np.asarray(labels, dtype=np.float32),
        config=CrossEncoderTrainerConfig(**settings),
        device="cpu",
        precision=Precision.fp32,
        evaluate=evaluate,
        advance=steps.append,
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
        ConfigError, match=r"the loss is (nan|inf) at step 1; lower trainer\.learning_rate \(now 0\.0002\)"
    ):
        fitted(model, [("a", "b"), ("c", "d")], [1, 0])


def test_every_pair_comes_once_per_epoch_in_batches_of_like_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, size=1003)
    batches = list(shuffled_batches(lengths, 4, rng))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1003))
    assert sorted({len(batch) for batch in batches}) == [3, 4]
    assert len(batches) == steps_in(1003, CrossEncoderTrainerConfig(epochs=1, batch_size=4))
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
