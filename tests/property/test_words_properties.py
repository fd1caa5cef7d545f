"""What holds for the words of any text."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval.words import words


@given(st.text(), st.text())
def test_a_space_separates_and_nothing_else_carries_over(left, right):
    assert words(f"{left} {right}") == words(left) + words(right)


@given(st.text())
def test_words_are_not_empty_and_hold_no_white_space(text):
    """The word list of an index is a file with a word a line."""
    assert all(word and word.split() == [word] for word in words(text))


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_upper_and_lower_case_are_alike_in_ascii(text):
    assert words(text.upper()) == words(text)
