"""Means over chance, against the mean over every order there is."""

from itertools import permutations, product

import pytest

from retrieval.chance import random_ndcg, tied_ndcg
from retrieval.metrics import by_rank, ndcg

GRADES = {"a": 3, "b": 1, "c": 0, "d": 1}
FORMS = [
    {"k": 2},
    {"k": 10},
    {"k": None},
    {"k": 3, "gains": {0: 0, 1: 1, 3: 7}},
    {"k": 3, "discount": by_rank, "ideal_grade": 3},
]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("form", FORMS)
def test_the_random_floor_is_the_mean_over_every_order_of_the_judged_products(form):
    orders = permutations(GRADES)
    assert random_ndcg(GRADES, **form) == pytest.approx(mean(ndcg(order, GRADES, **form) for order in orders))


@pytest.mark.parametrize("form", FORMS)
def test_among_more_products_the_floor_is_the_mean_over_every_order_of_them_all(form):
    orders = permutations([*GRADES, "x", "y"])
    found = random_ndcg(GRADES, among=6, **form)
    assert found == pytest.approx(mean(ndcg(order, GRADES, **form) for order in orders))


@pytest.mark.parametrize("form", FORMS)
def test_ties_are_worth_the_mean_over_every_order_within_the_groups(form):
    groups = [["b"], ["a", "c", "u"], ["d", "v"]]
    orders = product(*(permutations(group) for group in groups))
    expected = mean(ndcg([*first, *second, *third], GRADES, **form) for first, second, third in orders)
    assert tied_ndcg(groups, GRADES, **form) == pytest.approx(expected)


def test_without_ties_the_order_is_all_that_counts():
    assert tied_ndcg([["b"], ["a"], ["x"]], GRADES, k=3) == pytest.approx(ndcg(["b", "a", "x"], GRADES, k=3))


def test_all_tied_is_random_and_nothing_ranked_is_0():
    assert tied_ndcg([list(GRADES)], GRADES, k=2) == pytest.approx(random_ndcg(GRADES, k=2))
    assert tied_ndcg([], GRADES, k=2) == 0.0


def test_without_a_gain_both_are_0():
    assert random_ndcg({"a": 0}, k=5) == 0.0
    assert tied_ndcg([["a"]], {"a": 0}, k=5) == 0.0
    assert random_ndcg({}, k=5) == 0.0


def test_ordering_fewer_products_than_are_judged_is_refused():
    with pytest.raises(ValueError, match="among must reach the 4 judged products, got 3"):
        random_ndcg(GRADES, k=2, among=3)


def test_a_product_in_two_groups_is_refused():
    with pytest.raises(ValueError, match="each product once, got 'a' more than once"):
        tied_ndcg([["a", "b"], ["a"]], GRADES, k=2)
