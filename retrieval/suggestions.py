"""A hint for a name that was mistyped; every did-you-mean goes through here."""

import difflib
from collections.abc import Iterable

SIMILARITY = 0.6
"""Share of matching characters from which a name is offered; difflib's own default cutoff."""

LISTED = 20
"""Names shown of those that there are."""


def closest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like ``name`` (upper and lower case alike), or ``None`` when none is like it."""
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=SIMILARITY)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'title'?"``, or an empty string when no choice is like ``name``."""
    choice = closest(name, choices)
    return f"; did you mean {choice!r}?" if choice is not None else ""


def listed(choices: Iterable[str]) -> str:
    """Return ``"(there: title, brand)"``: what there is, where something else was asked for."""
    names = list(choices)
    shown = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    return f"(there: {shown or 'nothing'})"
