"""Makers and model numbers, found in a query and borne by a product."""

import pytest

from retrieval.names import Brands, bears, bears_code, codes
from retrieval.words import parts, words

SHOP = Brands.of(["Old Mill", "Old", "Saint Old Mill", "3M", "Dr. Oetker", "索尼", "-", "", "OLD mill"])


@pytest.mark.parametrize(
    ("query", "makers"),
    [
        ("old mill kettle", ["old mill"]),
        ("old kettle", ["old"]),
        ("kettle saint old mill", ["saint old mill"]),
        ("saint mill", []),
        ("old old mill 3m tape", ["old", "old mill", "3m"]),
        ("mill", []),
        ("dr oetker", ["dr oetker"]),
        ("索尼电视", ["索尼"]),
        ("", []),
    ],
)
def test_the_longest_maker_at_a_place_is_the_one_that_is_asked_for(query: str, makers: list[str]):
    assert SHOP.asked(words(query)) == {tuple(words(maker)) for maker in makers}


def test_values_without_a_word_name_nobody_and_values_of_the_same_words_one():
    assert len(SHOP) == 6
    assert Brands.of([]).asked(["old"]) == set()


def test_makers_of_both_are_known_and_nothing_is_copied_where_the_other_knows_no_more():
    both = Brands.of(["Old"]) | Brands.of(["New"])
    assert both.asked(["new", "old"]) == {("old",), ("new",)}
    assert (both | Brands.of(["Old"])) is both


def test_words_with_digits_of_three_signs_may_be_model_numbers():
    assert codes(["kx4410", "4410", "kx", "65", "2tb", "9", "kettle"]) == {"kx4410", "4410", "2tb"}


@pytest.mark.parametrize(
    ("text", "code", "held"),
    [
        ("Kettle KX-4410", "kx4410", True),
        ("Kettle KX 4410b", "kx4410", True),
        ("Kettle KX4410", "4410", True),
        ("Kettle 4410 KX", "kx4410", False),
        ("Kettle KX-44100", "kx4410", False),
        ("Kettle 1000 mm", "100", False),
        ("", "kx4410", False),
    ],
)
def test_a_model_number_is_borne_however_it_is_joined_and_never_in_part(text: str, code: str, held: bool):
    assert bears_code(parts(text), code) is held


def test_a_name_is_borne_by_its_words_one_after_another():
    assert bears(["a", "old", "mill"], ("old", "mill"))
    assert not bears(["old", "a", "mill"], ("old", "mill"))
    assert not bears(["old"], ("old", "mill"))
