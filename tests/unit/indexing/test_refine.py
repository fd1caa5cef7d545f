"""`Refiner.quick`: what it answers by itself, and what it leaves to be settled."""

import numpy as np
import pytest

from indexing import ArrayVectors
from indexing.distinct import DistinctRows
from indexing.refine import Refiner
from indexing.scores import score_rows

K = 3


@pytest.fixture
def world():
    rows = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def refiner(vectors, *, in_place, is_exact=False, numbers=None):
    numbers = np.arange(len(vectors)) if numbers is None else numbers
    matrix = vectors[np.unique(numbers, return_index=True)[1]] if in_place else None
    return Refiner(ArrayVectors(vectors), DistinctRows.of(numbers, tie_rank=None), None, is_exact, matrix)


def ask(refiner, queries, numbers, proposed=None):
    proposed = np.full(numbers.shape, -9, np.float32) if proposed is None else proposed
    return refiner.quick(queries, proposed, numbers, k=K, length=float(np.linalg.norm(queries)))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("in_place", [True, False])
def test_vectors_and_scores_that_differ_leave_nothing_to_settle(world, in_place, count):
    numbers = np.stack([np.random.default_rng(place).permutation(20)[:7] for place in range(count)])
    found, left = ask(refiner(world, in_place=in_place), world[:count], numbers)
    assert list(left) == []
    for query, own, rows, scores in zip(world, numbers, found.rows, found.scores, strict=False):
        expected = own[np.argsort(-score_rows(query, world[own]))[:K]]
        assert np.array_equal(rows, expected)
        assert np.array_equal(scores, score_rows(query, world[expected]))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_query_whose_proposals_ended_early_is_left_empty(world, in_place):
    numbers = np.array([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, -1]])
    found, left = ask(refiner(world, in_place=in_place), world[:2], numbers)
    assert list(left) == [1]
    assert found.rows[1].tolist() == [-1] * K
    assert np.isneginf(found.scores[1]).all()
    assert (found.rows[0] >= 0).all()


def test_as_many_proposals_as_rows_wanted_show_no_cut(world):
    found, left = ask(refiner(world, in_place=True), world[:2], np.array([[0, 1, 2], [3, 4, 5]]))
    assert list(left) == [0, 1]
    assert (found.rows == -1).all()


@pytest.mark.parametrize("in_place", [True, False])
def test_equal_scores_before_the_cut_are_ordered_and_at_the_cut_left(world, in_place):
    world[7] = world[3]
    own = score_rows(world[3], world[[1, 2, 4]])
    found, left = ask(refiner(world, in_place=in_place), world[3:4], np.array([[7, 3, 1, 2, 4]]))
    assert list(left) == []
    assert found.rows[0].tolist() == [3, 7, (1, 2, 4)[np.argmax(own)]]
    third = np.argsort(-score_rows(world[0], world))[:K].tolist()
    world[7] = world[third[-1]]
    assert list(ask(refiner(world, in_place=in_place), world[:1], np.array([[*third, 7]]))[1]) == [0]


@pytest.mark.parametrize("in_place", [True, False])
def test_the_rows_of_one_vector_stand_together_in_tie_order(world, in_place):
    rows = np.array([0, 1, 2, 1, 3, 4, 0, 0, 0])  # the vector that each row holds: 0 has four, 1 has two
    shared = world[rows]
    own = score_rows(world[9], world[:5])
    numbers = np.argsort(-own)[np.newaxis]
    found, left = ask(refiner(shared, in_place=in_place, numbers=rows), world[9:10], numbers)
    expected = [row for number in numbers[0] for row in np.flatnonzero(rows == number)][:K]
    assert list(left) == []
    assert found.rows[0].tolist() == expected
    assert np.array_equal(found.scores[0], own[rows[expected]])
    few = numbers.copy()
    few[0, -1] = -1
    assert list(ask(refiner(shared, in_place=in_place, numbers=rows), world[9:10], few)[1]) == [0]


def test_a_last_proposal_near_the_cut_is_left_where_its_score_says_so(world):
    own = score_rows(world[0], world[:6])
    order = np.argsort(-own)
    numbers, proposed = order[np.newaxis], own[order][np.newaxis].copy()
    exact = refiner(world, in_place=True, is_exact=True)
    assert list(ask(exact, world[:1], numbers, proposed)[1]) == []
    proposed[0, -1] = proposed[0, K - 1] - 1e-6
    assert list(ask(exact, world[:1], numbers, proposed)[1]) == [0]
    assert list(ask(refiner(world, in_place=True), world[:1], numbers, proposed)[1]) == []
