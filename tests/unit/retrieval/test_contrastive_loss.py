"""The contrastive loss equals a reference written as loops, mask by mask."""

import math

import numpy as np
import pytest
import torch

from retrieval.infonce import info_nce


def reference(queries, products, known, temperature):
    """Sum over pairs and places, one at a time, in float64."""
    pairs = len(queries)

    def one_way(left, right, masked):
        total = 0.0
        for i in range(pairs):
            own = math.exp(sum(left[i] * right[i]) / temperature)
            others = 0.0
            for j in range(pairs):
                if j != i and not masked(i, j):
                    others += math.exp(sum(left[i] * right[j]) / temperature)
            total -= math.log(own / (own + others))
        return total / pairs

    to_products = one_way(queries, products, lambda i, j: known[i][j])
    to_queries = one_way(products, queries, lambda i, j: known[j][i])
    return (to_products + to_queries) / 2


def unit_rows(rng, count, dim):
    rows = rng.normal(size=(count, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def value(queries, products, known, temperature):
    return float(
        info_nce(
            torch.from_numpy(queries), torch.from_numpy(products), torch.from_numpy(known), temperature=temperature
        )
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("temperature", [0.02, 0.05, 1.0])
def test_the_loss_equals_the_loops(seed, temperature):
    rng = np.random.default_rng(seed)
    pairs = int(rng.integers(2, 12))
    queries, products = unit_rows(rng, pairs, 16), unit_rows(rng, pairs, 16)
    known = (rng.random((pairs, pairs)) < 0.2) | np.eye(pairs, dtype=bool)
    expected = reference(queries, products, known, temperature)
    assert value(queries, products, known, temperature) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_two_pairs_worked_by_hand():
    # Cosines: own .6 and 1, crossed 0 and .8; temperature 1.
    queries, products = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [0.0, 1.0]])
    to_products = (math.log(1 + math.exp(0 - 0.6)) + math.log(1 + math.exp(0.8 - 1))) / 2
    to_queries = (math.log(1 + math.exp(0.8 - 0.6)) + math.log(1 + math.exp(0 - 1))) / 2
    found = value(queries, products, np.eye(2, dtype=bool), 1.0)
    assert found == pytest.approx((to_products + to_queries) / 2, abs=1e-12)


def test_masking_a_false_negative_changes_the_loss():
    rng = np.random.default_rng(0)
    queries, products = unit_rows(rng, 4, 8), unit_rows(rng, 4, 8)
    products[2] = products[0]  # pair 2 holds the product of pair 0
    own = np.eye(4, dtype=bool)
    known = own.copy()
    known[0, 2] = known[2, 0] = True
    assert value(queries, products, own, 0.05) > value(queries, products, known, 0.05) + 0.01


def test_a_masked_place_has_no_gradient():
    rng = np.random.default_rng(1)
    queries = torch.from_numpy(unit_rows(rng, 3, 8))
    products = torch.from_numpy(unit_rows(rng, 3, 8)).requires_grad_()
    known = torch.eye(3, dtype=torch.bool)
    known[:, 1] = True  # product 1 is known to every query
    known[1, :] = True  # and every product to query 1
    info_nce(queries, products, known, temperature=0.1).backward()
    assert torch.all(products.grad[1] == 0)
    assert products.grad[0].abs().max() > 0


def test_a_batch_without_any_negative_costs_nothing():
    rng = np.random.default_rng(2)
    queries, products = unit_rows(rng, 3, 8), unit_rows(rng, 3, 8)
    assert value(queries, products, np.ones((3, 3), dtype=bool), 0.05) == 0.0
    assert value(queries[:1], products[:1], np.ones((1, 1), dtype=bool), 0.05) == 0.0


def test_the_diagonal_is_never_masked():
    rng = np.random.default_rng(3)
    queries, products = unit_rows(rng, 3, 8), unit_rows(rng, 3, 8)
    without = np.zeros((3, 3), dtype=bool)
    assert value(queries, products, without, 0.1) == value(queries, products, np.eye(3, dtype=bool), 0.1)
