"""``index.json``: what an index was built from and with, beside the two files it describes.

``faiss.index`` holds the distinct vectors (or their codes), ``distinct.i64`` the number of each row's vector (raw
little-endian int64, one per row).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from indexing import faiss_kinds, storage
from indexing.distinct import digest_vectors
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from indexing.faiss_kinds import Plan
from indexing.storage import FileDigest
from indexing.types import Vectors

FORMAT_VERSION = 1

INDEX_FILE, NUMBERS_FILE, RECORD_FILE = "faiss.index", "distinct.i64", "index.json"


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """What ``index.json`` says.

    Attributes:
        plan: Kind and resolved parameters.
        count: Rows that can be found.
        distinct: Distinct vectors among them, which is what FAISS holds.
        dim: Dimension.
        faiss: Version of FAISS that built it.
        threads: Threads asked for at the build, 0 for all; a graph is the same byte for byte only with 1.
        vectors_sha256: Digest of the vectors' bytes in row order.
    """

    plan: Plan
    count: int
    distinct: int
    dim: int
    faiss: str
    threads: int
    vectors_sha256: str


def write_record(folder: Path, record: IndexRecord, files: Mapping[str, FileDigest]) -> FileDigest:
    """Write ``index.json`` with the digests of the files beside it.

    Raises:
        StorageFull, StorageError: If it exists or cannot be written.
    """
    content = asdict(record)
    content |= {**content.pop("plan"), "format": FORMAT_VERSION}
    content["files"] = {name: asdict(digest) for name, digest in files.items()}
    return storage.write_json(folder / RECORD_FILE, content)


def read_record(folder: Path) -> tuple[IndexRecord, dict[str, FileDigest]]:
    """Read ``index.json``: the record, and the digests of the files beside it.

    Raises:
        ArtifactNotFound: If there is none.
        ArtifactIncompatible: If it was written in another format.
        ArtifactCorrupt: If something in it is missing or of the wrong type.
    """
    path = folder / RECORD_FILE
    content = storage.read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT_VERSION:
        raise ArtifactIncompatible(f"{path} has format {found!r}, this release reads {FORMAT_VERSION}; build it again")
    try:
        plan = faiss_kinds.checked_plan(content["kind"], content["parameters"])
        fields = {name: content[name] for name in IndexRecord.__dataclass_fields__ if name != "plan"}
        for name, value in fields.items():
            _require_number_or_text(name, value)
        files = {name: FileDigest(**content["files"][name]) for name in (INDEX_FILE, NUMBERS_FILE)}
        return IndexRecord(plan=plan, **fields), files
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(f"{path} is not complete: {error!r}; build the index again") from error


def _require_number_or_text(name: str, value: object) -> None:
    is_text = name in ("faiss", "vectors_sha256")
    if is_text != isinstance(value, str) or not (is_text or (type(value) is int and 0 <= value < 2**48)):
        raise ValueError(f"{name} is {value!r:.100}")


def verify_files(folder: Path, files: dict[str, FileDigest], record: IndexRecord, vectors: Vectors) -> None:
    """Compare the digests of the files and of the vectors with the record.

    Raises:
        ArtifactCorrupt: At the first that differs.
        ArtifactNotFound: If a file is missing.
    """
    for name, expected in files.items():
        found = storage.digest(folder / name)
        if found != expected:
            raise ArtifactCorrupt(f"expected {expected} of {folder / name}, found {found}; build the index again")
    found_sha256 = digest_vectors(vectors)
    if found_sha256 != record.vectors_sha256:
        raise ArtifactCorrupt(
            f"the index in {folder} was built from vectors of SHA-256 {record.vectors_sha256}, "
            f"got others ({found_sha256}); build the index again"
        )
