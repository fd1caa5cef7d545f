import faiss
import numpy as np
import pytest

from indexing.scores import best_rows, score_rows


def rows(count, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("dim", [*range(1, 34), 100, 384, 385, 768])
def test_a_score_is_the_inner_product_of_the_two_vectors_alone_bit_for_bit(dim):
    vectors, query = rows(70, dim), rows(1, dim, seed=1)[0]
    alone = [faiss.fvec_inner_product(faiss.swig_ptr(query), faiss.swig_ptr(row), dim) for row in vectors]
    assert np.array_equal(score_rows(query, vectors), np.array(alone, np.float32))


@pytest.mark.parametrize("dim", [2, 8, 384])
def test_the_best_rows_have_the_scores_of_score_rows_in_order(dim):
    vectors, queries = rows(300, dim), rows(150, dim, seed=1)
    chosen = np.stack([np.random.default_rng(place).permutation(300)[:120] for place in range(150)])
    scores, best = best_rows(queries, vectors, chosen, 50)
    for place, query in enumerate(queries):
        own = score_rows(query, vectors)
        expected = chosen[place][np.argsort(-own[chosen[place]], kind="stable")[:50]]
        assert np.array_equal(best[place], expected)
        assert np.array_equal(scores[place], own[expected])


def test_rows_end_at_the_first_that_is_none_and_places_without_a_row_say_so():
    vectors = np.eye(4, dtype=np.float32)
    scores, best = best_rows(vectors[:2], vectors, np.array([[0, 1, -1], [-1, -1, -1]]), 3)
    assert best.tolist() == [[0, 1, -1], [-1, -1, -1]]
    assert scores[0, :2].tolist() == [1, 0]
    _, best = best_rows(vectors[:1], vectors, np.empty((1, 0), np.int64), 2)
    assert best.tolist() == [[-1, -1]]


def test_nothing_to_score_gives_no_scores():
    assert score_rows(np.ones(3, np.float32), np.empty((0, 3), np.float32)).shape == (0,)
    assert score_rows(np.ones(4, np.float32), np.empty((0, 4), np.float32)).shape == (0,)
