"""Copy a model folder into a version, byte by byte; nothing is linked to files that their owner may overwrite."""

from pathlib import Path

from indexing import storage

BLOCK_BYTES = 1 << 20


def copy_folder(source: Path, target: Path) -> None:
    """Copy every plain file below ``source``, hidden ones left out.

    Args:
        source: A folder that was checked for what it may hold.
        target: Must not exist.

    Raises:
        StorageFull, StorageError: The file system refuses.
    """
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            storage.make_folder((target / name).parent)
            with path.open("rb") as original, storage.writer(target / name) as copy:
                while block := original.read(BLOCK_BYTES):
                    copy.write(block)
