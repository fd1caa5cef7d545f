"""What stands: which products the journal adds to a version and which it takes away. Pure rules, no files.

- Upserts after the sequence that a version's build started from come on top of it; earlier ones were superseded by the
  build's source.
- A delete stands until a later upsert of the same product, whatever a source lists and whichever version is live.
- A build that was told to restore lifts the deletes before its start, for itself and for versions begun later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexing.errors import ArtifactCorrupt
from indexing.types import FloatVector
from retrieval.records import Product
from shortlist.living.journal import START, Position, Record
from shortlist.living.records import Checkpoint, Delete, Restore, Upsert


@dataclass(frozen=True, slots=True)
class Addition:
    """A product on top of a version.

    Attributes:
        product: As it was taken.
        tower: Digest of the product side of the tower whose vector it brings.
        key: Key of that vector.
        vector: float32 [d].
    """

    product: Product
    tower: str
    key: bytes
    vector: FloatVector


@dataclass(frozen=True, slots=True)
class Standing:
    """The journal as one version sees it.

    Attributes:
        position: The last record taken into account.
        deleted: product_id -> sequence of the delete that stands.
        added: product_id -> the latest upsert; no id is in both.
    """

    position: Position
    deleted: Mapping[str, int]
    added: Mapping[str, Addition]


def standing_now(records: Sequence[Record]) -> Standing:
    """Apply all records for a version whose build begins now: what is deleted stands, upserts are superseded."""
    return standing(records, journal_seq=records[-1].position.seq if records else 0, where="a build that begins now")


def standing(records: Sequence[Record], *, journal_seq: int, where: str) -> Standing:
    """Apply all records to nothing, for a version whose build started from ``journal_seq``.

    Args:
        records: Everything in the journal, in order, from `Journal.read`.
        journal_seq: Number of the last record when the build began, 0 for none.
        where: Name of the version, for messages.

    Raises:
        ArtifactCorrupt: The journal ends before ``journal_seq``, or was folded beyond it.
    """
    position = records[-1].position if records else START
    if position.seq < journal_seq:
        raise ArtifactCorrupt(
            f"{where} was built from record {journal_seq} of the journal on, which ends at {position.seq}: records "
            "were lost; restore JOURNAL from a copy"
        )
    deleted, added = dict[str, int](), dict[str, Addition]()
    for record in records:
        seq = record.position.seq
        match record.change:
            case Checkpoint(deleted=folded):
                if journal_seq < seq:
                    raise ArtifactCorrupt(
                        f"{where} was built from record {journal_seq} of the journal on, which was folded up to {seq}; "
                        "build it again with: shortlist build"
                    )
                deleted = dict(folded)
            case Upsert() as upsert:
                for product, key in zip(upsert.products, upsert.keys, strict=True):
                    deleted.pop(product.product_id, None)
                    if seq > journal_seq:
                        added[product.product_id] = Addition(product, upsert.tower, key, upsert.vectors[key])
            case Delete(product_ids=product_ids):
                for product_id in product_ids:
                    added.pop(product_id, None)
                    deleted[product_id] = seq
            case Restore(as_of=as_of, product_ids=product_ids) if as_of <= journal_seq:
                for product_id in product_ids:
                    if deleted.get(product_id, seq) <= as_of:
                        del deleted[product_id]
    return Standing(position, deleted, added)
