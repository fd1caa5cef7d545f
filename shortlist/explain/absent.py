"""Products that the catalogue does not hold: deleted, set aside when the bundle was built, or meant by another id."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from indexing import storage
from indexing.errors import ArtifactCorrupt
from retrieval.suggestions import closest
from shortlist.bundle import Bundle
from shortlist.living.journal import Journal
from shortlist.living.standing import standing

QUARANTINE = "quarantine.jsonl"

SUGGESTED = 3
"""Ids offered that differ in nothing but case, blanks and zeros in front."""

COMPARED = 5_000
"""Ids compared letter by letter, some 20 microseconds each; a catalogue may have a million that begin alike."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that did not become a product.

    Attributes:
        file: Name of the source file.
        row: The row's number there.
        problem: What is wrong with it.
    """

    file: str
    row: int
    problem: str

    def __str__(self) -> str:
        """Say so in words."""
        return f"set aside when the bundle was built ({self.file}, row {self.row}: {self.problem})"


def deletion(bundle: Bundle, product_id: str) -> int | None:
    """Return the number of the journal's record that deletes this id, ``None`` when no delete of it stands.

    Raises:
        ArtifactError, StorageError: The journal does not read.
    """
    records = Journal(bundle.root).read()
    manifest = bundle.manifest
    return standing(records, journal_seq=manifest.journal_seq, where=manifest.version).deleted.get(product_id)


def set_aside(bundle: Bundle, product_id: str) -> SetAside | None:
    """Return the first row of this id that was set aside when the bundle was built.

    Raises:
        ArtifactCorrupt: A line of the quarantine file does not read.
    """
    path = bundle.folder / QUARANTINE
    if not path.is_file():
        return None
    named = json.dumps(product_id).encode()  # as the file has it: ASCII, escaped
    for number, line in enumerate(storage.read_bytes(path).splitlines(), start=1):
        if named not in line:
            continue
        try:
            record = json.loads(line)
            if record.get("product_id") == product_id:
                return SetAside(str(record["file"]).rpartition("/")[2], int(record["row"]), str(record["problem"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactCorrupt(f"line {number} of {path} is no quarantined row: {error!r}; build again") from error
    return None


def like(product_id: str, product_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the ids that may have been meant by one that is not there, the likeliest first.

    Those that differ in case, blanks around them or zeros in front (which spreadsheets take off), then the one nearest
    in letters among those that begin or end with half of it.
    """
    bare, half = _bare(product_id), max(1, len(product_id) // 2)
    same = [other for other in product_ids if _bare(other) == bare][:SUGGESTED]
    sharing = (
        other for other in product_ids if other.startswith(product_id[:half]) or other.endswith(product_id[-half:])
    )
    nearest = closest(product_id, islice(sharing, COMPARED))
    return tuple(dict.fromkeys([*same, *([nearest] if nearest is not None else [])]))


def unheard_of(products: int, suggestions: Sequence[str]) -> str:
    """Say that none of so many products has an id, and which one may have been meant."""
    hint = f"; did you mean {' or '.join(map(repr, suggestions))}?" if suggestions else ""
    return f"none of its {products:,} products has this id{hint}"


def _bare(product_id: str) -> str:
    return product_id.strip().casefold().lstrip("0")
