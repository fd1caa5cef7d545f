"""What a query asks for by name: makers that the catalogue has, and words that may be model numbers.

Other words can be said otherwise (``couch`` for a sofa), so a product without them may still be meant. Names have no
synonyms: a product bears one, however it is joined or parted (``KX-4410`` and ``kx4410``), or it is another product.
"""

from collections.abc import Iterable, Sequence
from typing import Self

from retrieval.words import parts, words

CODE_LENGTH = 3
"""Shortest word with a digit in it that may be a model number; shorter ones are sizes and counts."""

Name = tuple[str, ...]
"""The words of a name, in order."""


class Brands:
    """The makers of a catalogue, found in a query by their words; immutable.

    Values that have no word (``-``) are left out; values of the same words are one maker.
    """

    def __init__(self, names: Iterable[Name]) -> None:
        """Take makers by their words; use `of`."""
        self._names = frozenset(name for name in names if name)
        by_first: dict[str, list[Name]] = {}
        for name in self._names:
            by_first.setdefault(name[0], []).append(name)
        self._by_first = {first: sorted(of, key=len, reverse=True) for first, of in by_first.items()}

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """Return the makers that a column names."""
        return cls(tuple(words(value)) for value in values)

    def __len__(self) -> int:
        """Return how many makers there are."""
        return len(self._names)

    def __or__(self, other: "Brands") -> "Brands":
        """Return the makers of both."""
        return Brands(self._names | other._names) if other._names - self._names else self

    def asked(self, query: Sequence[str]) -> set[Name]:
        """Return the makers that a query names, given its `words`; of two that begin at one word the longer one."""
        found: set[Name] = set()
        place = 0
        while place < len(query):
            length = 1
            for name in self._by_first.get(query[place], ()):
                if tuple(query[place : place + len(name)]) == name:
                    found.add(name)
                    length = len(name)
                    break
            place += length
        return found


def codes(query: Iterable[str]) -> set[str]:
    """Return the words of a query that may be model numbers."""
    return {word for word in query if len(word) >= CODE_LENGTH and any(sign.isdigit() for sign in word)}


def bears_code(text: Sequence[str], code: str) -> bool:
    """Say whether a text, given its `parts`, holds a model number, its letters and digits joined there or not."""
    return bears(text, tuple(parts(code)))


def bears(text: Sequence[str], name: Name) -> bool:
    """Say whether a text, given its `words`, holds the words of a name one after another."""
    last = len(text) - len(name)
    return any(text[place] == name[0] and tuple(text[place : place + len(name)]) == name for place in range(last + 1))
