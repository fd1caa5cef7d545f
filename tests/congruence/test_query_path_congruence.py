"""What a query does many times over, held by value against the slow and obvious way to do it."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.attribute_columns import AttributeColumn
from retrieval.config import ConvexConfig, FusionConfig, RrfConfig, ZscoreConfig
from retrieval.fusion import fuse
from retrieval.retriever import scores_of

N = 12

ranked = st.lists(st.tuples(st.integers(0, N - 1), st.integers(-6, 6)), unique_by=lambda pair: pair[0], max_size=N).map(
    lambda pairs: sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
)


def arrays(pairs):
    return np.array([row for row, _ in pairs], dtype=np.int64), np.array([s for _, s in pairs], dtype=np.float32)


def slowly_fused(config, lists, depth):
    """Every product by itself, in Python floats."""
    weights = {"dense": config.dense, "lexical": config.lexical}
    used = {name: pairs for name, pairs in lists.items() if weights[name] > 0}
    total = {row: 0.0 for pairs in used.values() for row, _ in pairs}
    for name in sorted(used):
        scores = np.array([score for _, score in used[name]], dtype=np.float64)
        if not len(scores):
            continue
        level = scores.min() == scores.max()
        match config:
            case RrfConfig():
                given_to = [1 / (config.constant + rank) for rank in range(1, len(scores) + 1)]
                absent = 0.0
            case ZscoreConfig():
                given_to = [0.0] * len(scores) if level else list((scores - scores.mean()) / scores.std())
                absent = min(given_to)
            case ConvexConfig():
                given_to = [1.0] * len(scores) if level else list((scores - scores.min()) / np.ptp(scores))
                absent = 0.0
        of_row = dict(zip([row for row, _ in used[name]], given_to, strict=True))
        for row in total:
            total[row] += weights[name] * of_row.get(row, absent)
    order = sorted(total, key=lambda row: (-np.float32(total[row]), N - row))[:depth]  # the tie rank below
    return order, [float(np.float32(total[row])) for row in order]


@given(
    dense=ranked,
    lexical=ranked,
    config=st.sampled_from([RrfConfig(), ZscoreConfig(), ConvexConfig(lexical=0.3), RrfConfig(lexical=0.0)]),
    depth=st.integers(1, 2 * N),
)
def test_fusing_by_one_sort_equals_fusing_product_by_product(dense, lexical, config: FusionConfig, depth):
    lists = {"lexical": lexical, "dense": dense}
    tie_rank = np.arange(N, 0, -1, dtype=np.int64)
    rows, scores = fuse(config, {name: arrays(pairs) for name, pairs in lists.items()}, tie_rank=tie_rank, depth=depth)
    assert (rows.tolist(), scores.tolist()) == slowly_fused(config, lists, depth)


@given(dense=ranked, lexical=ranked, rows=st.lists(st.integers(0, N - 1), unique=True))
def test_a_candidate_carries_the_score_of_every_source_that_returned_it_and_no_other(dense, lexical, rows):
    lists = {"dense": dense, "lexical": lexical}
    found = scores_of(np.array(rows, dtype=np.int64), {name: arrays(pairs) for name, pairs in lists.items()})
    assert found == [{name: dict(pairs)[row] for name, pairs in lists.items() if row in dict(pairs)} for row in rows]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.lists(st.lists(st.dictionaries(texts, texts, max_size=4), max_size=5), max_size=3), st.integers(0, 2))
def test_attributes_read_in_one_go_are_those_that_arrow_reads_one_by_one(chunks, cut):
    kind = pa.map_(pa.string(), pa.string())
    made = [pa.array([list(row.items()) for row in chunk], kind) for chunk in chunks]
    column = pa.chunked_array([chunk.slice(min(cut, len(chunk))) for chunk in made], kind)
    read = AttributeColumn(column)
    assert [read.get(row) for row in range(len(column))] == [dict(column[row].as_py()) for row in range(len(column))]


def test_an_attribute_without_a_value_is_read_as_none_and_of_a_name_twice_the_last():
    column = pa.chunked_array(
        [[[("a", None), ("b", "x")], [("a", "1"), ("a", "2")]]], pa.map_(pa.string(), pa.string())
    )
    read = AttributeColumn(column)
    assert (read.get(0), read.get(1)) == ({"a": None, "b": "x"}, {"a": "2"})
    with pytest.raises(IndexError):
        read.get(2)
