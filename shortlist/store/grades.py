"""What a query asks for, and the one rule that grades a product by it: facts against facts, never a ranking.

grade   meaning
3       everything that was asked for
2       the right thing but for one soft wish (colour, size, material, feature, measure)
1       the right type with two soft wishes off, or of another brand than asked, or with the only wish off
0       another type (an accessory is another type than its thing), another model, a worse miss than grade 1
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shortlist.store.house import Term
from shortlist.store.listings import Listing

BEST = 3
WRONG_BRAND = 2
"""Points a wrong brand costs; a soft wish that is off costs one."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a shopper wants, as facts; an empty field is not asked for.

    Attributes:
        type: Noun of the product type; always asked for, said or implied (a model number implies it).
        brand: Maker.
        model: Model number or line name.
        fits: Model of the thing that an accessory must fit.
        wishes: Facet -> term: the soft wishes.
    """

    type: str
    brand: str = ""
    model: str = ""
    fits: str = ""
    wishes: Mapping[str, Term] = field(default_factory=dict)

    def key(self) -> tuple[str, ...]:
        """Return a hashable form: two queries with the same key have the same grades."""
        wishes = (f"{facet}={term.house}" for facet, term in sorted(self.wishes.items()))
        return (self.type, self.brand, self.model, self.fits, *wishes)


def grade(intent: Intent, listing: Listing) -> int:
    """Return how well a listing answers an intent, 0 to 3.

    A wrong type, model or fit is worth nothing: a model number names one thing. Otherwise three points, less two for a
    wrong brand and one for each soft wish that is off. Where nothing holds that was asked for beyond the type, one
    point is the most.
    """
    if listing.type != intent.type:
        return 0
    if (intent.model and listing.model != intent.model) or (intent.fits and listing.fits != intent.fits):
        return 0
    brand_off = bool(intent.brand) and listing.brand != intent.brand
    wishes_off = sum(listing.facets.get(facet) != wish for facet, wish in intent.wishes.items())
    points = max(0, BEST - WRONG_BRAND * brand_off - wishes_off)
    asked = sum(map(bool, (intent.brand, intent.model, intent.fits))) + len(intent.wishes)
    return min(points, 1) if asked and brand_off + wishes_off == asked else points
