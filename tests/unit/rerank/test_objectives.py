"""The losses against plain float64 arithmetic, gradients included, and what they refuse."""

import numpy as np
import pytest
import torch

from indexing.errors import SourceDataError
from rerank.config import CrossEncoderTrainerConfig, Loss
from rerank.examples import Example
from rerank.objectives import (
    Binary,
    Distilled,
    Listwise,
    Ordinal,
    listwise_loss,
    make_objective,
    margin_loss,
    ordinal_loss,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def ordinal_reference(scores, grades, thresholds):
    """Minus the mean log of the difference of two sigmoids, an example at a time."""
    reached = [np.array([1.0, *sigmoid(score - thresholds), 0.0]) for score in scores]
    return -np.mean([np.log(of[grade] - of[grade + 1]) for of, grade in zip(reached, grades, strict=True)])


def listwise_reference(scores, grades, queries):
    """The mean over queries of the cross-entropy of grade shares and softmax, a query at a time."""
    losses = []
    for query in sorted(set(queries)):
        mine = [place for place, of in enumerate(queries) if of == query]
        shares = np.array([grades[place] for place in mine]) / sum(grades[place] for place in mine)
        soft = np.exp([scores[place] for place in mine])
        losses.append(-(shares * np.log(soft / soft.sum())).sum())
    return np.mean(losses)


def numeric_gradient(function, at, step=1e-6):
    return np.array([(function(at + d) - function(at - d)) / (2 * step) for d in np.eye(len(at)) * step])


@pytest.mark.parametrize("top", [1, 2, 4])
def test_the_ordinal_loss_and_its_gradients_are_those_of_the_plain_formula(top):
    rng = np.random.default_rng(top)
    scores, grades = rng.normal(scale=2, size=24), rng.integers(0, top + 1, size=24)
    thresholds = np.sort(rng.normal(size=top))
    at, bounds = (torch.tensor(of, requires_grad=True) for of in (scores, thresholds))
    loss = ordinal_loss(at, torch.from_numpy(grades), bounds)
    assert loss.item() == pytest.approx(ordinal_reference(scores, grades, thresholds), abs=1e-12)
    loss.backward()
    expected = numeric_gradient(lambda of: ordinal_reference(of, grades, thresholds), scores)
    assert at.grad.numpy() == pytest.approx(expected, abs=1e-8)
    expected = numeric_gradient(lambda of: ordinal_reference(scores, grades, of), thresholds)
    assert bounds.grad.numpy() == pytest.approx(expected, abs=1e-8)


def test_the_ordinal_loss_of_one_step_is_binary_cross_entropy():
    scores, grades = torch.tensor([2.0, -1.0, 0.3]), torch.tensor([1, 0, 0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores - 0.5, grades.float())
    assert ordinal_loss(scores, grades, torch.tensor([0.5])).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_ordinal_loss_stays_finite_where_the_difference_of_the_sigmoids_vanishes():
    scores = torch.tensor([80.0, -80.0, 80.0], requires_grad=True)
    loss = ordinal_loss(scores, torch.tensor([1, 1, 2]), torch.tensor([-0.5, 0.5]))
    loss.backward()
    assert loss.item() == pytest.approx((79.5 + 79.5) / 3 - 2 / 3 * np.log(1 - np.exp(-1)), rel=1e-5)
    assert torch.isfinite(scores.grad).all()


def test_thresholds_rise_whatever_is_learned_and_begin_at_the_shares_of_the_grades():
    grades = np.repeat([0, 1, 2, 3], [50, 20, 20, 10])
    objective = Ordinal(grades, top=3, device="cpu")
    shares = torch.sigmoid(-objective.thresholds.detach()).numpy()
    assert shares == pytest.approx([0.5, 0.3, 0.1], abs=1e-5)
    with torch.no_grad():
        objective.parameters[1].fill_(-9.0)
    assert (np.diff(objective.thresholds.detach().numpy()) > 0).all()


def test_the_expected_grade_of_the_ordinal_model_rises_with_the_score_alone():
    thresholds = Ordinal(np.repeat([0, 1, 2, 3], 9), top=3, device="cpu").thresholds.detach().double()
    scores = torch.linspace(-9, 9, 200, dtype=torch.float64)
    expected = torch.sigmoid(scores[:, None] - thresholds).sum(dim=1)  # E[grade] = sum of P(grade >= k)
    assert (expected.diff() > 0).all()
    assert 0 < expected[0] < expected[-1] < 3


@pytest.mark.parametrize("seed", range(3))
def test_the_listwise_loss_and_its_gradient_are_those_of_the_plain_formula(seed):
    rng = np.random.default_rng(seed)
    queries = np.repeat([0, 1, 2], [5, 1, 7])
    scores, grades = rng.normal(scale=3, size=13), rng.integers(0, 4, size=13)
    grades[[0, 5, 6]] = 2
    at = torch.tensor(scores, requires_grad=True)
    loss = listwise_loss(at, torch.from_numpy(grades), torch.from_numpy(queries))
    assert loss.item() == pytest.approx(listwise_reference(scores, grades, queries), abs=1e-12)
    loss.backward()
    expected = numeric_gradient(lambda of: listwise_reference(of, grades, queries), scores)
    assert at.grad.numpy() == pytest.approx(expected, abs=1e-8)


def test_the_listwise_loss_does_not_overflow_and_knows_only_differences_within_a_query():
    grades, queries = torch.tensor([1, 0, 2, 1]), torch.tensor([0, 0, 1, 1])
    scores = torch.tensor([900.0, -900.0, 3.0, 1.0])
    moved = scores + torch.tensor([0.0, 0.0, 77.0, 77.0])
    assert listwise_loss(scores, grades, queries).item() == pytest.approx(
        listwise_loss(moved, grades, queries).item(), abs=1e-5
    )


def test_the_margin_loss_and_its_gradient_are_those_of_all_pairs_of_every_query():
    rng = np.random.default_rng(4)
    queries, scores, teacher = np.repeat([0, 1], [4, 6]), rng.normal(size=10), rng.normal(size=10)

    def reference(of):
        apart = [(of - teacher)[queries == query] for query in (0, 1)]
        return np.mean([np.mean((one[:, None] - one[None, :]) ** 2) for one in apart])

    at = torch.tensor(scores, requires_grad=True)
    loss = margin_loss(at, torch.from_numpy(teacher), torch.from_numpy(queries))
    assert loss.item() == pytest.approx(reference(scores), abs=1e-12)
    loss.backward()
    assert at.grad.numpy() == pytest.approx(numeric_gradient(reference, scores), abs=1e-8)
    shifted = torch.tensor(teacher + np.where(queries == 0, 5.0, -3.0))
    assert margin_loss(shifted, torch.from_numpy(teacher), torch.from_numpy(queries)).item() == pytest.approx(0)


def test_lists_of_one_product_have_no_margin_and_are_left_out():
    objective = Distilled(np.zeros(3, np.float32), ["a", "b", "b"], device="cpu")
    batches = list(objective.batches(np.ones(3), 8, np.random.default_rng(0)))
    assert [sorted(batch.tolist()) for batch in batches] == [[1, 2]]


def test_listwise_batches_hold_whole_queries_each_once_and_none_that_teaches_nothing():
    sizes = [4, 4, 4, 9, 2, 3]
    query_ids = [f"q{place}" for place, size in enumerate(sizes) for _ in range(size)]
    grades = np.array([1 if query_id != "q4" else 0 for query_id in query_ids])
    order = np.random.default_rng(0).permutation(len(query_ids))
    query_ids, grades = [query_ids[place] for place in order], grades[order]
    batches = list(Listwise(grades, query_ids, device="cpu").batches(np.ones(26), 8, np.random.default_rng(1)))
    held = [sorted({query_ids[place] for place in batch}) for batch in batches]
    assert sorted(query_id for queries in held for query_id in queries) == ["q0", "q1", "q2", "q3", "q5"]
    for batch, queries in zip(batches, held, strict=True):
        assert len(batch) == sum(sizes[int(query_id[1])] for query_id in queries)
        assert len(batch) <= 8 or queries == ["q3"]


@pytest.mark.parametrize(("loss", "kind"), [(Loss.binary, Binary), (Loss.ordinal, Ordinal), (Loss.listwise, Listwise)])
def test_the_configuration_chooses_the_objective(loss, kind):
    examples = [Example("q", "a", 3), Example("q", "b", 0)]
    assert isinstance(make_objective(CrossEncoderTrainerConfig(loss=loss), examples, device="cpu"), kind)


def test_binary_labels_are_shares_of_the_top_of_the_scale_that_was_declared():
    examples = [Example("q", "a", 2), Example("q", "b", 0)]
    objective = make_objective(CrossEncoderTrainerConfig(top_grade=4), examples, device="cpu")
    scores = torch.zeros(2, requires_grad=True)
    objective.loss(scores, np.array([0, 1])).backward()
    assert scores.grad.numpy() == pytest.approx([(0.5 - 0.5) / 2, 0.5 / 2])


def test_a_grade_above_the_scale_is_refused_by_name_and_count():
    examples = [Example("q1", "a", 3), Example("q1", "b", 5), Example("q2", "c", 4)]
    with pytest.raises(SourceDataError, match=r"2 of 3 pairs.*top_grade=3, such as query 'q1' and product 'b' with 5"):
        make_objective(CrossEncoderTrainerConfig(top_grade=3), examples, device="cpu")
