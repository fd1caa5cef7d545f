"""Fill a query template with the facts of one product: the text a shopper types and the intent behind it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shortlist.store.facts import ProductType
from shortlist.store.grades import Intent
from shortlist.store.house import Term
from shortlist.store.listings import Listing, model_prefix
from shortlist.store.shop import Shop
from shortlist.store.templates import Template
from shortlist.store.typos import mistype
from shortlist.store.unsold import UNSOLD

_PLAINEST = 0.6
"""Share of wishes written in their plainest form; the others take any form."""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A query's text and what it means."""

    text: str
    intent: Intent


def suits(template: Template, kind: ProductType, shop: Shop) -> bool:
    """Return whether products of the type have every fact that the template's kind and slots speak of."""
    slots = template.slots
    needed = {
        "syn": bool(kind.synonyms),
        "line": not kind.coded and not kind.made_for,
        "model": kind.coded,
        "model_joined": kind.coded,
        "model_spaced": kind.coded,
        "no_model": kind.coded,
        "colour": "colour" in kind.facets,
    }
    if not all(there for slot, there in needed.items() if slot in slots):
        return False
    if template.kind == "accessory" and not kind.made_for:
        return False
    if template.kind == "thing" and kind.noun not in shop.accessories:
        return False
    facets = {facet: terms[0] for facet, terms in kind.facets.items()}
    return _choose_wishes(template, facets, random.Random(0)) is not None


def phrase(template: Template, listing: Listing, shop: Shop, rng: random.Random) -> Phrasing:
    """Return a query that asks for the listing (or, for kinds without an answer, for something close to it).

    Raises:
        ValueError: If the template does not suit the listing.
    """
    wishes = _choose_wishes(template, listing.facets, rng)
    if wishes is None:
        raise ValueError(
            f"template {template.name!r} asks for more wishes than {listing.type} {listing.product_id} has"
        )
    kind, slots = shop.types[listing.type], template.slots
    intent = Intent(
        type=listing.type,
        brand=listing.brand if "brand" in slots else "",
        model=listing.model if slots & {"model", "model_joined", "model_spaced", "line"} else "",
        fits=listing.fits if slots & {"fits", "fits_joined"} else "",
        wishes={facet: listing.facets[facet] for facet in wishes.values()},
    )
    words = {slot: _written(listing.facets[facet], rng) for slot, facet in wishes.items()}
    words |= {"type": kind.noun, "types": kind.plural, "brand": listing.brand, "line": listing.model}
    words |= _codes("model", listing.model) | _codes("fits", listing.fits)
    if kind.made_for:
        words |= {"thing": kind.made_for, "maker": shop.maker_of(listing.fits, kind.made_for)}
    if "syn" in slots:
        words["syn"] = rng.choice(kind.synonyms)
    intent = _astray(template, intent, words, shop, rng)
    text = template.pattern.removesuffix("~").format(**words).lower()
    return Phrasing(mistype(text, rng) if template.pattern.endswith("~") else text, intent)


def _astray(template: Template, intent: Intent, words: dict[str, str], shop: Shop, rng: random.Random) -> Intent:
    """Put what does not exist into the words and the intent of a kind without an answer."""
    match template.kind:
        case "unsold":
            words["unsold"] = rng.choice(UNSOLD)
            return replace(intent, type=words["unsold"])
        case "no_such_pair":
            words["stranger"] = rng.choice(sorted(shop.of_brand.keys() - shop.makers(intent.type)))
            return replace(intent, brand=words["stranger"])
        case "no_such_model":
            words["no_model"] = _no_model(intent, words["brand"], shop, rng)
            return replace(intent, model=words["no_model"])
    return intent


def _no_model(intent: Intent, brand: str, shop: Shop, rng: random.Random) -> str:
    """Return a model number that looks like the brand's own of this type, and that nobody has."""
    series = shop.of_type[intent.type][0].model.partition("-")[2][:2]
    free = {f"{model_prefix(brand)}-{series}{number}" for number in range(10, 100)} - shop.models
    return rng.choice(sorted(free))


def _choose_wishes(template: Template, facets: Mapping[str, Term], rng: random.Random) -> dict[str, str] | None:
    """Return slot -> facet for the template's wishes, each facet once; ``None`` when there are too few."""
    slots, left = template.slots, list(facets)
    rng.shuffle(left)
    chosen: dict[str, str] = {}
    for slot in ("colour", "measure", "wish", "wish2", "wish3"):
        if slot not in slots:
            continue
        facet = next((facet for facet in left if _allowed(slot, facet, facets[facet])), None)
        if facet is None:
            return None
        left.remove(facet)
        chosen[slot] = facet
    return chosen


def _allowed(slot: str, facet: str, term: Term) -> bool:
    return facet == "colour" if slot == "colour" else term.measure if slot == "measure" else True


def _written(term: Term, rng: random.Random) -> str:
    return term.asked[0] if rng.random() < _PLAINEST else rng.choice(term.asked)


def _codes(slot: str, code: str) -> dict[str, str]:
    return {slot: code, f"{slot}_joined": code.replace("-", ""), f"{slot}_spaced": code.replace("-", " ")}
