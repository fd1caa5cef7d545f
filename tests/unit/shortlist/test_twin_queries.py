"""Folds: every query in one, twins together, the same however the queries come."""

import pytest

from shortlist.jobs.train.twins import fold_of, twins

TWINS = [
    ("usb battery", "Batteries, USB"),
    ("head set", "headset"),
    ("head set", "hedset"),
    ("iphone 15", "iPhone15"),
    ("!!!", "!!!"),
]
STRANGERS = [("aa", "aaa"), ("laptop bag", "laptop case"), ("headset", "headphones"), ("!!!", "???")]


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_queries_that_ask_the_same_are_twins(one, other):
    assert twins([one, "something else", other]) == [[0, 2], [1]]


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_queries_that_ask_for_different_things_are_none(one, other):
    assert twins([one, other]) == [[0], [1]]


def test_a_twin_of_a_twin_is_one():
    assert twins(["headset", "charger", "head set", "hedset", "hedst"]) == [[0, 2, 3, 4], [1]]


def test_folds_are_even_keep_twins_together_and_do_not_depend_on_the_order():
    texts = [f"query number {chr(97 + place)}{chr(110 + place % 7)}{place * place}" for place in range(40)]
    texts += ["head set", "headset", "hedset"]
    found = fold_of(texts, folds=5, seed=7)
    assert sorted(found.count(fold) for fold in range(5)) == [8, 8, 9, 9, 9]
    assert len(set(found[-3:])) == 1
    assert fold_of(texts[::-1], folds=5, seed=7) == found[::-1]
    assert fold_of(texts, folds=5, seed=8) != found


def test_fewer_different_queries_than_folds_are_refused():
    with pytest.raises(ValueError, match="3 folds need as many queries that ask for different things, got 2"):
        fold_of(["head set", "headset", "mouse"], folds=3, seed=7)
