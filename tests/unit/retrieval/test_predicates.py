"""Conditions kept as bits: the same rows as working them out anew, and each worked out once."""

from collections import Counter

import numpy as np
import pytest

from indexing.errors import InvalidQuery
from retrieval import predicates
from retrieval.predicates import Predicates

PRICES = np.arange(37)


class Column:
    """Compares numbers, and counts how often it was asked for each condition."""

    def __init__(self):
        self.asked = Counter()

    def matches(self, condition):
        name, sign, value = condition
        self.asked[str(condition)] += 1
        if name != "price":
            raise InvalidQuery(f"there is no column {name!r}")
        if sign == "in":
            return np.isin(PRICES, value)
        return value > PRICES if sign == "<" else value < PRICES


@pytest.fixture
def column():
    return Column()


@pytest.fixture
def kept(column):
    return Predicates(len(PRICES), column.matches)


def test_conjunctions_and_alternatives_are_those_of_numpy(kept):
    wanted = [[("price", ">", 5), ("price", "<", 9)], [("price", "in", [1, 20])]]
    assert np.flatnonzero(kept.passing(wanted)).tolist() == [1, 6, 7, 8, 20]
    assert kept.passing([]).all()
    assert len(kept.passing([])) == 37


def test_a_condition_is_worked_out_once_in_whatever_filters_it_stands(kept, column):
    kept.passing([[("price", ">", 5), ("price", "<", 9)]])
    kept.passing([[("price", "<", 9)]])
    kept.passing([[("price", "<", 9), ("price", "in", [3])], [("price", ">", 5)]])
    assert set(column.asked.values()) == {1}


def test_the_same_filter_gives_the_same_array_which_nobody_can_change(kept):
    first, second = kept.passing([[("price", "<", 9)]]), kept.passing([[("price", "<", 9)]])
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False


def test_values_that_python_takes_for_equal_are_told_apart_by_kind(kept, column):
    assert kept.passing([[("price", "in", [True])]]) is not kept.passing([[("price", "in", [1])]])
    assert len(column.asked) == 2


def test_what_is_wrong_is_said_every_time_and_not_kept(kept):
    for _ in range(2):
        with pytest.raises(InvalidQuery, match="there is no column 'size'"):
            kept.passing([[("size", "<", 9)]])


def test_no_more_is_kept_than_the_memory_allowed(column, monkeypatch):
    monkeypatch.setattr(predicates, "KEPT_BYTES", 4 * 5)  # 37 rows take 5 bytes
    monkeypatch.setattr(predicates, "KEPT_MASKS", 2)
    kept = Predicates(len(PRICES), column.matches)
    for value in (1, 2, 3, 1, 4, 5, 1):
        kept.passing([[("price", "<", value)], [("price", ">", 100)]])
    assert len(kept._bits._values) == 4
    assert len(kept._masks._values) == 2
    assert column.asked["('price', '<', 1)"] == 1, "what is used often stays"
