"""An answer that is called settled must not change, whatever the cross-encoder says about the rest."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.fusion import final_scores, standardised
from rerank.settling import is_settled

scores = st.integers(-40, 40).map(lambda n: n / 8)


def first_places(first, cross, weight, k):
    return np.argsort(-final_scores(first, cross, weight=weight), kind="stable")[:k].tolist()


@settings(max_examples=300)
@given(data=st.data())
def test_no_completion_changes_the_first_places_of_a_settled_answer(data):
    n = data.draw(st.integers(3, 14))
    steep = data.draw(st.sampled_from([1.0, 10.0, 1000.0]))
    first = np.sort(np.array(data.draw(st.lists(scores, min_size=n, max_size=n)), dtype=np.float64))[::-1].copy()
    first[: data.draw(st.integers(1, 2))] += steep  # something for the first stage to be sure of
    cross = np.array(data.draw(st.lists(scores, min_size=n, max_size=n)), dtype=np.float64)
    weight, k = data.draw(st.sampled_from([0.02, 0.05, 0.1, 0.3])), data.draw(st.integers(1, 3))
    m = data.draw(st.integers(2, n - 1))
    if not is_settled(standardised(first), cross[:m], weight=weight, k=k):
        return
    expected = None
    for extreme in (cross[m:], np.full(n - m, 1e6), np.full(n - m, -1e6), np.arange(n - m) * 1e3, np.full(n - m, 0.0)):
        found = first_places(first, np.concatenate((cross[:m], extreme)), weight, k)
        expected = expected or found
        assert found == expected


def test_a_sure_first_stage_settles_before_all_are_scored():
    first = standardised([50.0, 20.0] + [0.0] * 48)
    cross = np.zeros(50)
    assert [m for m in range(51) if is_settled(first, cross[:m], weight=0.1, k=1)] == list(range(2, 51))
    assert not is_settled(first, cross[:49], weight=0.1, k=3)  # the third and those after it are alike


def test_nothing_settles_where_the_cross_encoder_alone_decides():
    first = standardised([50.0] + [0.0] * 9)
    cross = np.arange(10)[::-1].astype(float)
    assert [m for m in range(11) if is_settled(first, cross[:m], weight=1.0, k=1)] == [10]


def test_what_the_cross_encoder_said_can_keep_an_order_open():
    first = standardised([10.0, 9.9] + [0.0] * 30)
    assert is_settled(first, np.array([1.0, 1.0, *np.zeros(8)]), weight=0.02, k=2)
    # The second was called better: when all else has one score, that decides; when others differ widely, it does not.
    assert not is_settled(first, np.array([1.0, 3.0, *np.zeros(8)]), weight=0.02, k=2)
