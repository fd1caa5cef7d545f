"""Job ``build``: a catalogue becomes a published version. A reader sees the version before or the version after."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import StorageError
from rerank.config import CrossEncoderConfig, RerankerConfig
from retrieval.catalog import Catalog, open_catalog
from retrieval.models import model_folder
from shortlist.building.report import BuildReport
from shortlist.building.steps import Steps
from shortlist.building.tidying import fold_records, remove_superseded
from shortlist.building.workers import require_devices
from shortlist.bundle import LOCK, STAGING
from shortlist.config import BuildConfig
from shortlist.devices import require_index_device
from shortlist.living.journal import Journal, Record


def build(config: BuildConfig, *, source: Path, out: Path, restore_deleted: bool = False) -> BuildReport:
    """Build a bundle version from a catalogue and publish it.

    Args:
        config: What to build.
        source: Folder of the catalogue's files.
        out: Bundle directory, created when absent; versions that it holds stay.
        restore_deleted: Take products of the catalogue that were deleted from the bundle; otherwise they are left out.

    Raises:
        ConfigError, SourceDataError, VectorError, StorageError, ArtifactError, EnvironmentProblem: Before anything is
            published.
        BuildLocked: Another build runs into ``out``.
        GateFailed: The index misses its recall target; nothing is published.
    """
    require_index_device(config.runtime)
    require_devices(config.runtime)
    catalog = open_catalog(config.catalog, source)
    encoder_folder = model_folder(config.encoder.model) if config.encoder.model else None
    _require_reranker(config.reranker)
    storage.make_folder(out)
    with storage.exclusive_lock(out / LOCK, purpose=f"build {catalog.name}"):
        records = Journal(out).read()  # before the catalogue: what is written meanwhile comes on top
        return run_build(config, catalog, encoder_folder, out, records, restore_deleted=restore_deleted)


def run_build(
    config: BuildConfig,
    catalog: Catalog,
    encoder_folder: Path | None,
    out: Path,
    records: Sequence[Record],
    *,
    restore_deleted: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> BuildReport:
    """Build and publish under the builders' lock, which the caller holds; then remove what no version needs any more.

    Args:
        config: As for ``build``.
        catalog: Where the products come from.
        encoder_folder: The model; ``None`` without an encoder.
        out: Bundle directory.
        records: The journal as it was before ``catalog`` was read or made.
        restore_deleted: As for ``build``.
        origin: What the manifest says of products that are the bundle's own, and in no files of ``catalog``.
    """
    staging = out / STAGING
    storage.remove_leftovers(out)
    storage.remove_folder(staging)
    storage.make_folder(staging)
    try:
        steps = Steps(config, catalog, encoder_folder, out, staging, records, restore_deleted, dict(origin or {}))
        report = steps.run()
    except BaseException:
        with suppress(StorageError):  # the first error is the one to report
            storage.remove_folder(staging)
        raise
    remove_superseded(out, config.keep_versions, previous=steps.before, report=report)
    fold_records(out, report)
    return report


def _require_reranker(config: RerankerConfig) -> None:
    """Refuse a reranker folder that cannot be used before anything expensive starts."""
    if isinstance(config, CrossEncoderConfig):
        from rerank.cascade import require_cascade
        from rerank.confidence import read_confidence
        from rerank.folder import check_cross_encoder_folder

        check_cross_encoder_folder(Path(config.model))
        read_confidence(Path(config.model))
        if config.student:
            require_cascade(config, Path(config.model), Path(config.student))
