"""Make the shop's listings from the facts tables: makes, their variants, and what a shopper would read."""

import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shortlist.store.departments import DEPARTMENTS
from shortlist.store.facts import VARYING, Department, ProductType
from shortlist.store.house import Term

MAKES_PER_TYPE = 7
BRANDS_PER_TYPE = 4
"""Of a department's brands, so that some pairs of brand and type do not exist."""

VARIANTS = (2, 3, 3, 4, 4)
"""Sizes of variant groups, one drawn per make; 136 types of 7 makes then come to some 3,000 products."""

_SYLLABLES = (
    ("Tav", "Mir", "Bel", "Orv", "Jun", "Kes", "Lod", "Ner", "Pim", "Ruv", "Siv", "Wen", "Yar", "Zol", "Hal", "Dru"),
    ("lo", "sa", "dit", "ren", "ka", "vik", "mon", "bri", "quel", "tha"),
)
"""Line names are made of one of each: ``Tavlo``, ``Mirsa``."""

_TITLES = ("{brand} {name} {noun} {marks}", "{noun} {brand} {name}, {marks}", "{brand} {noun} {name} {marks}")
_SPECS = ("Spec: {marks}.", "Data {marks}.", "({marks})")
"""Orders of titles and forms of data sheets; a brand keeps to one of each."""

_MENTIONS = 0.4
"""Share of descriptions that mention another type of the department, as shops do: a trap for word matching."""

_DEAREST = 0.8
"""The dearest make costs this much more than the cheapest, as a share of its price."""

_COMPANIONS = ("Goes with our {plural}.", "See also: {noun}.", "Put it beside a {noun}.", "Sold apart: {noun}.")


@dataclass(frozen=True, slots=True)
class Listing:
    """One product with the facts it was made from.

    Attributes:
        product_id: Five digits.
        type: Noun of its product type.
        brand: Maker.
        model: Model number or line name of the make; empty for accessories.
        fits: Model of the thing an accessory is made for; empty for things.
        facets: Facet -> term.
        title: At most twelve words.
        description: One to three short sentences.
        department: Name of the department.
        price: In the shop's currency.
        stock: Pieces at hand.
        variant_group: Shared by all variants of one make.
    """

    product_id: str
    type: str
    brand: str
    model: str
    fits: str
    facets: Mapping[str, Term]
    title: str
    description: str
    department: str
    price: float
    stock: int
    variant_group: str


@dataclass(frozen=True, slots=True)
class Make:
    """One design of one brand: what its variants share.

    Attributes:
        type: Its product type.
        department: Where it is sold.
        brand: Maker.
        model: Model number or line name; empty for accessories.
        fits: The thing that an accessory is made for; ``None`` for things.
        fixed: Facet -> term, for the facets in which variants do not differ.
        description: Near-duplicates are described alike.
        price: In the shop's currency.
    """

    type: ProductType
    department: Department
    brand: str
    model: str
    fits: "Make | None"
    fixed: Mapping[str, Term]
    description: str
    price: float


def make_listings(seed: int) -> list[Listing]:
    """Return every listing of the shop, in shelf order (shuffled, numbered from ``00001``)."""
    rng = random.Random(f"listings/{seed}")
    makes = make_makes(rng)
    drafts = [(make, group, variant) for group, make in enumerate(makes, start=1) for variant in _variants(make, rng)]
    rng.shuffle(drafts)
    return [
        _listing(f"{number:05d}", f"g{group:04d}", make, variant, rng)
        for number, (make, group, variant) in enumerate(drafts, start=1)
    ]


def make_makes(rng: random.Random) -> list[Make]:
    """Return `MAKES_PER_TYPE` makes of every type, the accessories after the things that they fit."""
    names = _Names(rng)
    made: dict[str, list[Make]] = defaultdict(list)
    offered = [(department, kind) for department in DEPARTMENTS for kind in department.types]
    for department, kind in sorted(offered, key=lambda pair: bool(pair[1].made_for)):
        brands = rng.sample(department.brands, BRANDS_PER_TYPE)
        for number in range(MAKES_PER_TYPE):
            fits = made[kind.made_for][number] if kind.made_for else None
            made[kind.noun].append(_make(kind, department, brands[number % BRANDS_PER_TYPE], fits, names, rng))
    return [make for makes in made.values() for make in makes]


def _make(
    kind: ProductType, department: Department, brand: str, fits: Make | None, names: "_Names", rng: random.Random
) -> Make:
    fixed = {facet: rng.choice(terms) for facet, terms in kind.facets.items() if facet not in _varying(kind)}
    others = [other for other in department.types if other is not kind]
    beside = fits.type if fits else rng.choice(others) if rng.random() < _MENTIONS else None
    return Make(
        type=kind,
        department=department,
        brand=brand,
        model="" if fits else names.draw(kind, brand),
        fits=fits,
        fixed=fixed,
        description=_description(kind, brand, beside, fixed, rng),
        price=round(round(kind.price * (1 + _DEAREST * rng.random() ** 2)) - 0.01, 2),
    )


def _description(
    kind: ProductType, brand: str, beside: ProductType | None, fixed: Mapping[str, Term], rng: random.Random
) -> str:
    """Return what the make says of itself, the other type that it mentions, and its data in the brand's own form."""
    sentences = [f"{rng.choice(kind.says)}."]
    if beside is not None:
        pattern = "Made for this {noun}." if kind.made_for else rng.choice(_COMPANIONS)
        sentences.append(pattern.format(noun=beside.noun, plural=beside.plural))
    if fixed:
        spec = _SPECS[len(brand) % len(_SPECS)]
        sentences.append(spec.format(marks=", ".join(term.house for term in fixed.values())))
    return " ".join(sentences)


class _Names:
    """Draws model numbers that exist once, and line names that a brand uses once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()
        self._series: dict[str, int] = {}

    def draw(self, kind: ProductType, brand: str) -> str:
        """Return a new name; the model numbers of one type differ in their last two digits only."""
        series = self._series.setdefault(kind.noun, self._rng.randrange(21, 98))
        while True:
            if kind.coded:
                name = key = f"{model_prefix(brand)}-{series}{self._rng.randrange(10, 100)}"
            else:
                name = "".join(self._rng.choice(part) for part in _SYLLABLES)
                key = f"{brand} {name}"
            if key not in self._taken:
                self._taken.add(key)
                return name


def model_prefix(brand: str) -> str:
    """Return the two letters that a brand's model numbers begin with: its initial and its next consonant."""
    return (brand[0] + next(letter for letter in brand[1:] if letter not in "aeiouy")).upper()


def _varying(kind: ProductType) -> frozenset[str]:
    return (VARYING & kind.facets.keys()) or frozenset([next(iter(kind.facets))])


def _variants(make: Make, rng: random.Random) -> list[dict[str, Term]]:
    """Return the terms of each variant, in the order of the type's facets; no two variants are alike."""
    facets = make.type.facets
    axes = [facet for facet in facets if facet not in make.fixed]
    combinations = list(itertools.product(*(facets[axis] for axis in axes)))
    chosen = rng.sample(combinations, min(rng.choice(VARIANTS), len(combinations)))
    return [
        {facet: terms[facet] for facet in facets}
        for terms in ({**make.fixed, **dict(zip(axes, combination, strict=True))} for combination in chosen)
    ]


def _listing(product_id: str, group: str, make: Make, facets: Mapping[str, Term], rng: random.Random) -> Listing:
    return Listing(
        product_id=product_id,
        type=make.type.noun,
        brand=make.brand,
        model=make.model,
        fits=make.fits.model if make.fits else "",
        facets=facets,
        title=_title(make, [facets[facet].house for facet in facets if facet not in make.fixed]),
        description=make.description,
        department=make.department.name,
        price=make.price,
        stock=rng.choice((0, 1, 3, 8, 20, 60)),
        variant_group=group,
    )


def _title(make: Make, varying: Sequence[str]) -> str:
    """Return the title in the brand's own order; accessories say ``f/`` (for) and what they fit."""
    name = f"f/ {make.fits.brand} {make.fits.model}" if make.fits else make.model
    pattern = _TITLES[len(make.brand) % len(_TITLES)]
    title = pattern.format(brand=make.brand, name=name, noun=make.type.noun, marks=" ".join(varying))
    return title[0].upper() + title[1:]
