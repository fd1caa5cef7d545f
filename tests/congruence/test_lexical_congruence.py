"""The lexical index against bm25s, and against BM25 spelled out over plain Python lists."""

import math
import random
from collections import Counter

import bm25s
import numpy as np
import pytest

from retrieval.catalog import open_catalog
from retrieval.config import IcecatCatalog, LexicalConfig, TextConfig
from retrieval.lexical import LexicalIndex
from retrieval.text import TextTemplate
from retrieval.words import words

VOCABULARY = [f"w{chr(97 + n)}" for n in range(26)] + ["usb3", "256gb", "无线鼠标", "cables"]


def corpus(seed, products=300):
    """Texts of 0 to 40 words, a few words common and most rare."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(VOCABULARY))]
    return [" ".join(chance.choices(VOCABULARY, weights, k=chance.randrange(41))) for _ in range(products)]


def queries(seed, count=40):
    chance = random.Random(seed)
    return [" ".join(chance.choices([*VOCABULARY, "unheard"], k=chance.randrange(1, 6))) for _ in range(count)]


def oracle(texts, config):
    index = bm25s.BM25(method="lucene", k1=config.k1, b=config.b)
    index.index([words(text) for text in texts], show_progress=False)
    return index


def oracle_scores(index, query, count):
    known = [word for word in words(query) if word in index.vocab_dict]
    return index.get_scores(known) if known else np.zeros(count, dtype=np.float32)


def slow_score(query, text, texts, config):
    """BM25 of one pair, straight from the formula."""
    counted, lengths = Counter(words(text)), [len(words(other)) for other in texts]
    norm = config.k1 * (1 - config.b + config.b * len(words(text)) / (sum(lengths) / len(lengths)))
    total = 0.0
    for word in words(query):
        holders = sum(word in words(other) for other in texts)
        idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        total += idf * counted[word] / (counted[word] + norm) if counted[word] else 0.0
    return total


@pytest.mark.parametrize(
    "config", [LexicalConfig(), LexicalConfig(k1=0.9, b=0.4), LexicalConfig(b=0.0), LexicalConfig(b=1.0)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_scores_equal_those_of_bm25s(seed, config):
    texts = corpus(seed)
    index, expected = LexicalIndex.build(texts, config), oracle(texts, config)
    for query in queries(seed):
        assert index.scores(query) == pytest.approx(oracle_scores(expected, query, len(texts)), rel=1e-6, abs=1e-6)


def test_scores_equal_the_formula_spelled_out():
    texts, config = corpus(3, products=25), LexicalConfig()
    index = LexicalIndex.build(texts, config)
    for query in queries(3, count=8):
        expected = [slow_score(query, text, texts, config) for text in texts]
        assert index.scores(query) == pytest.approx(expected, rel=1e-6)


def test_the_top_rows_equal_a_full_sort():
    texts = corpus(4)
    index = LexicalIndex.build(texts, LexicalConfig())
    tie_rank = np.array(random.Random(4).sample(range(len(texts)), len(texts)))
    eligible = np.array([random.Random(row).random() < 0.7 for row in range(len(texts))])
    for query in queries(4):
        scores = index.scores(query)
        matching = np.flatnonzero(eligible & (scores > 0)).tolist()
        full = [row for _, _, row in sorted((-scores[row], tie_rank[row], row) for row in matching)]
        for k in (1, 7, 1000):
            rows, found = index.search(query, k, eligible=eligible, tie_rank=tie_rank)
            assert rows.tolist() == full[:k]
            assert found.tolist() == scores[full[:k]].tolist()


@pytest.mark.shared
def test_on_icecat_scores_equal_those_of_bm25s_for_every_query(shared_data):
    catalog = open_catalog(IcecatCatalog(name="icecat", attributes=False), shared_data / "icecat")
    template = TextTemplate(TextConfig())
    texts = [template.render(product) for batch in catalog.products() for product in batch.products]
    asked = [query.text for query in catalog.queries()]
    assert (len(texts), len(asked)) == (19_406, 90)
    index, expected = LexicalIndex.build(texts, LexicalConfig()), oracle(texts, LexicalConfig())
    worst = max(np.abs(index.scores(query) - oracle_scores(expected, query, len(texts))).max() for query in asked)
    assert worst < 2e-6  # one unit in the last place of a float32 between 8 and 16
