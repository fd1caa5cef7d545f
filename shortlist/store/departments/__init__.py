"""The facts tables: twelve departments, each with its brands and product types."""

from shortlist.store.departments.home import BED_AND_BATH, FURNITURE, OFFICE
from shortlist.store.departments.kitchen import KITCHEN
from shortlist.store.departments.outdoors import GARDEN, SPORT, TOOLS
from shortlist.store.departments.people import BABY_AND_TOYS, BEAUTY, FASHION
from shortlist.store.departments.technology import AUDIO_AND_PHOTO, COMPUTING

DEPARTMENTS = (
    FURNITURE,
    BED_AND_BATH,
    OFFICE,
    KITCHEN,
    COMPUTING,
    AUDIO_AND_PHOTO,
    TOOLS,
    GARDEN,
    SPORT,
    FASHION,
    BABY_AND_TOYS,
    BEAUTY,
)

TYPES = {kind.noun: kind for department in DEPARTMENTS for kind in department.types}
"""Every product type of the shop by its noun."""
