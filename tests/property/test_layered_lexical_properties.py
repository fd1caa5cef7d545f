"""A version with what changed since scores like an index built anew, bit for bit, and like bm25s."""

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.config import LexicalConfig
from retrieval.layered_lexical import DeltaPostings, LayeredLexicalIndex
from retrieval.lexical import LexicalIndex
from retrieval.words import words

WORDS = ["red", "mouse", "usb3", "cable", "无线", "lamp"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
QUERIES = [*WORDS, "red mouse", "red red lamp unheard", ""]


@st.composite
def lives(draw):
    """Base texts, which of them are dead, and batches of newer texts with which of all so far are kept."""
    base = draw(st.lists(TEXTS, max_size=12))
    dead = draw(st.lists(st.booleans(), min_size=len(base), max_size=len(base)))
    batches, there = [], 0
    for texts in draw(st.lists(st.lists(TEXTS, max_size=5), max_size=3)):
        there += len(texts)
        kept = draw(st.lists(st.booleans(), min_size=there, max_size=there))
        batches.append((texts, kept))
        there = sum(kept)
    return base, dead, batches


def layered(life, config):
    """Return the layered index, the rows that are there, and their texts in the order of the rows."""
    base, dead, batches = life
    delta, newer = DeltaPostings.empty(), []
    for texts, kept in batches:
        delta = delta.adding(texts).keeping(np.array(kept, dtype=np.bool_))
        newer = [text for text, keep in zip([*newer, *texts], kept, strict=True) if keep]
    index = LayeredLexicalIndex(LexicalIndex.build(base, config), np.array(dead, dtype=np.bool_), delta)
    alive = [row for row, gone in enumerate(dead) if not gone] + [len(base) + row for row in range(len(newer))]
    return index, alive, [text for text, gone in zip(base, dead, strict=True) if not gone] + newer


@given(lives(), st.sampled_from([LexicalConfig(), LexicalConfig(k1=0.9, b=1.0)]))
def test_scores_equal_those_of_an_index_built_anew_bit_for_bit(life, config):
    index, alive, texts = layered(life, config)
    fresh = LexicalIndex.build(texts, config)
    assert (index.products, index.count) == (fresh.count, len(life[0]) + len(texts) - life[1].count(False))
    for query in QUERIES:
        scores = index.scores(query)
        assert scores[alive].tolist() == fresh.scores(query).tolist()
        assert np.delete(scores, alive).tolist() == [0.0] * (index.count - len(alive))


@given(lives())
def test_dead_products_are_never_found_and_ties_follow_the_rank_that_is_given(life):
    index, alive, texts = layered(life, LexicalConfig())
    fresh = LexicalIndex.build(texts, LexicalConfig())
    rank = np.arange(index.count)[::-1].copy()
    for query in QUERIES:
        rows, scores = index.search(query, 4, tie_rank=rank)
        expected, expected_scores = fresh.search(query, 4, tie_rank=rank[alive])
        assert rows.tolist() == [alive[row] for row in expected]
        assert scores.tolist() == expected_scores.tolist()


def test_scores_equal_those_of_bm25s_after_replacing_deleting_and_adding():
    base = ["red mouse", "red usb3 cable", "lamp", "mouse mouse cable"]
    delta = DeltaPostings.empty().adding(["a red lamp", "blue mouse for the cable"])
    index = LayeredLexicalIndex(LexicalIndex.build(base, LexicalConfig()), np.array([False, True, False, True]), delta)
    texts = ["red mouse", "lamp", "a red lamp", "blue mouse for the cable"]
    oracle = bm25s.BM25(method="lucene", k1=LexicalConfig().k1, b=LexicalConfig().b)
    oracle.index([words(text) for text in texts], show_progress=False)
    for query in ("red", "mouse cable", "lamp lamp red"):
        expected = oracle.get_scores(words(query))
        assert index.scores(query)[[0, 2, 4, 5]] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_adding_leaves_what_was_there_as_it_was():
    before = DeltaPostings.empty().adding(["red mouse"])
    after = before.adding(["red lamp"])
    assert (before.of("lamp")[0].tolist(), after.of("lamp")[0].tolist()) == ([], [1])
    assert (before.of("red")[0].tolist(), after.of("red")[0].tolist()) == ([0], [0, 1])
