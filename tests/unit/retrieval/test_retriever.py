"""The first stage over a handful of products: what each source adds, what is fused, and what is refused."""

import numpy as np
import pytest

from indexing.errors import InvalidQuery, VectorError
from indexing.exact import ExactIndex
from indexing.vectors import ArrayVectors
from retrieval.config import ConvexConfig, LexicalConfig, RrfConfig, ZscoreConfig
from retrieval.lexical import LexicalIndex
from retrieval.products import ProductTable
from retrieval.records import Product
from retrieval.retriever import Retriever

# Ids in another order than rows, and two products that are alike to both sources.
TITLES = {"e": "red mouse", "d": "red keyboard", "c": "blue mouse", "b": "sofa", "a": "sofa"}
COSINES = [0.6, 0.8, 1.0, 0.0, 0.0]


class Encoder:
    """Gives every text the first axis and remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def encode_queries(self, texts):
        self.calls.append(list(texts))
        return np.tile(np.array([1, 0], dtype=np.float32), (len(texts), 1))


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    path = tmp_path_factory.mktemp("retriever") / "products.parquet"
    ProductTable.write(path, [[Product(product_id, title) for product_id, title in TITLES.items()]])
    return ProductTable.open(path)


@pytest.fixture(scope="module")
def dense(products):
    vectors = np.array([[c, np.sqrt(1 - c * c)] for c in COSINES], dtype=np.float32)
    return ExactIndex(ArrayVectors(vectors), tie_rank=products.tie_rank)


@pytest.fixture(scope="module")
def lexical():
    return LexicalIndex.build(TITLES.values(), LexicalConfig())


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def retriever(encoder, dense, lexical, products):
    return Retriever(encoder, dense, lexical, products, RrfConfig())


def ids(recall):
    return "".join(candidate.product_id for candidate in recall.candidates)


# --- what is recalled -------------------------------------------------------------------------------------------------


def test_both_sources_are_fused_and_their_scores_kept(retriever):
    (recall,) = retriever.retrieve(["mouse"], depth=5)
    first = recall.candidates[0]
    assert ids(recall) == "cedab"
    assert (first.product_id, first.row, first.rank) == ("c", 2, 1)
    assert first.score == pytest.approx(1 / 61 + 1 / 61)
    assert first.sources["dense"] == pytest.approx(1.0)
    assert first.sources["lexical"] == pytest.approx(recall.candidates[1].sources["lexical"])


def test_a_candidate_of_one_source_has_only_its_score(retriever):
    (recall,) = retriever.retrieve(["mouse"], depth=5)
    assert [sorted(candidate.sources) for candidate in recall.candidates] == [["dense", "lexical"]] * 2 + [
        ["dense"]
    ] * 3


def test_ranks_run_from_one_without_a_gap(retriever):
    (recall,) = retriever.retrieve(["mouse"], depth=4)
    assert [candidate.rank for candidate in recall.candidates] == [1, 2, 3, 4]


def test_dense_alone_keeps_its_own_scores_and_settles_ties_by_product_id(retriever):
    (recall,) = retriever.retrieve(["mouse"], depth=5, sources=["dense"])
    assert ids(recall) == "cdeab"
    assert [candidate.score for candidate in recall.candidates] == pytest.approx([1.0, 0.8, 0.6, 0.0, 0.0], abs=1e-6)
    assert recall.candidates[0].sources == {"dense": recall.candidates[0].score}


def test_lexical_alone_returns_only_products_that_share_a_word(retriever, encoder, lexical):
    (recall,) = retriever.retrieve(["sofa"], depth=5, sources=["lexical"])
    assert ids(recall) == "ab"
    assert recall.candidates[0].score == lexical.scores("sofa")[4]
    assert encoder.calls == []


def test_one_source_needs_no_weight(encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, RrfConfig(lexical=0.0))
    assert ids(retriever.retrieve(["sofa"], depth=5, sources=["lexical"])[0]) == "ab"


def test_of_several_sources_one_of_weight_zero_is_not_asked(encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, RrfConfig(lexical=0.0))
    (recall,) = retriever.retrieve(["sofa"], depth=5)
    assert ids(recall) == "cdeab"
    assert "lexical" not in recall.timings_ms


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_smaller_depth_gives_the_head_of_a_larger_one(retriever, depth):
    full = retriever.retrieve(["red mouse"], depth=5)[0].candidates
    assert retriever.retrieve(["red mouse"], depth=depth)[0].candidates == full[:depth]


def test_sources_recall_no_more_than_the_source_depth(encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, RrfConfig(source_depth=1))
    assert ids(retriever.retrieve(["sofa"], depth=1)[0]) == "a"  # a and c tie at 1/61
    assert ids(retriever.retrieve(["sofa"], depth=2)[0]) == "ac"


def test_a_depth_beyond_the_source_depth_and_the_catalogue_returns_all(encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, RrfConfig(source_depth=1))
    assert sorted(ids(retriever.retrieve(["sofa"], depth=99)[0])) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("fusion", [RrfConfig(), ZscoreConfig(), ConvexConfig()])
def test_a_query_without_a_known_word_keeps_the_dense_order(fusion, encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, fusion)
    assert ids(retriever.retrieve(["zzz"], depth=5)[0]) == "cdeab"


def test_only_eligible_products_are_recalled(retriever):
    eligible = np.array([True, False, False, True, False])
    for sources in (None, ["dense"], ["lexical"]):
        (recall,) = retriever.retrieve(["mouse sofa"], depth=5, sources=sources, eligible=eligible)
        assert sorted(ids(recall)) == ["b", "e"]


def test_no_eligible_product_gives_no_candidate(retriever):
    (recall,) = retriever.retrieve(["mouse"], depth=5, eligible=np.zeros(5, dtype=np.bool_))
    assert recall.candidates == ()


# --- what lies before the cut -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", [RrfConfig(), ZscoreConfig(source_depth=2), ConvexConfig(lexical=0.0)])
@pytest.mark.parametrize("sources", [None, ["dense"], ["lexical"]])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_the_candidates_are_the_head_of_the_trace(fusion, sources, depth, encoder, dense, lexical, products):
    retriever = Retriever(encoder, dense, lexical, products, fusion)
    eligible = np.array([True, True, True, True, False])
    trace = retriever.trace("red mouse", depth=depth, sources=sources, eligible=eligible)
    (recall,) = retriever.retrieve(["red mouse"], depth=depth, sources=sources, eligible=eligible)
    assert trace.fused[:depth] == recall.candidates


def test_a_trace_tells_what_every_source_returned_and_how_many_it_was_asked_for(
    retriever, encoder, dense, lexical, products
):
    trace = Retriever(encoder, dense, lexical, products, RrfConfig(source_depth=2)).trace("sofa", depth=1)
    assert trace.source_depth == 2
    assert {name: rows.tolist() for name, (rows, _) in trace.lists.items()} == {"dense": [2, 1], "lexical": [4, 3]}
    assert trace.vector.tolist() == [1, 0]
    assert "".join(candidate.product_id for candidate in trace.fused) == "acbd"
    assert retriever.trace("sofa", depth=1, sources=["lexical"]).vector is None


def test_a_trace_of_a_query_that_no_source_answers_is_empty(retriever):
    trace = retriever.trace("zzz", depth=3, sources=["lexical"])
    assert (trace.fused, trace.lists["lexical"][0].tolist()) == ((), [])


def test_another_dense_index_can_take_the_place_of_the_own(retriever, products):
    turned = ExactIndex(ArrayVectors(np.tile(np.array([[0, 1]], np.float32), (5, 1))), tie_rank=products.tie_rank)
    assert ids(retriever.with_dense(turned).retrieve(["sofa"], depth=5, sources=["dense"])[0]) == "abcde"
    assert ids(retriever.retrieve(["sofa"], depth=5, sources=["dense"])[0]) == "cdeab"


# --- batches and timings ----------------------------------------------------------------------------------------------


def test_a_batch_is_encoded_at_once_and_answered_in_order(retriever, encoder):
    recalls = retriever.retrieve(["sofa", "red mouse"], depth=3)
    assert encoder.calls == [["sofa", "red mouse"]]
    singles = [retriever.retrieve([text], depth=3)[0] for text in ("sofa", "red mouse")]
    assert [recall.candidates for recall in recalls] == [single.candidates for single in singles]


def test_no_text_gives_no_recall(retriever, encoder):
    assert retriever.retrieve([], depth=3) == []
    assert encoder.calls == []


def test_only_the_stages_that_ran_are_timed(retriever):
    assert list(retriever.retrieve(["sofa"], depth=3)[0].timings_ms) == ["encode", "ann", "lexical", "fusion"]
    assert list(retriever.retrieve(["sofa"], depth=3, sources=["lexical"])[0].timings_ms) == ["lexical", "fusion"]
    vectors = np.array([[1, 0]], dtype=np.float32)
    assert list(retriever.retrieve_vectors(vectors, depth=3)[0].timings_ms) == ["ann", "fusion"]


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_alone_are_answered_by_the_dense_source(retriever):
    recalls = retriever.retrieve_vectors(np.array([[1, 0], [0, 1]], dtype=np.float32), depth=3)
    assert [ids(recall) for recall in recalls] == ["cde", "abe"]


def test_vectors_with_texts_are_fused_as_encoded_ones_are(retriever):
    vectors = np.array([[1, 0]], dtype=np.float32)
    given = retriever.retrieve_vectors(vectors, texts=["red mouse"], depth=5)[0]
    assert given.candidates == retriever.retrieve(["red mouse"], depth=5)[0].candidates


def test_without_an_encoder_texts_are_answered_by_words_alone(dense, lexical, products):
    retriever = Retriever(None, dense, lexical, products, RrfConfig())
    assert ids(retriever.retrieve(["sofa"], depth=5)[0]) == "ab"
    with pytest.raises(InvalidQuery, match=r"sources among those that this index can ask \(lexical\), got 'dense'"):
        retriever.retrieve(["sofa"], depth=5, sources=["dense"])


def test_vectors_of_another_dimension_are_refused(retriever):
    with pytest.raises(VectorError, match="expected vectors of dimension 2, got 3"):
        retriever.retrieve_vectors(np.ones((1, 3), dtype=np.float32), depth=3)


def test_as_many_texts_as_vectors_are_needed(retriever):
    with pytest.raises(ValueError, match="expected a text for each of the 1 vectors, got 2"):
        retriever.retrieve_vectors(np.array([[1, 0]], dtype=np.float32), texts=["a", "b"], depth=3)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_source_that_is_not_known_is_refused(retriever):
    with pytest.raises(InvalidQuery, match=r"can ask \(dense and lexical\), got 'visual'"):
        retriever.retrieve(["sofa"], depth=5, sources=["dense", "visual"])


def test_no_source_is_refused(retriever, products):
    with pytest.raises(InvalidQuery, match=r"can ask \(dense and lexical\), got none"):
        retriever.retrieve(["sofa"], depth=5, sources=[])
    with pytest.raises(InvalidQuery, match=r"can ask \(no source at all\), got none"):
        Retriever(None, None, None, products, RrfConfig()).retrieve(["sofa"], depth=5)


def test_a_source_that_the_index_does_not_have_is_refused(encoder, dense, products):
    retriever = Retriever(encoder, dense, None, products, RrfConfig())
    assert ids(retriever.retrieve(["sofa"], depth=5)[0]) == "cdeab"
    with pytest.raises(InvalidQuery, match=r"can ask \(dense\), got 'lexical'"):
        retriever.retrieve(["sofa"], depth=5, sources=["dense", "lexical"])


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_below_one_is_refused(retriever, depth):
    with pytest.raises(ValueError, match=f"depth must be at least 1, got {depth}"):
        retriever.retrieve(["sofa"], depth=depth)
    with pytest.raises(ValueError, match=f"depth must be at least 1, got {depth}"):
        retriever.trace("sofa", depth=depth)


def test_an_index_of_another_size_than_the_products_is_refused(encoder, dense, lexical, products):
    small = LexicalIndex.build(["red mouse"], LexicalConfig())
    with pytest.raises(ValueError, match="the lexical index has 1 rows for 5 products"):
        Retriever(encoder, dense, small, products, RrfConfig())


def test_a_retriever_takes_another_encoder_or_dense_index_and_stays_as_it_was(retriever, encoder, dense, products):
    other = Encoder()
    turned = ExactIndex(
        ArrayVectors(np.array([[np.sqrt(1 - c * c), c] for c in COSINES], dtype=np.float32)),
        tie_rank=products.tie_rank,
    )
    assert retriever.dense is dense
    changed = retriever.using(encoder=other, dense=turned)
    assert ids(changed.retrieve(["x"], depth=5, sources=["dense"])[0]) == "abedc"
    assert ids(retriever.using(encoder=other).retrieve(["x"], depth=3, sources=["dense"])[0]) == "cde"
    assert other.calls == [["x"], ["x"]]
    assert encoder.calls == []
    assert ids(retriever.retrieve(["x"], depth=3, sources=["dense"])[0]) == "cde"
    with pytest.raises(ValueError, match="the dense index has 1 rows for 5 products"):
        retriever.using(dense=ExactIndex(ArrayVectors(np.ones((1, 2), dtype=np.float32))))
