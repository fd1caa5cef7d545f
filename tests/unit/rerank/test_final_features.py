"""Features of the final fusion: what each says of a candidate, worked by hand; quantities however they are written."""

import numpy as np
import pytest

from rerank.features import FEATURES, fixed_features, with_rerank
from retrieval.quantities import quantities
from retrieval.records import Candidate, Product

CANDIDATES = [
    Candidate("a", 0, 3.0, 1, {"dense": 0.9, "lexical": 4.0}),
    Candidate("b", 1, 2.0, 2, {"lexical": 8.0}),
    Candidate("c", 2, 1.0, 3, {"dense": 0.5}),
]
PRODUCTS = [
    Product("a", 'Makita XPH12 drill 5"', brand="Makita", price=99.0, attributes={"sold": "7"}),
    Product("b", "Drill", description="5-inch chuck", category="Drills", price=9.0, extra={"sold": 3}),
    Product("c", "Saw", attributes={"colour": "red", "sold": "many"}),
]


def columns(query, popularity=""):
    rows = fixed_features(query, CANDIDATES, PRODUCTS, popularity=popularity)
    return {name: column.tolist() for name, column in zip(FEATURES, rows.T, strict=True)}


def test_each_feature_is_what_its_name_says():
    found = columns("makita drill 5 inch xph12", popularity="sold")
    # words: makita drill 5 inch xph12, and its parts xph and 12
    assert found["query_words"] == [7, 7, 7]
    assert found["title_words"] == pytest.approx([6 / 7, 1 / 7, 0])
    assert found["brand_words"] == pytest.approx([1 / 7, 0, 0])
    assert found["category_words"] == pytest.approx([0, 1 / 7, 0])
    assert found["words"] == pytest.approx([6 / 7, 3 / 7, 0])
    assert found["codes"] == [1, 0, 0]
    assert found["quantities"] == [1, 1, 0]
    assert found["first"] == pytest.approx([1.224745, 0, -1.224745])
    assert found["first_rank"] == [1, 2, 3]
    assert found["dense"] == [0.9, 0.5, 0.5]
    assert found["lexical"] == [0.5, 1.0, 0.0]
    assert found["price"] == pytest.approx([np.log(100) / 2 - np.log(10) / 2, np.log(10) / 2 - np.log(100) / 2, 0])
    assert found["popularity"] == pytest.approx([np.log(8), np.log(4), 0])
    assert {tuple(found[name]) for name in ("rerank", "rerank_z", "rerank_rank")} == {(0, 0, 0)}
    assert columns("red")["attribute_words"] == [0, 0, 1]
    assert columns("red")["popularity"] == [0, 0, 0]
    assert (columns("red")["codes"], columns("red")["quantities"]) == ([1, 1, 1], [1, 1, 1])


def test_what_the_cross_encoder_says_fills_its_own_columns_alone():
    fixed = fixed_features("drill", CANDIDATES, PRODUCTS)
    rows = with_rerank(fixed, np.array([1.0, 3.0], dtype=np.float32))
    places = [FEATURES.index(name) for name in ("rerank", "rerank_z", "rerank_rank")]
    assert rows[:, places].tolist() == [[1, -1, 2], [3, 1, 1]]
    rows[:, places] = 0
    assert rows.tolist() == fixed[:2].tolist()
    with pytest.raises(ValueError, match="4 candidates were scored of 3"):
        with_rerank(fixed, np.zeros(4))
    with pytest.raises(ValueError, match="1 of 2"):
        with_rerank(fixed, [1.0, np.nan])


def test_nothing_to_go_by_gives_finite_numbers():
    bare = [Candidate("a", 0, 1.0, 1, {}), Candidate("b", 1, 1.0, 2, {})]
    rows = fixed_features("...", bare, [Product("a", "x"), Product("b", "y", price=float("inf"))], popularity="none")
    assert np.isfinite(rows).all()
    assert fixed_features("q", [], []).shape == (0, len(FEATURES))


def test_a_quantity_is_the_same_however_its_unit_is_written():
    forms = ("5 in. pipe", "5-inch pipe", '5" pipe', "5 INCHES", "5in")
    assert {tuple(quantities(form)) for form in forms} == {(("5", "in"),)}
    assert quantities("1/2 ft hose, 120V, 3 pink chairs") == {("1/2", "ft"), ("120", "v")}
    assert quantities("") == set()
