"""Copy a model folder into a version, byte by byte; nothing is linked to files that their owner may overwrite."""

from pathlib import Path

from indexing import storage
from retrieval.models import model_files

BLOCK_BYTES = 1 << 20


def copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a model, and what training wrote beside them.

    Args:
        source: A folder that was checked for what it may hold.
        target: Must not exist.

    Raises:
        StorageFull, StorageError: The file system refuses.
    """
    for path in model_files(source):
        copied = target / path.relative_to(source)
        storage.make_folder(copied.parent)
        with path.open("rb") as original, storage.writer(copied) as copy:
            while block := original.read(BLOCK_BYTES):
                copy.write(block)
