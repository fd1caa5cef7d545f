"""Every method on two short lists, worked by hand."""

import numpy as np
import pytest

from retrieval.config import ConvexConfig, FusionConfig, RrfConfig, ZscoreConfig
from retrieval.fusion import fuse

BY_ROW = np.arange(100)


def ranked(*pairs):
    return np.array([row for row, _ in pairs], dtype=np.int64), np.array(
        [score for _, score in pairs], dtype=np.float32
    )


NOTHING = ranked()
DENSE = ranked((7, 0.9), (3, 0.8), (5, 0.1))
LEXICAL = ranked((3, 12.0), (9, 4.0))


def fused(config, *, depth=10, tie_rank=BY_ROW, **lists):
    rows, scores = fuse(config, lists, tie_rank=tie_rank, depth=depth)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))


def test_reciprocal_ranks_are_added_with_their_weights():
    found = fused(RrfConfig(dense=1, lexical=2), dense=DENSE, lexical=LEXICAL)
    assert list(found) == [3, 9, 7, 5]
    assert found == pytest.approx({3: 1 / 62 + 2 / 61, 9: 2 / 62, 7: 1 / 61, 5: 1 / 63})


def test_the_constant_of_reciprocal_ranks_is_configuration():
    assert fused(RrfConfig(constant=1), dense=DENSE) == pytest.approx({7: 1 / 2, 3: 1 / 3, 5: 1 / 4})


def test_z_scores_are_added_and_an_absent_product_takes_the_lowest_of_the_list():
    deviation = np.sqrt((0.3**2 + 0.2**2 + 0.5**2) / 3)  # around the mean of .9, .8 and .1, which is .6
    low = -0.5 / deviation
    found = fused(ZscoreConfig(dense=2), dense=DENSE, lexical=LEXICAL)
    expected = {3: 2 * 0.2 / deviation + 1, 7: 2 * 0.3 / deviation - 1, 5: 2 * low - 1, 9: 2 * low - 1}
    assert list(found) == [3, 7, 5, 9]
    assert found == pytest.approx(expected, rel=1e-6)


def test_z_scores_of_equal_scores_are_zero():
    found = fused(ZscoreConfig(), dense=ranked((1, 0.3), (2, 0.3), (4, 0.3)), lexical=LEXICAL)
    assert found == pytest.approx({3: 1, 1: -1, 2: -1, 4: -1, 9: -1})


def test_convex_scales_each_list_to_one_and_counts_an_absent_product_as_zero():
    found = fused(ConvexConfig(dense=0.5, lexical=0.25), dense=DENSE, lexical=LEXICAL)
    assert list(found) == [3, 7, 5, 9]
    assert found == pytest.approx({3: 0.5 * 0.7 / 0.8 + 0.25, 7: 0.5, 5: 0, 9: 0}, rel=1e-6)


def test_convex_counts_a_list_of_equal_scores_as_full():
    found = fused(ConvexConfig(), dense=ranked((4, 0.2)), lexical=LEXICAL)
    assert found == pytest.approx({4: 1, 3: 1, 9: 0})


def test_ties_are_settled_by_tie_rank_before_the_cut():
    lists = {"dense": ranked((1, 0.9)), "lexical": ranked((2, 3.0))}
    assert list(fused(RrfConfig(), **lists)) == [1, 2]
    assert list(fused(RrfConfig(), tie_rank=-BY_ROW, depth=1, **lists)) == [2]


def test_a_list_may_be_empty():
    alone = fused(ZscoreConfig(), dense=DENSE)
    assert fused(ZscoreConfig(), dense=DENSE, lexical=NOTHING) == alone
    assert list(alone) == [7, 3, 5]


@pytest.mark.parametrize("lists", [{}, {"dense": NOTHING}, {"dense": NOTHING, "lexical": NOTHING}])
def test_nothing_found_fuses_to_nothing(lists):
    assert fused(RrfConfig(), **lists) == {}


def test_a_source_of_weight_zero_adds_no_product():
    assert fused(RrfConfig(lexical=0), dense=DENSE, lexical=LEXICAL) == fused(RrfConfig(lexical=0), dense=DENSE)


@pytest.mark.parametrize("depth", [0, -3])
def test_a_depth_below_one_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth must be at least 1, got {depth}"):
        fused(RrfConfig(), depth=depth, dense=DENSE)


def test_a_source_without_a_weight_is_refused():
    with pytest.raises(ValueError, match=r"expected lists of the sources \['dense', 'lexical'\], got one of 'visual'"):
        fused(RrfConfig(), visual=DENSE)


def test_a_fusion_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="expected a fusion of the kinds rrf, zscore and convex, got FusionConfig"):
        fused(FusionConfig(), dense=DENSE)


def test_a_source_depth_below_one_is_refused():
    with pytest.raises(ValueError, match=r"fusion\.source_depth must be at least 1, got 0"):
        RrfConfig(source_depth=0)
