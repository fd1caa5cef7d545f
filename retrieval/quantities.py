"""Numbers with their unit, read the same however the unit is written: ``5 in.``, ``5-inch`` and ``5"`` are one."""

import re

from retrieval.noise import UNIT_FORMS

_UNIT_OF = {form: forms[0] for forms in UNIT_FORMS for form in forms}
_QUANTITY = re.compile(
    r"(?P<number>\d+(?:[.,/]\d+)*)[\s-]?(?P<unit>"
    + "|".join(re.escape(form) for form in sorted(_UNIT_OF, key=len, reverse=True))
    + r")(?![\w'\"])",
    re.IGNORECASE,
)


def quantities(text: str) -> set[tuple[str, str]]:
    """Return every number that a unit follows, as written, with the unit's first form; empty where there is none."""
    return {(found["number"], _UNIT_OF[found["unit"].lower()]) for found in _QUANTITY.finditer(text)}
