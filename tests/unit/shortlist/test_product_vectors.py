"""What an encoder gives is checked, and what is wrong with it is said by product."""

import numpy as np
import pytest

from indexing.errors import VectorError
from shortlist.product_vectors import encode_checked

TEXTS = ["lamp", "sofa", "desk", "chair"]


def unit(count, dim=4):
    return np.tile(np.eye(dim, dtype=np.float32)[0], (count, 1))


def owners(positions):
    return [name for position in positions for name in (f"{TEXTS[position]}-1", f"{TEXTS[position]}-2")]


def test_good_vectors_are_returned_and_nobody_is_asked_for_names():
    def asked(positions):
        raise AssertionError(positions)

    assert np.array_equal(encode_checked(lambda texts: unit(4), TEXTS, dim=4, owners=asked), unit(4))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 0.0, 1e-30, 3e38])
def test_every_product_of_a_bad_text_is_named(poison):
    def encode(texts):
        vectors = unit(4)
        vectors[[1, 3], 0] = poison
        return vectors

    named = (
        r"^4 products have no vector that can be indexed \('sofa-1', 'sofa-2', 'chair-1', 'chair-2'\): 2 of 4 vectors"
    )
    with pytest.raises(VectorError, match=named) as caught:
        encode_checked(encode, TEXTS, dim=4, owners=owners)
    assert caught.value.names == ("sofa-1", "sofa-2", "chair-1", "chair-2")
    assert caught.value.positions == (1, 3)


def test_what_the_encoder_itself_refuses_is_named_too():
    def encode(texts):
        raise VectorError("the encoder returned NaN", positions=[2])

    with pytest.raises(VectorError, match=r"2 products .*\('desk-1', 'desk-2'\): the encoder returned NaN"):
        encode_checked(encode, TEXTS, dim=4, owners=owners)


def test_too_few_vectors_and_another_dimension_are_refused_for_all():
    with pytest.raises(VectorError, match="expected a vector for each of 4 texts, got 3 from the encoder"):
        encode_checked(lambda texts: unit(3), TEXTS, dim=4, owners=owners)
    with pytest.raises(VectorError, match="expected vectors of dimension 8, got 4"):
        encode_checked(lambda texts: unit(4), TEXTS, dim=8, owners=owners)


def test_ten_products_are_shown_and_all_are_with_the_error():
    names = [f"p{number}" for number in range(25)]
    with pytest.raises(VectorError, match=r"^25 products .*'p9', \.\.\.\)") as caught:
        encode_checked(lambda texts: 0 * unit(4), TEXTS, dim=4, owners=lambda positions: names)
    assert caught.value.names == tuple(names)
