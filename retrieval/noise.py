"""What shoppers do to a query without meaning another one: misspell a word, write a unit in another form.

Used to train (a query and its noisy twin must score products alike) and to measure (clean against attacked queries).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SHORTEST = 4
"""Letters that a word needs to be misspelt: shorter ones turn into other words, and shoppers seldom miss them."""

_NEIGHBOURS = {
    letter: "".join(
        other
        for row, text in enumerate(rows)
        for place, other in enumerate(text)
        if other != letter and abs(row - at[0]) <= 1 and abs(place - at[1]) <= 1
    )
    for rows in [("qwertyuiop", "asdfghjkl", "zxcvbnm")]
    for at, letter in [((r, c), letter) for r, text in enumerate(rows) for c, letter in enumerate(text)]
}
"""Keys beside each other on a QWERTY keyboard."""

UNIT_FORMS: tuple[tuple[str, ...], ...] = (
    ("in", "in.", "inch", "inches", '"'),
    ("ft", "ft.", "foot", "feet", "'"),
    ("lb", "lbs", "lb.", "pound", "pounds"),
    ("oz", "oz.", "ounce", "ounces"),
    ("gal", "gal.", "gallon", "gallons"),
    ("qt", "qt.", "quart", "quarts"),
    ("yd", "yd.", "yard", "yards"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("kg", "kilogram", "kilograms"),
    ("gb", "gigabyte"),
    ("tb", "terabyte"),
    ("mhz", "megahertz"),
    ("ghz", "gigahertz"),
    ("w", "watt", "watts"),
    ("v", "volt", "volts"),
    ("amp", "amps", "ampere"),
    ("sq ft", "sq. ft.", "square foot", "square feet"),
    ("cu ft", "cu. ft.", "cubic foot", "cubic feet"),
)
"""Ways to write one unit; a form of several words comes apart from the rest, so longest forms are looked for first."""

_FORM_OF = {form: forms for forms in UNIT_FORMS for form in forms}
_UNIT = re.compile(
    r"(?P<number>\d)(?P<gap>[\s-]?)(?P<unit>"
    + "|".join(re.escape(form) for form in sorted(_FORM_OF, key=len, reverse=True))
    + r")(?![\w'\"])",
    re.IGNORECASE,
)
_WORD = re.compile(rf"[A-Za-z]{{{SHORTEST},}}")


def misspell(text: str, rng: np.random.Generator, *, edits: int = 1) -> str:
    """Return a text with single-letter edits in its words: a letter left out, doubled, swapped or mistyped.

    Numbers are left alone (another number is another product), and so is the first letter of a word. Each edit falls
    into a word drawn anew. A text without a word of four letters comes back as it is.

    Args:
        text: A query.
        rng: Draws.
        edits: How many, 0 or more.
    """
    for _ in range(edits):
        found = [match for match in _WORD.finditer(text) if not _beside_digit(text, match)]
        if not found:
            return text
        match = found[int(rng.integers(len(found)))]
        text = text[: match.start()] + _edit(match.group(), rng) + text[match.end() :]
    return text


def rewrite_unit(text: str, rng: np.random.Generator) -> str:
    """Return a text with one of its units in another form (``5 in.`` as ``5-inch``); as it is when it has none."""
    found = list(_UNIT.finditer(text))
    if not found:
        return text
    match = found[int(rng.integers(len(found)))]
    forms = [form for form in _FORM_OF[match["unit"].lower()] if form != match["unit"].lower()]
    form = forms[int(rng.integers(len(forms)))]
    gap = "" if not form[0].isalpha() else ("", " ", "-")[int(rng.integers(3))]
    return text[: match.start("gap")] + gap + form + text[match.end() :]


class QueryNoise:
    """Makes the noisy twin of a query: its unit in another form when it has one and chance wants it, else a typo."""

    def __init__(self, *, unit_share: float = 0.5) -> None:
        """Rewrite the unit, not a letter, in this share of the queries that have one."""
        self._unit_share = unit_share

    def twins(self, queries: Sequence[str], *, seed: int) -> list[str]:
        """Return one twin per query; equal to it where nothing can be changed."""
        rng = np.random.default_rng([seed, 1])
        return [self._twin(query, rng) for query in queries]

    def _twin(self, query: str, rng: np.random.Generator) -> str:
        if rng.random() < self._unit_share:
            changed = rewrite_unit(query, rng)
            if changed != query:
                return changed
        return misspell(query, rng)


def agreement(
    clean: "torch.Tensor", noisy: "torch.Tensor", products: "torch.Tensor", *, temperature: float
) -> "torch.Tensor":
    """Return how far the scores of noisy queries are from those of their clean twins: KL divergence, mean per query.

    The clean scores teach and take no gradient from it, so that they are not pulled down to the noisy ones.

    Args:
        clean: Unit vectors of queries, float [q, d].
        noisy: Unit vectors of their twins, float [q, d].
        products: Unit vectors, float [p, d].
        temperature: Divides the cosines.

    Source: Zhuang & Zuccon, CharacterBERT and self-teaching for improving the robustness of dense retrievers on queries
    with typos, SIGIR 2022, equation 3.
    """
    import torch

    targets = torch.log_softmax((clean @ products.T / temperature).detach(), dim=1)
    found = torch.log_softmax(noisy @ products.T / temperature, dim=1)
    return torch.nn.functional.kl_div(found, targets, reduction="batchmean", log_target=True)


def _beside_digit(text: str, match: "re.Match[str]") -> bool:
    """Return whether a word is part of a model number, such as the letters of ``MDX7000``."""
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    return before.isdigit() or after.isdigit()


def _edit(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word)))
    match int(rng.integers(4)):
        case 0:
            return word[:at] + word[at + 1 :]
        case 1:
            return word[:at] + word[at] + word[at:]
        case 2:
            at = min(at, len(word) - 2)
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case _:
            near = _NEIGHBOURS[word[at].lower()]
            return word[:at] + near[int(rng.integers(len(near)))] + word[at + 1 :]
