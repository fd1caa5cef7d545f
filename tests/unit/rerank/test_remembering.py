"""A cross-encoder that scores no pair twice."""

import numpy as np

from rerank.remembering import RememberingReranker


class Lengths:
    fusion = "a fusion"

    def __init__(self):
        self.asked = []

    def score(self, query, texts):
        self.asked.append((query, list(texts)))
        return np.array([len(query) + len(text) for text in texts], np.float32)


def test_a_pair_is_scored_once_and_the_order_is_that_of_the_texts():
    behind, told = Lengths(), []
    reranker = RememberingReranker(behind, told.append)
    assert reranker.score("q", ["aa", "b", "aa"]).tolist() == [3, 2, 3]
    assert reranker.score("q", ["ccc", "b"]).tolist() == [4, 2]
    assert reranker.score("qq", ["b"]).tolist() == [3]
    assert reranker.score("q", ["b"]).dtype == np.float32
    assert behind.asked == [("q", ["aa", "b"]), ("q", ["ccc"]), ("qq", ["b"])]
    assert told == [2, 1, 1]
    assert reranker.fusion == "a fusion"
    assert RememberingReranker(behind).score("q", ["b"]).tolist() == [2]
