"""Folds of judged queries for a cross-validation that keeps queries which ask the same on one side.

Two queries are twins when their words are the same in any order (``usb battery``, ``batteries, USB``; words of the
lexical index, so that case, width and English plurals do not matter), when they are the same but for spaces and signs
(``head set``, ``headset``), or when they then differ by one letter (``head set``, ``hedset``); and so is a twin of a
twin.
"""

import hashlib
from collections.abc import Iterator, Sequence

from retrieval.text import normalise_query
from retrieval.words import words

SHORTEST = 6
"""Letters from which one of difference makes a twin; below, ``aa`` and ``aaa`` or ``hp`` and ``lp`` would be."""


def fold_of(texts: Sequence[str], *, folds: int, seed: int) -> list[int]:
    """Return the fold of every query, from 0; twins share one.

    Groups of twins are dealt out in the order of the sha256 of seed and text (of the first of a group, as sorted), each
    to the fold with the fewest queries so far. So it does not matter in which order the queries come.

    Args:
        texts: The queries; equal ones are twins.
        folds: How many folds, at least 1.
        seed: Deals differently.

    Raises:
        ValueError: If there are fewer groups of twins than folds, so that one would stay empty.
    """
    groups = twins(texts)
    if len(groups) < folds:
        raise ValueError(f"{folds} folds need as many queries that ask for different things, got {len(groups)}")
    named = {min(normalise_query(texts[place]) for place in group): group for group in groups}
    sizes, found = [0] * folds, [0] * len(texts)
    for _, group in sorted(named.items(), key=lambda item: _hash(f"{seed} {item[0]}")):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(group)
        for place in group:
            found[place] = fold
    return found


def twins(texts: Sequence[str]) -> list[list[int]]:
    """Return the places of the queries of each group of twins; one without a twin is a group of its own."""
    leader = list(range(len(texts)))
    first: dict[tuple[str, ...], int] = {}
    for place, text in enumerate(texts):
        for key in _keys(text):
            one, other = _leader(leader, place), _leader(leader, first.setdefault(key, place))
            leader[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for place in range(len(texts)):
        groups.setdefault(_leader(leader, place), []).append(place)
    return [*groups.values()]


def _keys(text: str) -> Iterator[tuple[str, ...]]:
    """Yield what a query shares with its twins; two texts differ by one letter where they agree without one each."""
    clean = normalise_query(text)
    letters = "".join(filter(str.isalnum, clean.casefold()))
    yield ("letters", letters or clean)
    if letters:
        yield ("words", *sorted(words(text)))
    if len(letters) >= SHORTEST:
        yield from (("letters", letters[:place] + letters[place + 1 :]) for place in range(len(letters)))


def _leader(leader: list[int], place: int) -> int:
    while leader[place] != place:
        leader[place] = leader[leader[place]]
        place = leader[place]
    return place


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
