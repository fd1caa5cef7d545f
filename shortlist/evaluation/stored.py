"""A report read back from its folder, for comparison with another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound
from shortlist.evaluation.origins import Origins, origins
from shortlist.evaluation.records import PerQuery, Slices

REPORT_FORMAT = 1
"""Version of report.json and per_query.json; raised when a key changes its meaning."""

REPORT, PER_QUERY, QRELS = "report.json", "per_query.json", "qrels.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredReport:
    """What a comparison needs of a report.

    Attributes:
        folder: Where it lies.
        dataset: Name of the catalogue.
        convention: How its nDCG was computed.
        primary: The measure that its systems are compared by.
        baseline: The system its others were held against.
        qrels_sha256: Digest of the evaluated judgments.
        queries: query_id -> text.
        slices: Slice -> query_id -> value.
        systems: System -> measure -> query_id -> value, in the order of the evaluation.
        p50_ms: System -> median latency; a system that nobody timed is not in it.
        origins: What the numbers rest on.
        generated_at: UTC, ISO 8601.
    """

    folder: Path
    dataset: str
    convention: str
    primary: str
    baseline: str
    qrels_sha256: str
    queries: Mapping[str, str]
    slices: Slices
    systems: Mapping[str, Mapping[str, PerQuery]]
    p50_ms: Mapping[str, float]
    origins: Origins
    generated_at: str


def read_report(folder: Path) -> StoredReport:
    """Read a folder that ``evaluate`` wrote.

    Raises:
        ArtifactNotFound: If there is no report.
        ArtifactIncompatible: If it is of another format.
        ArtifactCorrupt: If per_query.json is not the one that the report was written with, or either does not hold what
            it should.
    """
    if not (folder / REPORT).is_file():
        raise ArtifactNotFound(
            f"no report at {folder}: {REPORT} is missing; make one with: shortlist evaluate --out {folder}"
        )
    report, per_query = storage.read_json(folder / REPORT), storage.read_json(folder / PER_QUERY)
    for name, document in ((REPORT, report), (PER_QUERY, per_query)):
        found = document.get("format") if isinstance(document, dict) else None
        if found != REPORT_FORMAT:
            raise ArtifactIncompatible(
                f"expected format {REPORT_FORMAT} in {folder / name}, found {found}; evaluate again with this release"
            )
    try:
        _require_digest(folder, report["files"][PER_QUERY])
        return _stored(folder, report, per_query)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactCorrupt(
            f"{folder / REPORT} lacks something it should hold ({error!r}); evaluate again"
        ) from error


def _require_digest(folder: Path, expected: str) -> None:
    found = storage.digest(folder / PER_QUERY).sha256
    if found != expected:
        raise ArtifactCorrupt(
            f"{folder / PER_QUERY} was altered: SHA-256 is {found[:16]}..., {REPORT} says {expected[:16]}...; "
            "evaluate again"
        )


def _stored(folder: Path, report: Mapping[str, Any], per_query: Mapping[str, Any]) -> StoredReport:
    return StoredReport(
        folder=folder,
        dataset=report["dataset"],
        convention=report["convention"],
        primary=report["primary"],
        baseline=report["baseline"],
        qrels_sha256=report["files"][QRELS],
        queries=per_query["queries"],
        slices=per_query["slices"],
        systems={name: per_query["systems"][name] for name in report["order"]},
        p50_ms={
            name: system["latency_ms"]["p50"] for name, system in report["systems"].items() if system["latency_ms"]
        },
        origins=origins(
            report["provenance"],
            convention=report["convention"],
            resampling=report["resampling"],
            versions=report["versions"],
        ),
        generated_at=report["generated_at"],
    )
