"""Folding: records that every version has in its own products give way to one that says which deletes stand."""

from pathlib import Path

from shortlist.living.journal import Journal
from shortlist.living.records import Checkpoint
from shortlist.living.standing import standing_now


def fold_journal(root: Path, upto: int) -> int:
    """Fold the records of a bundle's journal up to a sequence, and return how many that were.

    Args:
        root: The bundle directory.
        upto: The smallest ``journal_seq`` of all versions that there are: older records are needed by none of them.

    Raises:
        ArtifactError: The journal cannot be read; nothing was folded.
        StorageError: It cannot be locked or written; what is left over is removed by the next folding.
    """
    journal = Journal(root)
    begin = [record for record in journal.read() if record.position.seq <= upto]
    records = [record for record in begin if not isinstance(record.change, Checkpoint)]
    if records:
        with journal.writing("fold the journal") as writer:
            writer.fold(upto=begin[-1].position, deleted=dict(standing_now(begin).deleted))
    return len(records)
