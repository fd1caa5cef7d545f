"""How shoppers phrase what they want: query templates by kind. ``splits.json`` says which split each belongs to.

Slots and the facts they state (read from the product that the query is about):

    {type} {types} {syn}                     its type: noun, plural, or a word of the synonym group
    {brand}                                  its maker
    {model} {model_joined} {model_spaced}    its model number: KX-4410, KX4410, KX 4410
    {line}                                   its line name
    {fits} {fits_joined} {thing} {maker}     of an accessory: the model it fits; that thing's noun and maker
    {colour} {measure} {wish} {wish2}        a soft wish: its colour, a number with a unit, any others
    {unsold} {stranger} {no_model}           what does not exist: a thing the shop does not sell, a brand that does not
                                             make the type, a model number that nobody has

A pattern that ends in ``~`` is mistyped: one letter of one word, so that no other product is meant.
"""

import re
from dataclasses import dataclass

_PATTERNS: dict[str, tuple[str, ...]] = {
    "synonym": (
        "{syn}",
        "{colour} {syn}",
        "{syn} {wish}",
        "{brand} {syn}",
        "{wish} {syn} {wish2}",
        "i need {syn}",
        "{syn} {brand} {wish}",
        "good {wish} {syn}",
        "{syn} with {wish}",
        "{syn} in {colour}",
        "{wish} {wish2} {syn}",
        "looking for {wish} {syn}",
        "{brand} {wish} {syn}",
    ),
    "brand": (
        "{brand} {type}",
        "{type} {brand}",
        "{types} from {brand}",
        "{brand} {type} {wish}",
        "{wish} {brand} {type}",
        "{colour} {types} {brand}",
        "cheap {brand} {types}",
        "{brand} brand {type}",
        "{type} made by {brand}",
        "{type} by {brand}",
        "do you have {brand} {types}",
        "{brand} {types} {wish}",
        "{brand} {type} in {colour}",
    ),
    "attributes": (
        "{wish} {type}",
        "{wish} {wish2} {type}",
        "{type} {wish} {wish2}",
        "{colour} {type} {wish}",
        "{type}, {wish}",
        "{wish} {type} {colour}",
        "i want {wish} {type}",
        "{types} {wish}, {wish2}",
        "{type} {wish} and {wish2}",
        "best {wish} {type}",
        "{type} in {colour}, {wish}",
        "looking for {wish} {type} in {colour}",
        "{wish} {type}, must be {wish2}",
        "{wish} {wish2} {wish3} {type}",
    ),
    "unit": (
        "{measure} {type}",
        "{type} {measure}",
        "{brand} {type} {measure}",
        "{type} with {measure}",
        "{measure} {types} {brand}",
        "{type} {measure} {colour}",
        "{type} size {measure}",
        "{type} ({measure})",
        "{colour} {measure} {type}",
        "need {types} {measure}",
        "{measure} {brand} {type}",
    ),
    "model": (
        "{model}",
        "{brand} {model}",
        "{type} {model_joined}",
        "{model_spaced} {type}",
        "{brand} {model_joined}",
        "{model} {colour}",
        "order {model}",
        "{type} model {model}",
        "{model_joined}",
        "{brand} {type} {model_spaced}",
        "price of {model}",
        "{model_joined} {colour} {type}",
    ),
    "variant": (
        "{brand} {line} {colour}",
        "{line} {type}",
        "{colour} {line} {type}",
        "{brand} {line} {type} {wish}",
        "{type} {line} {wish}",
        "{line} by {brand}",
        "{line} {type} in {colour}",
        "{brand} {line} {wish}",
        "the {wish} {brand} {line}",
    ),
    "accessory": (
        "{type} for {fits}",
        "{fits} {type}",
        "{type} for {maker} {fits_joined}",
        "{colour} {type} for {fits}",
        "{maker} {thing} {fits} {type}",
        "{type} {wish} {fits}",
        "{type} compatible with {fits}",
        "{type} to fit {thing} {fits_joined}",
        "replacement {type} {fits}",
        "{brand} {type} for {fits}",
        "{wish} {type} to suit my {maker} {fits}",
    ),
    "thing": (
        "{type} {brand} {model}",
        "{model} {type}",
        "new {brand} {type}",
        "{type} {brand} {wish}",
        "{brand} {model} {wish}",
        "just the {type} {model}",
        "buy {type} {model}",
        "{brand} {wish} {type}",
        "which {type} is {model_joined}",
        "{model_spaced} {type} {wish}",
    ),
    "typo": (
        "{type} {colour}~",
        "{brand} {type}~",
        "{wish} {type}~",
        "{type} {brand} {wish}~",
        "{types} {wish}~",
        "{type} {wish} {wish2}~",
        "{colour} {brand} {type}~",
        "{wish} {types} by {brand}~",
        "{type} in {colour}~",
    ),
    "unsold": (
        "{unsold}",
        "{colour} {unsold}",
        "{brand} {unsold}",
        "cheap {unsold}",
        "looking for {unsold}",
        "{unsold} from {brand}",
    ),
    "no_such_pair": (
        "{stranger} {type}",
        "{type} {stranger}",
        "{stranger} {type} {wish}",
        "{types} by {stranger}",
    ),
    "no_such_model": (
        "{no_model}",
        "{type} {no_model}",
        "{brand} {no_model}",
        "{brand} {type} {no_model}",
    ),
}

NO_ANSWER_KINDS = frozenset({"unsold", "no_such_pair", "no_such_model"})


@dataclass(frozen=True, slots=True)
class Template:
    """One phrasing: its kind of query and its pattern."""

    kind: str
    pattern: str

    @property
    def name(self) -> str:
        """Return the name that files use, such as ``brand: {brand} {type}``."""
        return f"{self.kind}: {self.pattern}"

    @property
    def slots(self) -> frozenset[str]:
        """Return the names of the slots."""
        return frozenset(re.findall(r"{(\w+)}", self.pattern))


TEMPLATES = tuple(Template(kind, pattern) for kind, patterns in _PATTERNS.items() for pattern in patterns)
