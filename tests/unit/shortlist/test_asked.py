"""What may be asked of an engine, and in which words the rest is refused."""

import math

import numpy as np
import pytest

from indexing.errors import InvalidQuery
from shortlist.asked import (
    panics_refused,
    require_deadline,
    require_numbers,
    require_product_id,
    require_queries,
    require_switch,
)


@pytest.mark.parametrize(("k", "depth"), [(1, None), (1, 1), (10, 100), (2**63 - 1, None)])
def test_whole_numbers_from_one_are_taken(k, depth):
    assert require_numbers(k, depth) is None


@pytest.mark.parametrize(
    ("k", "depth", "error", "message"),
    [
        (None, None, TypeError, r"k must be an int, got None \(NoneType\)"),
        (True, None, TypeError, r"k must be an int, got True \(bool\)"),
        (2.0, None, TypeError, r"k must be an int, got 2\.0 \(float\)"),
        ("3", None, TypeError, r"k must be an int, got '3' \(str\)"),
        (np.int64(3), None, TypeError, r"k must be an int, got .*3.* \(int64\)"),
        (0, None, ValueError, r"k must be at least 1, got 0 \(int\)"),
        (2**63, None, ValueError, r"k must be less than 2\*\*63, got 9223372036854775808 \(int\)"),
        (1, 0, ValueError, r"depth must be at least 1, got 0 \(int\)"),
        (1, math.nan, TypeError, r"depth must be an int, got nan \(float\)"),
        (5, 4, ValueError, "depth=4 is below k=5"),
    ],
)
def test_other_numbers_are_refused_with_what_was_given(k, depth, error, message):
    with pytest.raises(error, match=message):
        require_numbers(k, depth)


def test_a_number_too_long_to_be_written_is_refused_in_words():
    with pytest.raises(ValueError, match=r"k must be less than 2\*\*63, got a value of type int that is too long"):
        require_numbers(10**5000, None)
    with pytest.raises(ValueError, match="at least 0, got a value of type int that is too long"):
        require_deadline(-(10**5000))


@pytest.mark.parametrize("deadline_ms", [None, 0, 0.0, 1, 150.5, np.float64(3.0), 10**300])
def test_deadlines_are_finite_and_not_negative(deadline_ms):
    assert require_deadline(deadline_ms) is None


@pytest.mark.parametrize(
    ("deadline_ms", "error", "message"),
    [
        (-1, ValueError, r"must be finite and at least 0, got -1 \(int\); leave it out for no deadline"),
        (math.nan, ValueError, "at least 0, got nan"),
        (math.inf, ValueError, "must be finite and at least 0, got inf"),
        (-math.inf, ValueError, "at least 0, got -inf"),
        pytest.param(10**5_000, ValueError, "must be finite and at least 0, got ", id="5,000 digits"),
        ("50", TypeError, r"deadline_ms must be a number of milliseconds, got '50' \(str\)"),
        (True, TypeError, "must be a number of milliseconds, got True"),
        ([50], TypeError, r"must be a number of milliseconds, got \[50\] \(list\)"),
    ],
)
def test_other_deadlines_are_refused(deadline_ms, error, message):
    with pytest.raises(error, match=message):
        require_deadline(deadline_ms)


@pytest.mark.parametrize("queries", [[], ["a"], ("a", "b"), [None]])
def test_queries_come_as_a_sequence_whose_members_are_checked_later(queries):
    assert require_queries(queries) is None


@pytest.mark.parametrize("queries", ["usb", b"usb", None, 5, {"a"}, {"a": 1}, iter("ab"), np.array(["a"])])
def test_what_is_no_sequence_of_queries_is_refused(queries):
    with pytest.raises(TypeError, match=r"queries must be a list of strings, got .*; for one query there is search"):
        require_queries(queries)


def test_a_switch_is_true_or_false_and_not_a_word_that_would_count_as_true():
    require_switch("rerank", True)
    require_switch("rerank", False)
    for value in ("false", 0, 1, None, np.True_):
        with pytest.raises(TypeError, match="rerank must be True or False, got"):
            require_switch("rerank", value)


def test_a_product_id_is_a_string():
    require_product_id("0003")
    for value in (3, None, ["0003"], b"0003"):
        with pytest.raises(InvalidQuery, match="a product_id is a string, got"):
            require_product_id(value)


def test_a_panic_of_the_tokenizers_becomes_a_refusal_and_other_ends_stay_what_they_are():
    class PanicException(BaseException):
        """As pyo3 makes it: no Exception."""

    with (
        pytest.raises(InvalidQuery, match="the tokenizer cannot take this query: out of bounds"),
        panics_refused(),
    ):
        raise PanicException("out of bounds")
    with pytest.raises(KeyboardInterrupt), panics_refused():
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="as it is"), panics_refused():
        raise ValueError("as it is")
