"""Last step: what no version needs any more goes. The new version is live by then, so trouble is worth a warning."""

from pathlib import Path

from indexing.errors import ArtifactError, StorageError
from shortlist.building.report import BuildReport
from shortlist.bundle import live_version
from shortlist.living.folding import fold_journal
from shortlist.progress import say
from shortlist.versions import collect, version_manifests


def live_name(out: Path) -> str:
    """Return the name of the live version, whole or not; empty when there is none or CURRENT cannot be read."""
    try:
        return live_version(out)[0]
    except ArtifactError:
        return ""


def remove_superseded(out: Path, keep: int, *, previous: str, report: BuildReport) -> None:
    """Remove versions that are not kept; the new one is live by now, so trouble here is worth a warning only."""
    try:
        collected = collect(out, keep=keep, previous=previous)
    except (ArtifactError, StorageError) as error:
        report.warnings.append(f"superseded versions could not all be removed: {error}")
        say(f"warning: {report.warnings[-1]}")
        return
    for name in collected.removed:
        say(f"removed {name}, which is superseded (keep_versions={keep})")
    for name in collected.in_use:
        say(f"kept {name}, which is superseded but in use")


def fold_records(out: Path, report: BuildReport) -> None:
    """Fold the records that no version needs any more; like `remove_superseded`, this is worth a warning only."""
    try:
        folded = fold_journal(out, min(manifest.journal_seq for manifest in version_manifests(out)))
    except (ArtifactError, StorageError) as error:
        report.warnings.append(f"the journal could not be folded: {error}")
        say(f"warning: {report.warnings[-1]}")
        return
    if folded:
        say(f"folded {folded} records of the journal, which no version needs any more")
