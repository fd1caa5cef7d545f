"""The shop's queries: quotas by split and kind, templates filled with products, nothing asked in two splits."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from shortlist.store.grades import Intent
from shortlist.store.listings import Listing
from shortlist.store.phrasing import Phrasing, phrase, suits
from shortlist.store.shop import Shop
from shortlist.store.splits import Splits
from shortlist.store.templates import NO_ANSWER_KINDS, TEMPLATES, Template

QUOTAS: dict[str, dict[str, int]] = {
    # split: {kind: queries}; test comes first so that training gets what test left over
    "test": {
        "synonym": 40,
        "attributes": 40,
        "typo": 35,
        "brand": 30,
        "unit": 30,
        "model": 25,
        "variant": 25,
        "accessory": 25,
        "thing": 20,
    },
    "dev": {
        "synonym": 14,
        "attributes": 14,
        "typo": 12,
        "brand": 12,
        "unit": 12,
        "model": 10,
        "variant": 10,
        "accessory": 10,
        "thing": 6,
    },
    "no_answer": {"unsold": 130, "no_such_pair": 70, "no_such_model": 70},
    "train": {
        "synonym": 90,
        "brand": 60,
        "attributes": 90,
        "unit": 60,
        "model": 50,
        "variant": 50,
        "accessory": 50,
        "thing": 40,
        "typo": 60,
    },
}

_TRIES = 4000
"""Products tried for one kind and split before giving up; the fullest kind needs a tenth of it."""


@dataclass(frozen=True, slots=True)
class StoreQuery:
    """One query with its meaning.

    Attributes:
        query_id: ``q0001`` and on.
        text: What the shopper typed, lower case.
        template: Name of the template it was made from.
        kind: Kind of query, the first part of the template's name.
        synonym_group: Noun whose synonym the text uses; empty when it uses none.
        split: ``train``, ``dev``, ``test`` or ``no_answer``.
        intent: What it means.
    """

    query_id: str
    text: str
    template: str
    kind: str
    synonym_group: str
    split: str
    intent: Intent

    @property
    def answerable(self) -> bool:
        """Return whether the shop has what is asked for."""
        return self.kind not in NO_ANSWER_KINDS


def make_queries(shop: Shop, splits: Splits, seed: int) -> list[StoreQuery]:
    """Return every query, split by split.

    No text occurs twice, and no intent occurs in two splits: what a test query asks for is never asked in training.

    Raises:
        RuntimeError: If a template suits no product, or the facts are too few to fill a quota.
    """
    asked = _Asked()
    queries: list[StoreQuery] = []
    for split, quota in QUOTAS.items():
        for kind, count in quota.items():
            rng = random.Random(f"queries/{seed}/{split}/{kind}")
            templates = [t for t in TEMPLATES if t.kind == kind and splits.templates[t.name] == split]
            drawn = itertools.islice(_draw(split, templates, shop, splits, asked, rng), count)
            for template, listing, phrasing in drawn:
                group = listing.type if "syn" in template.slots else ""
                number = f"q{len(queries) + 1:04d}"
                queries.append(StoreQuery(number, phrasing.text, template.name, kind, group, split, phrasing.intent))
    return queries


class _Asked:
    """Remembers every text, and the split of every intent."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._split_of: dict[tuple[str, ...], str] = {}

    def add(self, phrasing: Phrasing, split: str) -> bool:
        """Return whether the phrasing is new: its text anywhere, its intent in the other splits."""
        key = phrasing.intent.key()
        if phrasing.text in self._texts or self._split_of.get(key, split) != split:
            return False
        self._texts.add(phrasing.text)
        self._split_of[key] = split
        return True


def _draw(
    split: str, templates: list[Template], shop: Shop, splits: Splits, asked: _Asked, rng: random.Random
) -> Iterator[tuple[Template, Listing, Phrasing]]:
    """Yield new queries for ever, going round the templates and round the types that suit each."""
    rounds = {template: _round(template, split, shop, splits, rng) for template in templates}
    tries = 0
    for template in itertools.cycle(templates):
        for listing in rounds[template]:
            tries += 1
            if tries > _TRIES:
                raise RuntimeError(f"no {_TRIES}th product gives a new query of {template.name!r}; lower its quota")
            phrasing = phrase(template, listing, shop, rng)
            if asked.add(phrasing, split):
                yield template, listing, phrasing
                break


def _round(template: Template, split: str, shop: Shop, splits: Splits, rng: random.Random) -> Iterator[Listing]:
    """Yield products for a template for ever: a random one of each type in turn, the types shuffled."""
    open_nouns = [
        noun for noun in shop.types if "syn" not in template.slots or splits.synonym_groups.get(noun) == split
    ]
    nouns = [noun for noun in open_nouns if shop.of_type[noun] and suits(template, shop.types[noun], shop)]
    if not nouns:
        raise RuntimeError(f"no product of the shop suits {template.name!r} in split {split}; give a type what it asks")
    rng.shuffle(nouns)
    return (rng.choice(shop.of_type[noun]) for noun in itertools.cycle(nouns))
