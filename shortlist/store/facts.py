"""What the shop knows about a product type, as a record, and the short notation its tables are written in."""

from dataclasses import dataclass

from shortlist.store.house import COLOURS, Term, term


@dataclass(frozen=True, slots=True)
class ProductType:
    """One thing the shop sells in many makes.

    Attributes:
        noun: The catalogue's own word for it.
        plural: The same for several.
        synonyms: Shoppers' words that the catalogue never prints; together they are the synonym group named ``noun``.
        facets: Facet -> its possible terms. ``VARYING`` facets differ inside a variant group, the others do not.
        price: Of the cheapest make, in the shop's currency.
        says: What descriptions begin with.
        coded: Whether makes carry a model number (``KX-4410``) instead of a line name (``Tavlo``).
        made_for: Noun of the thing this is an accessory of; empty for a thing of its own.
    """

    noun: str
    plural: str
    synonyms: tuple[str, ...]
    facets: dict[str, tuple[Term, ...]]
    price: float
    says: tuple[str, ...]
    coded: bool = False
    made_for: str = ""


@dataclass(frozen=True, slots=True)
class Department:
    """A department of the shop: its name, the brands that sell there, and its product types."""

    name: str
    brands: tuple[str, ...]
    types: tuple[ProductType, ...]


VARYING = frozenset({"colour", "size", "storage", "pack", "capacity", "bed"})
"""Facets in which the variants of one make differ."""


def product_type(noun: str, also: str = "", *, facets: str, price: float, says: str, **more: str | bool) -> ProductType:
    """Return a type from its table row.

    Args:
        noun: The catalogue's word.
        also: Synonyms, split by ``/``.
        facets: ``"colour; capacity: 1/1.5 l; material: glass/ceramic"``: a measure's unit follows its last number, and
            a facet named without terms is ``colour`` in every house colour.
        price: Of the cheapest make.
        says: Opening phrases of descriptions, split by ``/``.
        **more: ``plural``, ``made_for`` (text) and ``coded`` (bool) of `ProductType`.

    Raises:
        ValueError: If a facet has no terms, or one that the house language does not know.
    """
    return ProductType(
        noun=noun,
        plural=str(more.get("plural") or _plural(noun)),
        synonyms=_split(also),
        facets=dict(_facet(part) for part in facets.split(";")),
        price=price,
        says=_split(says),
        coded=bool(more.get("coded")),
        made_for=str(more.get("made_for", "")),
    )


def _facet(part: str) -> tuple[str, tuple[Term, ...]]:
    name, _, listed = (piece.strip() for piece in part.partition(":"))
    if name == "colour":
        return name, tuple(term(asked[0]) for asked in COLOURS.values())
    words = _split(listed)
    if not words:
        raise ValueError(f"facet {name!r} names no terms; write for example 'capacity: 1/1.5 l'")
    unit = words[-1].partition(" ")[2] if words[-1][0].isdigit() else ""
    return name, tuple(term(word if " " in word or not unit else f"{word} {unit}") for word in words)


def _plural(noun: str) -> str:
    if noun.endswith(("s", "ch", "sh", "x")):
        return f"{noun}es" if noun.endswith(("ss", "ch", "sh", "x")) else noun
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def _split(listed: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in listed.split("/") if word.strip())
