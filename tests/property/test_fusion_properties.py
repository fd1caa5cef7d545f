"""Fusion against a slow twin of dictionaries, and what must not change it."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.config import ConvexConfig, RrfConfig, ZscoreConfig
from retrieval.fusion import fuse

N = 12
WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0])
# Multiples of 1/8 are exact in float32 and often equal.
SCORES = st.integers(-40, 40).map(lambda eighths: eighths / 8)


@st.composite
def ranked(draw):
    """Draw a list as a source returns it: distinct rows, best first."""
    scores = sorted(draw(st.dictionaries(st.integers(0, N - 1), SCORES)).items(), key=lambda pair: (-pair[1], pair[0]))
    rows, values = [row for row, _ in scores], [score for _, score in scores]
    return np.array(rows, dtype=np.int64), np.array(values, dtype=np.float32)


configs = st.builds(
    lambda kind, dense, lexical: kind(dense=dense, lexical=lexical),
    st.sampled_from([RrfConfig, ZscoreConfig, ConvexConfig]),
    WEIGHTS,
    WEIGHTS,
)
lists = st.fixed_dictionaries({"dense": ranked(), "lexical": ranked()})
tie_ranks = st.permutations(range(N)).map(np.array)


def slow_values(config, scores):
    """Row -> value of one list, and the value of an absent row."""
    if isinstance(config, RrfConfig):
        return {row: 1 / (config.constant + rank) for rank, row in enumerate(scores, start=1)}, 0.0
    spread = max(scores.values()) - min(scores.values())
    if isinstance(config, ConvexConfig):
        low = min(scores.values())
        return {row: (score - low) / spread if spread else 1.0 for row, score in scores.items()}, 0.0
    mean, deviation = statistics.fmean(scores.values()), statistics.pstdev(scores.values())
    standard = {row: (score - mean) / deviation if spread else 0.0 for row, score in scores.items()}
    return standard, min(standard.values())


def slow_fuse(config, found):
    """Row -> fused score."""
    fused = dict.fromkeys((row for rows, _ in found.values() for row in rows.tolist()), 0.0)
    for source, (rows, scores) in found.items():
        if len(rows):
            values, absent = slow_values(config, dict(zip(rows.tolist(), scores.tolist(), strict=True)))
            for row in fused:
                fused[row] += getattr(config, source) * values.get(row, absent)
    return fused


@given(configs, lists, tie_ranks)
def test_fused_scores_equal_those_of_the_slow_twin(config, found, tie_rank):
    rows, scores = fuse(config, found, tie_rank=tie_rank, depth=N)
    expected = slow_fuse(config, found)
    assert sorted(rows.tolist()) == sorted(expected)
    assert scores.tolist() == pytest.approx([expected[row] for row in rows.tolist()], rel=1e-5, abs=1e-5)


@given(configs, lists, tie_ranks)
def test_the_order_is_by_score_then_tie_rank(config, found, tie_rank):
    rows, scores = fuse(config, found, tie_rank=tie_rank, depth=N)
    keys = [(-score, tie_rank[row]) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)]
    assert keys == sorted(keys)


@given(configs, lists, tie_ranks, st.integers(1, N))
def test_a_smaller_depth_gives_the_head_of_a_larger_one(config, found, tie_rank, depth):
    rows, scores = fuse(config, found, tie_rank=tie_rank, depth=N)
    head_rows, head_scores = fuse(config, found, tie_rank=tie_rank, depth=depth)
    assert head_rows.tolist() == rows[:depth].tolist()
    assert head_scores.tobytes() == scores[:depth].tobytes()


@given(configs, lists, tie_ranks)
def test_the_order_of_the_sources_changes_nothing(config, found, tie_rank):
    turned = dict(reversed(found.items()))
    for one, other in zip(
        *(fuse(config, lists_, tie_rank=tie_rank, depth=N) for lists_ in (found, turned)), strict=True
    ):
        assert one.tobytes() == other.tobytes()


@given(st.sampled_from([RrfConfig, ZscoreConfig, ConvexConfig]), lists, tie_ranks)
def test_a_source_of_weight_zero_changes_nothing(kind, found, tie_rank):
    config = kind(dense=2.0, lexical=0.0)
    alone = {"dense": found["dense"]}
    for one, other in zip(
        *(fuse(config, lists_, tie_rank=tie_rank, depth=N) for lists_ in (found, alone)), strict=True
    ):
        assert one.tobytes() == other.tobytes()


@given(configs, lists, tie_ranks, st.permutations(range(N)))
def test_renumbering_the_rows_does_not_change_which_products_come_in_which_order(config, found, tie_rank, renumbered):
    """Rows are places in one index; ties are settled by the product, so another place must not matter."""
    new_row = np.array(renumbered)
    new_tie_rank = np.empty(N, dtype=np.int64)
    new_tie_rank[new_row] = tie_rank
    moved = {source: (new_row[rows], scores) for source, (rows, scores) in found.items()}
    rows, scores = fuse(config, found, tie_rank=tie_rank, depth=N)
    moved_rows, moved_scores = fuse(config, moved, tie_rank=new_tie_rank, depth=N)
    assert moved_rows.tolist() == new_row[rows].tolist()
    assert moved_scores.tobytes() == scores.tobytes()
