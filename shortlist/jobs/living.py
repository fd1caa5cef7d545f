"""Jobs ``upsert`` and ``delete``: a living catalogue from files and from ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing.errors import ConfigError
from retrieval.catalog import open_catalog
from retrieval.delta_products import checked, fitted
from retrieval.products import ProductTable
from shortlist.bundle import open_bundle
from shortlist.config import UpsertConfig
from shortlist.living.changing import Deleted, checked_ids, up_to_date, upsert
from shortlist.living.journal import START, Journal
from shortlist.living.records import Delete
from shortlist.living.standing import standing
from shortlist.loading import load_generation
from shortlist.progress import progress


@dataclass(frozen=True, slots=True)
class UpsertReport:
    """What the job did.

    Attributes:
        bundle: Bundle directory.
        generation: Name of the generation that shows the products.
        sequence: Number of the last record written.
        records: Records written.
        products: Products taken.
        new: Those that were not there before; the others were replaced.
        encoded: Texts that had to be encoded.
        quarantined: Rows set aside, with catalog.on_bad_rows=quarantine.
    """

    bundle: str
    generation: str
    sequence: int
    records: int
    products: int
    new: int
    encoded: int
    quarantined: int


def upsert_catalogue(config: UpsertConfig, *, source: Path, root: Path) -> UpsertReport:
    """Upsert every product of a catalogue; all rows are read and checked before the first is written.

    Each batch is one record of the journal and durable by itself: a job that was interrupted is simply run again.

    Args:
        config: Layout of the files, runtime, products per record.
        source: Folder with the products that are new or changed; it need not hold the others.
        root: The bundle directory.

    Raises:
        SourceDataError, VectorError: Naming rows or products; nothing was written.
        ArtifactError, StorageError, ConfigError, EnvironmentProblem: As `shortlist.engine.SearchEngine.upsert`.
    """
    catalog = open_catalog(config.catalog, source)
    generation = up_to_date(load_generation(open_bundle(root), runtime=config.runtime, reranking=False))
    with progress("read", 0, unit="products") as advance:
        batches = []
        for batch in catalog.products(batch_rows=config.batch_products):
            batches.append(batch)
            advance(len(batch.products))
    products = [product for batch in batches for product in batch.products]
    fitted(checked(products), generation.living.layers.kinds)
    before, new, encoded = generation.living.position.seq, 0, 0
    with progress("upsert", len(products), unit="products") as advance:
        for batch in batches:
            generation, done = upsert(generation, batch.products, batch.vectors)
            new, encoded = new + done.new, encoded + done.encoded
            advance(done.products)
    return UpsertReport(
        bundle=str(root),
        generation=generation.name,
        sequence=generation.living.position.seq,
        records=generation.living.position.seq - before,
        products=len(products),
        new=new,
        encoded=encoded,
        quarantined=catalog.report.quarantined,
    )


def delete_products(product_ids: Sequence[str], *, root: Path) -> Deleted:
    """Delete products of a bundle without opening its models and indexes.

    Raises:
        ConfigError: No id was given, or one that no product can have.
        ArtifactError, StorageError: As `shortlist.engine.SearchEngine.delete`.
    """
    try:
        wanted = checked_ids(product_ids)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not wanted:
        raise ConfigError("give the ids of the products to delete, or a file of them with --ids FILE")
    bundle = open_bundle(root)
    held, manifest = ProductTable.open(bundle.folder / "products.parquet"), bundle.manifest
    journal = Journal(root)
    with journal.writing(f"delete {len(wanted)} products") as writer:
        records = journal.read()
        stands = standing(records, journal_seq=manifest.journal_seq, where=manifest.version)
        position = writer.append(Delete(wanted), after=records[-1].position if records else START)
    there = [pid in stands.added or (pid in held and pid not in stands.deleted) for pid in wanted]
    unknown = tuple(product_id for product_id, known in zip(wanted, there, strict=True) if not known)
    return Deleted(position.seq, f"{manifest.version}+{position.seq}", sum(there), unknown)


def read_ids(path: Path) -> list[str]:
    """Return the ids in a file, one a line; empty lines are passed over.

    Raises:
        ConfigError: It cannot be read as UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"could not read product ids from {path}: {error}") from error
    return [line for line in lines if line.strip()]
