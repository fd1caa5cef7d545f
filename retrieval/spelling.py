"""Words of a query that nobody knows, written as the catalogue writes its likeliest word.

Such a word finds no product, and an encoder reads it in pieces. A word is looked at if it has `LEAST_LETTERS` or more
of an alphabet of two cases (where a letter is what one mistypes), no digit stands with it between two spaces, no
product holds it, and the encoder's vocabulary has neither it nor its singular whole (a synonym that the shop never uses
is no mistake). Of the catalogue's words x within one edit, two for `LONG` words, the one with the highest

    log df(x) + sum over the known words k of the query of log((co(x, k) + s df(k) / n) / (df(x) + s)) - cost(word, x)

is taken: a noisy channel with the query's other words as its context. df(x) products of n hold x, co(x, k) hold both; s
pseudo-products spread k as the whole catalogue does. The cost is `EDIT` for each edit, and `FIRST` more where the first
letters differ.

Source: Kernighan, Church, Gale, "A spelling correction program based on a noisy channel model", COLING 1990; context
words as in Church, Gale, "Probability scoring for spelling correction", Statistics and Computing 1, 1991; the prior as
in Zhai, Lafferty, "A study of smoothing methods for language models", TOIS 22(2), 2004; that errors in the first letter
are rare: Kukich, "Techniques for automatically correcting words in text", ACM Computing Surveys 24(4), 1992. An edit is
a letter left out, added, replaced or swapped with the next (rapidfuzz's OSA).
"""

import math
import re
from collections.abc import Callable
from typing import Protocol, Self, runtime_checkable

import numpy as np

from indexing.types import IntVector
from retrieval.caching import BoundedCache
from retrieval.lexical import Bm25
from retrieval.postings import IntArray
from retrieval.text import MAX_QUERY_CHARS
from retrieval.words import runs, words

LEAST_LETTERS = 4
"""Shortest word that is looked at: of three letters, abbreviations are more often meant than words."""

LONG = 6
"""Words from here on may be two edits away."""

EDIT, FIRST = 5.0, 3.0
"""Log-odds against an edit, and against one in the first letter, both as natural logarithms."""

SMOOTHING = 5.0
"""Pseudo-products s."""

LEAST_HOLDERS = 2
"""Products that must hold a word: what one alone holds may be misspelt there."""

MOST_CANDIDATES = 16
"""Words, likeliest by themselves, that are held against the query's other words."""

MOST_ROWS = 2_000
"""Products of a candidate that are looked through for another word; of more, as many evenly spread ones."""

MOST_UNKNOWN = 8
"""A query with more unknown words stays as it is: it is not about what is sold here."""

_HISSING = ("ses", "xes", "zes", "ches", "shes")
_REMEMBERED, _REMEMBERED_BYTES = 10_000, 1 << 23

_Rows = IntVector | IntArray
_Candidates = tuple[tuple[str, float], ...]


@runtime_checkable
class Vocabulary(Protocol):
    """What has words of its own, as the query tower of a bundle does; a caller's function does not."""

    def knows(self, word: str) -> bool:
        """Whether it knows a word, lower case, as a whole."""


class Spelling:
    """Corrects queries by the words of one lexical index; safe to share between threads."""

    def __init__(self, lexical: Bm25, knows: Callable[[str], bool]) -> None:
        """Correct by the words of ``lexical``.

        Args:
            lexical: Counts of the catalogue's words.
            knows: Whether the query encoder knows a word, lower case, as a whole.
        """
        self._lexical, self._knows = lexical, knows
        self._kept: BoundedCache[str, _Candidates] = BoundedCache(entries=_REMEMBERED, size_bytes=_REMEMBERED_BYTES)

    def over(self, lexical: Bm25) -> Self:
        """Return the same for another lexical index."""
        return type(self)(lexical, self._knows)

    def prepared(self) -> Self:
        """Do now what the first misspelt query would wait for: read the vocabulary and load rapidfuzz. Returns this."""
        self._near("prepared")
        return self

    def corrected(self, query: str) -> str:
        """Return a query with its unknown words replaced; itself where there are none, or nothing is near.

        Args:
            query: Normalised query. Signs, numbers and known words stay as they are.

        Returns:
            The query as it should be searched, at most `MAX_QUERY_CHARS` long.
        """
        unknown = [match for match in runs(query) if not (self._is_known(match.group()) or _is_numbered(query, match))]
        if not 0 < len(unknown) <= MOST_UNKNOWN:
            return query
        context = {word: rows for word in sorted(set(words(query))) if len(rows := self._lexical.holders(word))}
        text = query
        for match in reversed(unknown):
            best = self._likeliest(match.group(), context)
            if best is not None:
                text = text[: match.start()] + best + text[match.end() :]
        return text if len(text) <= MAX_QUERY_CHARS else query

    def _is_known(self, word: str) -> bool:
        """Whether a word is left alone: somebody knows it, or it is not all letters of an alphabet of two cases."""
        typed, forms = word.lower(), words(word)
        if len(forms) != 1 or len(word) < LEAST_LETTERS or not word.isalpha() or typed == word.upper():
            return True
        return self._is_held(forms[0]) or any(self._knows(one) for one in (typed, *self._singulars(typed, forms[0])))

    def _singulars(self, typed: str, form: str) -> list[str]:
        """Return what a word may be the plural of (few plurals are in a vocabulary), but what the catalogue finds."""
        found = [form, typed[:-2]] if typed.endswith(_HISSING) else [form]  # `words` takes an s off alone
        return [one for one in found if len(one) >= LEAST_LETTERS and not self._is_held(one)]

    def _is_held(self, word: str) -> bool:
        return len(self._lexical.holders(word)) > 0

    def _likeliest(self, word: str, context: dict[str, _Rows]) -> str | None:
        """Return the catalogue's likeliest word for one, of equals the first by spelling; ``None`` if none is near."""
        (form,) = words(word)
        candidates = self._kept.get(form)
        if candidates is None:
            candidates = self._near(form)
            self._kept.put(form, candidates, size_bytes=64 * (1 + len(candidates)))
        scored = [(-(alone + self._fit(near, context)), near) for near, alone in candidates]
        return min(scored)[1] if scored else None

    def _near(self, word: str) -> _Candidates:
        """Return the words within reach and how likely each is by itself, the likeliest first."""
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        reach = 2 if len(word) >= LONG else 1
        found = [
            (near, math.log(holders) - EDIT * edits - FIRST * (near[0] != word[0]))
            for letters in range(max(LEAST_LETTERS - 1, len(word) - reach), len(word) + reach + 1)
            for spellings in self._lexical.spellings(letters)
            for near, edits, _ in process.extract(
                word, spellings.within(word, reach), scorer=OSA.distance, score_cutoff=reach, limit=None
            )
            if (holders := len(self._lexical.holders(near))) >= LEAST_HOLDERS
        ]
        return tuple(sorted(set(found), key=lambda one: (-one[1], one[0]))[:MOST_CANDIDATES])

    def _fit(self, word: str, context: dict[str, _Rows]) -> float:
        """Return the logarithm of how likely the query's other words are beside a word."""
        rows = self._lexical.holders(word)
        every = max(1, self._lexical.products)
        return sum(
            math.log((_together(rows, others) + SMOOTHING * len(others) / every) / (len(rows) + SMOOTHING))
            for others in context.values()
        )


def _is_numbered(query: str, word: re.Match[str]) -> bool:
    """Whether a word is written together with a digit, by a hyphen for one, as model numbers are."""
    start, end = query.rfind(" ", 0, word.start()) + 1, query.find(" ", word.end())
    return any(sign.isdigit() for sign in query[start : end if end >= 0 else None])


def _together(rows: _Rows, others: _Rows) -> float:
    """Return how many of ``rows`` are among ``others``, both rising; of more than `MOST_ROWS`, an estimate."""
    some = rows[:: -(-len(rows) // MOST_ROWS)]
    places = np.minimum(np.searchsorted(others, some), len(others) - 1)
    return float((others[places] == some).mean()) * len(rows)
