"""The shop as its facts know it: every listing, found by type, brand and department."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from shortlist.store.departments import TYPES
from shortlist.store.facts import ProductType
from shortlist.store.listings import Listing, make_listings


@dataclass(frozen=True, slots=True)
class Shop:
    """All listings with their product types.

    Attributes:
        listings: In shelf order.
        types: Noun -> product type.
        of_type: Noun -> its listings.
        of_brand: Brand -> its listings.
        of_department: Department -> its listings.
        accessories: Noun of a thing -> nouns of the accessories made for it.
    """

    listings: tuple[Listing, ...]
    types: dict[str, ProductType]
    of_type: dict[str, list[Listing]] = field(default_factory=lambda: defaultdict(list))
    of_brand: dict[str, list[Listing]] = field(default_factory=lambda: defaultdict(list))
    of_department: dict[str, list[Listing]] = field(default_factory=lambda: defaultdict(list))
    accessories: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def models(self) -> frozenset[str]:
        """Return every model number and line name in the shop."""
        return frozenset(listing.model for listing in self.listings)

    def makers(self, noun: str) -> frozenset[str]:
        """Return the brands that make a type."""
        return frozenset(listing.brand for listing in self.of_type[noun])

    def maker_of(self, model: str, noun: str) -> str:
        """Return the brand of a model of one type."""
        return next(listing.brand for listing in self.of_type[noun] if listing.model == model)


def open_shop(seed: int) -> Shop:
    """Return the shop of a seed; the same one every time."""
    return stock(make_listings(seed))


def stock(listings: Sequence[Listing]) -> Shop:
    """Return a shop that sells these listings."""
    shop = Shop(tuple(listings), TYPES)
    for listing in shop.listings:
        shop.of_type[listing.type].append(listing)
        shop.of_brand[listing.brand].append(listing)
        shop.of_department[listing.department].append(listing)
    for kind in shop.types.values():
        if kind.made_for:
            shop.accessories[kind.made_for].append(kind.noun)
    return shop
