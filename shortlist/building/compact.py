"""Job ``compact``: a version and what the journal says of it become a new version; answers stay what they are.

It is a build whose catalogue is the bundle itself. Vectors of newer products are appended to the vector store first, so
nothing is encoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.config import IndexConfig
from indexing.errors import SourceDataError
from rerank.config import CrossEncoderConfig, RerankerConfig
from retrieval.catalog import BATCH_ROWS, ProductBatch, ReadReport
from retrieval.config import CatalogConfig, EncoderConfig, FusionConfig, LexicalConfig, TextConfig
from retrieval.product_file import read_products
from retrieval.records import Judgment, Product, Query
from shortlist.building.job import run_build
from shortlist.building.report import BuildReport
from shortlist.building.vectors import append_new, open_store
from shortlist.bundle import LOCK, Bundle, live_version, open_bundle
from shortlist.config import BuildConfig, CompactConfig
from shortlist.generation import Generation
from shortlist.living.changing import up_to_date
from shortlist.living.journal import Journal
from shortlist.loading import load_generation
from shortlist.stored import thaw


def compact(config: CompactConfig, *, root: Path) -> BuildReport | None:
    """Publish a version that holds what the live one shows.

    Args:
        config: Runtime, and how many versions stay.
        root: The bundle directory. Upserts and deletes may go on meanwhile; they come on top of the new version.

    Returns:
        What was built; ``None`` when the journal holds nothing that the live version does not.

    Raises:
        SourceDataError: No product is left.
        BuildLocked: A build runs in this bundle.
        GateFailed: The index misses its recall target; nothing is published.
        ArtifactError, StorageError, ConfigError, EnvironmentProblem: Nothing is published.
    """
    live_version(root)  # no lock file where there is no bundle
    with storage.exclusive_lock(root / LOCK, purpose=f"compact {root.name}"):
        records = Journal(root).read()
        bundle = open_bundle(root)
        generation = up_to_date(load_generation(bundle, runtime=config.runtime, reranking=False), records)
        layers = generation.living.layers
        if layers.is_bare:
            return None
        if not len(generation.products.there):
            raise SourceDataError(f"no product is left in {root}: upsert some, or build from another catalogue")
        brought = generation.living.source.brought
        if not brought:
            store = open_store(bundle.store_folder, dim=layers.base.vectors.dim)
            append_new(store, list(layers.keys), layers.matrix)
        encoder = bundle.folder / "encoder" if bundle.manifest.encoder is not None else None
        catalogue = bundle.manifest.catalogue
        origin = {"sources": catalogue["sources"], "compacted": bundle.manifest.version}
        catalog = LivingCatalog(generation, name=str(catalogue["name"]), with_vectors=brought)
        return run_build(_build_config(config, bundle), catalog, encoder, root, records, origin=origin)


@dataclass
class LivingCatalog:
    """The products that a generation shows, as a catalogue: those of its version in their order, then newer ones.

    Attributes:
        generation: What is read.
        name: Of the catalogue that the version was built from.
        with_vectors: Whether products bring their vectors, as those of that catalogue did.
        report: What was read so far.
    """

    generation: Generation
    name: str
    with_vectors: bool
    report: ReadReport = field(default_factory=ReadReport)

    def files(self) -> list[Path]:
        """Return nothing: the products are the bundle's own."""
        return []

    def products(self, *, quarantine: Path | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[ProductBatch]:
        """Stream the products; see `retrieval.catalog.Catalog.products`."""
        self.report = ReadReport()
        stream = self._rows()
        while batch := list(islice(stream, batch_rows)):
            read = self.report.rows + len(batch)
            self.report = ReadReport(rows=read, accepted=read)
            rows = np.array([row for row, _ in batch], dtype=np.int64)
            vectors = self.generation.vectors.take(rows) if self.with_vectors else None
            yield ProductBatch(tuple(product for _, product in batch), vectors)

    def queries(self) -> list[Query]:
        """Return none: the words of titles stand in for them."""
        return []

    def judgments(self) -> list[Judgment]:
        """Return none."""
        return []

    def splits(self) -> dict[str, str]:
        """Return none."""
        return {}

    def _rows(self) -> Iterator[tuple[int, Product]]:
        """Read the version's own products as a stream, which is many times faster than one by one."""
        layers, products = self.generation.living.layers, self.generation.products
        for row, product in enumerate(read_products(self.generation.bundle.folder / "products.parquet")):
            if not layers.dead[row]:
                yield row, product
        for row in range(len(layers.dead), products.count):
            yield row, products.get(row)


def _build_config(config: CompactConfig, bundle: Bundle) -> BuildConfig:
    """Return what the live version was built with, its models taken from the version itself."""
    manifest = bundle.manifest
    encoder = thaw("encoder", manifest.encoder, EncoderConfig) if manifest.encoder is not None else EncoderConfig()
    encoder.model = str(bundle.folder / "encoder") if manifest.encoder is not None else ""
    reranker = thaw("reranker", manifest.reranker, RerankerConfig)
    if isinstance(reranker, CrossEncoderConfig):
        reranker.model = str(bundle.folder / "reranker")
        reranker.student = str(bundle.folder / "student") if reranker.student else ""
    return BuildConfig(
        catalog=CatalogConfig(name=str(manifest.catalogue["name"])),
        text=thaw("text", manifest.text, TextConfig),
        encoder=encoder,
        lexical=thaw("lexical", manifest.lexical, LexicalConfig),
        index=thaw("index", dict(manifest.index["config"]), IndexConfig),
        fusion=thaw("fusion", manifest.fusion, FusionConfig),
        reranker=reranker,
        runtime=config.runtime,
        canary_cosine=float(manifest.canary["cosine"]),
        canary_spread=float(manifest.canary["spread"]),
        keep_versions=config.keep_versions,
    )
