"""Mistype a query: one edit in one word, the way fingers slip."""

import random

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _beside(row: int, column: int) -> str:
    """Return the letters beside a key of a QWERTY board, whose rows are each shifted right by part of a key."""
    places = [(0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0)]
    near = [(row + down, column + right) for down, right in places]
    return "".join(_KEYS[r][c] for r, c in near if 0 <= r < len(_KEYS) and 0 <= c < len(_KEYS[r]))


NEIGHBOURS = {letter: _beside(row, column) for row, keys in enumerate(_KEYS) for column, letter in enumerate(keys)}
SHORTEST = 5
"""Letters of the shortest word that is mistyped: a shorter one might become another word."""


def mistype(text: str, rng: random.Random) -> str:
    """Return the text with one letter of one of its longer words swapped, dropped, doubled or hit beside its key.

    The first letter stays, as it nearly always does. A text without a word of `SHORTEST` letters is returned as it is.
    """
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if len(word) >= SHORTEST and word.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    while words[place] == word:
        words[place] = _edit(word, rng)
    return " ".join(words)


def _edit(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    before, letter, after = word[:at], word[at], word[at + 1 :]
    match rng.randrange(4):
        case 0:
            return before + after[0] + letter + after[1:]
        case 1:
            return before + after
        case 2:
            return before + letter + letter + after
        case _:
            return before + rng.choice(NEIGHBOURS[letter.lower()]) + after
