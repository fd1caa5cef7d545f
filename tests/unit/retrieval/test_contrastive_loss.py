"""The contrastive loss equals a reference written as loops, place by place."""

import itertools
import math

import numpy as np
import pytest
import torch

from retrieval.infonce import info_nce

REVERSE_SHARES = (0.0, 0.3, 0.5, 1.0)
DIMS = ((), (4,), (4, 8, 99))


def reference(queries, products, weights, negatives, temperature, reverse_share, dims):
    """Sum over places, one at a time, in float64."""
    full = queries.shape[1]
    widths = sorted({min(dim, full) for dim in dims} | {full})
    return sum(one_width(queries, products, weights, negatives, temperature, reverse_share, w) for w in widths) / len(
        widths
    )


def one_width(queries, products, weights, negatives, temperature, reverse_share, width):
    def cosine(i, j):
        left, right = queries[i, :width], products[j, :width]
        return float(left @ right) / float(np.linalg.norm(left) * np.linalg.norm(right))

    total = 0.0
    for i, j in zip(*np.nonzero(weights), strict=True):
        own = math.exp(cosine(i, j) / temperature)
        row = sum(math.exp(cosine(i, n) / temperature) for n in range(len(products)) if negatives[i, n])
        column = sum(math.exp(cosine(n, j) / temperature) for n in range(len(queries)) if negatives[n, j])
        to_products, to_queries = -math.log(own / (own + row)), -math.log(own / (own + column))
        total += weights[i, j] * ((1 - reverse_share) * to_products + reverse_share * to_queries)
    return total / weights.sum()


def case(seed, *, graded=True):
    rng = np.random.default_rng(seed)
    asked, offered = int(rng.integers(2, 8)), int(rng.integers(3, 14))
    vectors = [rng.normal(size=(count, 16)) for count in (asked, offered)]
    queries, products = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors)
    positive = rng.random((asked, offered)) < 0.25
    positive[0, 0] = True
    weights = positive * (rng.integers(1, 5, size=positive.shape) / 4 if graded else 1.0)
    negatives = ~positive & (rng.random(positive.shape) < 0.8)
    return queries, products, weights, negatives


def value(queries, products, weights, negatives, temperature=0.05, **options):
    tensors = [torch.as_tensor(array) for array in (queries, products, weights, negatives)]
    return info_nce(*tensors[:2], weights=tensors[2], negatives=tensors[3], temperature=temperature, **options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.02, 1.0])
@pytest.mark.parametrize(
    ("graded", "reverse_share", "dims"), list(itertools.product((True, False), REVERSE_SHARES, DIMS))
)
def test_the_loss_equals_the_loops(seed, temperature, graded, reverse_share, dims):
    arrays = case(seed, graded=graded)
    expected = reference(*arrays, temperature, reverse_share, dims)
    found = value(*arrays, temperature, reverse_share=reverse_share, dims=dims)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dims", DIMS)
def test_the_gradient_is_that_of_finite_differences(dims):
    arrays = case(1)
    queries, products, weights, negatives = (torch.as_tensor(array) for array in arrays)

    def loss(left, right):
        return info_nce(
            left, right, weights=weights, negatives=negatives, temperature=0.3, reverse_share=0.3, dims=dims
        )

    assert torch.autograd.gradcheck(loss, (queries.requires_grad_(), products.requires_grad_()))


def test_two_pairs_worked_by_hand():
    # Cosines: own .6 and 1, crossed 0 and .8; temperature 1; the second pair counts half.
    queries, products = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [0.0, 1.0]])
    to_products = (math.log(1 + math.exp(0 - 0.6)) + 0.5 * math.log(1 + math.exp(0.8 - 1))) / 1.5
    to_queries = (math.log(1 + math.exp(0.8 - 0.6)) + 0.5 * math.log(1 + math.exp(0 - 1))) / 1.5
    found = value(queries, products, np.diag([1.0, 0.5]), ~np.eye(2, dtype=bool), 1.0)
    assert float(found) == pytest.approx((to_products + to_queries) / 2, abs=1e-12)


def test_positives_of_one_query_do_not_compete():
    queries = np.array([[1.0, 0.0]])
    products = np.array([[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    weights, negatives = np.array([[1.0, 1.0, 0.0]]), np.array([[False, False, True]])
    expected = (math.log(1 + math.exp(0 - 0.8)) + math.log(1 + math.exp(0 - 0.6))) / 2
    assert float(value(queries, products, weights, negatives, 1.0, reverse_share=0.0)) == pytest.approx(expected)


def test_a_place_that_is_neither_has_no_gradient():
    queries, products, weights, negatives = case(3)
    weights[:, 1], negatives[:, 1] = 0.0, False
    product_vectors = torch.as_tensor(products).requires_grad_()
    value(queries, product_vectors, weights, negatives).backward()
    assert torch.all(product_vectors.grad[1] == 0)
    assert product_vectors.grad[0].abs().max() > 0


@pytest.mark.parametrize("reverse_share", REVERSE_SHARES)
def test_a_batch_without_any_negative_costs_nothing_and_moves_nothing(reverse_share):
    queries, products, weights, _ = case(2)
    vectors = torch.as_tensor(queries).requires_grad_()
    loss = value(vectors, products, weights, np.zeros(weights.shape, dtype=bool), reverse_share=reverse_share)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.all(vectors.grad == 0)


def test_a_batch_without_any_positive_costs_nothing():
    queries, products, weights, negatives = case(2)
    assert float(value(queries, products, weights * 0, negatives)) == 0.0
