import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexing.keys import KEY, KeySet


def keys(numbers):
    return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), dtype=KEY)


@given(st.lists(st.lists(st.integers(0, 40)), max_size=12))
def test_a_key_is_new_exactly_once_whatever_the_batches(batches):
    met, seen = KeySet(), set()
    for batch in batches:
        expected = []
        for number in batch:
            expected.append(number not in seen)
            seen.add(number)
        assert met.add(keys(batch)).tolist() == expected


def test_a_key_met_long_ago_is_found_after_many_merges():
    met = KeySet()
    for first in range(0, 5_000, 50):
        assert met.add(keys(range(first, first + 50))).all()
    assert not met.add(keys([0, 49, 2_500, 4_999])).any()
