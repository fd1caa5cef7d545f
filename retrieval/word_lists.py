"""Words of one length, kept so that those few that may be near another word are found without comparing all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_BITS = 64


@dataclass(frozen=True, slots=True)
class WordList:
    """Words of one length.

    Attributes:
        words: The words, n of them.
        letters: Which letters each holds, a bit for every one (by its code point modulo 64), uint64 [n].
    """

    words: tuple[str, ...]
    letters: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """Keep words of one length, at least 1."""
        kept = tuple(words)
        return cls(kept, _letters(kept))

    def within(self, word: str, edits: int) -> list[str]:
        """Return the words that may be within so many edits of a word: a few too many, and none too few.

        An edit (a letter left out, added, replaced, or two swapped) takes at most one letter from those that a word
        holds and brings at most one.
        """
        if not self.words:
            return []
        own = _letters((word,))[0]
        lost, new = np.bitwise_count(own & ~self.letters), np.bitwise_count(self.letters & ~own)
        return [self.words[place] for place in np.flatnonzero((lost <= edits) & (new <= edits))]


NO_WORDS = WordList((), np.empty(0, np.uint64))


def by_length(vocabulary: Iterable[str]) -> dict[int, WordList]:
    """Return the words that are all letters, by how many."""
    found: dict[int, list[str]] = {}
    for word in vocabulary:
        if word.isalpha():
            found.setdefault(len(word), []).append(word)
    return {length: WordList.of(words) for length, words in found.items()}


def _letters(words: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    signs = np.array(words, dtype=f"<U{len(words[0])}").view(np.uint32).reshape(len(words), -1) % _BITS
    bits: npt.NDArray[np.uint64] = np.bitwise_or.reduce(np.left_shift(np.uint64(1), signs.astype(np.uint64)), axis=1)
    return bits
