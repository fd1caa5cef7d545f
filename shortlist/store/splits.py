"""The frozen splits: which query templates and which synonym groups train, tune and test. Read from ``splits.json``."""

import json
from dataclasses import dataclass
from importlib.resources import files

SPLITS = ("train", "dev", "test", "no_answer")


@dataclass(frozen=True, slots=True)
class Splits:
    """Who may be seen when.

    Attributes:
        templates: Name of a query template -> its split.
        synonym_groups: Name of a synonym group (the catalogue's noun) -> its split.
    """

    templates: dict[str, str]
    synonym_groups: dict[str, str]


def read_splits() -> Splits:
    """Return the committed splits."""
    return parse_splits(json.loads((files(__package__) / "splits.json").read_text(encoding="utf-8")))


def parse_splits(frozen: dict[str, dict[str, list[str]]]) -> Splits:
    """Return the splits that a JSON value names: split -> ``templates`` and ``synonym_groups`` -> names.

    Raises:
        ValueError: If a template or a group is named twice.
    """
    return Splits(_turn(frozen, "templates"), _turn(frozen, "synonym_groups"))


def _turn(frozen: dict[str, dict[str, list[str]]], part: str) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split in SPLITS:
        for name in frozen[split].get(part, []):
            if name in split_of:
                raise ValueError(f"{part} {name!r} is in split {split_of[name]} and again in {split}; name it once")
            split_of[name] = split
    return split_of
