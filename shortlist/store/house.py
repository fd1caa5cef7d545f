"""The house language: how the shop writes colours, materials, sizes and measures, and how shoppers write them.

The shop never prints the plain word: a black kettle is ``raven``, a stainless steel one ``sst``, 1.5 litres are
``1500 ml``. The language is the same in every department, so what is learnt about it from one query holds for all.
"""

from dataclasses import dataclass, field

COLOURS: dict[str, tuple[str, ...]] = {
    # house name: what shoppers write
    "raven": ("black",),
    "chalk": ("white",),
    "pewter": ("grey", "gray"),
    "garnet": ("red",),
    "cobalt": ("blue",),
    "moss": ("green",),
    "cocoa": ("brown",),
    "oat": ("beige", "cream"),
    "saffron": ("yellow",),
    "blush": ("pink",),
    "plum": ("purple",),
    "apricot": ("orange",),
}

CODES: dict[str, tuple[str, ...]] = {
    # materials
    "sst": ("stainless steel", "steel"),
    "alu": ("aluminium", "aluminum"),
    "cst": ("cast iron",),
    "ppn": ("plastic",),
    "gls": ("glass",),
    "crm": ("ceramic",),
    "tmb": ("wooden", "wood"),
    "bmb": ("bamboo",),
    "ctn": ("cotton",),
    "lnn": ("linen",),
    "wln": ("wool", "woollen"),
    "lth": ("leather",),
    "vlv": ("velvet",),
    "pes": ("polyester",),
    "rbr": ("rubber",),
    "slc": ("silicone",),
    # features
    "cdl": ("cordless", "battery powered"),
    "wrl": ("wireless", "bluetooth"),
    "rcg": ("rechargeable",),
    "wpf": ("waterproof", "water resistant"),
    "fld": ("folding", "foldable", "collapsible"),
    "adj": ("adjustable",),
    "lnz": ("quiet", "silent"),
    "ins": ("insulated",),
    "nst": ("non-stick", "nonstick"),
    "lwt": ("lightweight", "light weight"),
    "dmb": ("dimmable",),
    "dgt": ("digital",),
    "elc": ("electric",),
    "mnl": ("manual",),
    "hdy": ("heavy duty", "heavy-duty"),
    "wsh": ("machine washable", "washable"),
    "lck": ("lockable", "locking"),
    "stk": ("stackable", "stacking"),
    "qck": ("fast charging", "quick charge"),
    "anc": ("noise cancelling",),
    # sizes and wearers
    "gr1": ("small", "size s"),
    "gr2": ("medium", "size m"),
    "gr3": ("large", "size l"),
    "gr4": ("extra large", "xl"),
    "sgl": ("single",),
    "dbl": ("double",),
    "kgs": ("king size", "king"),
    "wmn": ("women's", "ladies"),
    "mns": ("men's", "mens"),
    "jnr": ("kids", "children's"),
}

# Shopper's unit: (house unit, factor, how shoppers write the unit). An empty house unit has its own pattern below.
UNITS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "l": ("ml", 1000, (" l", " litre", "l", " liter")),
    "cm": ("mm", 10, (" cm", "cm", " centimetre")),
    "m": ("mm", 1000, (" m", "m", " metre")),
    "kg": ("g", 1000, (" kg", "kg", " kilo")),
    "tb": ("GB", 1024, (" tb", "tb")),
    "gb": ("GB", 1, (" gb", "gb")),
    "v": ("V", 1, ("v", " v", " volt")),
    "w": ("W", 1, ("w", " w", " watt")),
    "mah": ("mAh", 1, (" mah", "mah")),
    "lm": ("lm", 1, (" lumen", " lm")),
    "inch": ("in", 1, (" inch", '"', "in")),
    "seats": ("st", 1, (" seater", " seat")),
    "persons": ("prs", 1, (" person", " man")),
    "pieces": ("pcs", 1, (" piece", " pc")),
    "pack": ("pk", 1, (" pack", "-pack")),
    "gears": ("gr", 1, (" speed", " gear")),
}

_PLAIN: dict[str, str] = {
    asked: house for table in (COLOURS, CODES) for house, forms in table.items() for asked in forms
}


@dataclass(frozen=True, slots=True)
class Term:
    """One value of a facet; terms are equal when their house forms are (250 cm is 2.5 m).

    Attributes:
        house: How listings write it, ``"1500 ml"``.
        asked: How shoppers write it, the plainest first.
        measure: Whether it is a number with a unit.
    """

    house: str
    asked: tuple[str, ...] = field(compare=False)
    measure: bool = field(default=False, compare=False)


def term(plain: str) -> Term:
    """Return the term that a facts table names by its plain word or measure.

    Args:
        plain: A word that shoppers use (``"black"``), or a number and a unit (``"1.5 l"``).

    Raises:
        ValueError: If the word is in neither table and the unit is unknown.
    """
    if (house := _PLAIN.get(plain)) is not None:
        return Term(house, (COLOURS.get(house) or CODES[house]))
    number, _, unit = plain.partition(" ")
    if unit not in UNITS:
        raise ValueError(f"expected a plain word or a measure of the house language, got {plain!r}; add it to house.py")
    house_unit, factor, forms = UNITS[unit]
    return Term(
        f"{round(float(number) * factor)} {house_unit}", tuple(f"{number}{form}" for form in forms), measure=True
    )


def plain_words() -> frozenset[str]:
    """Return the words of colours, materials, features and sizes that no listing may print."""
    return frozenset(_PLAIN)
