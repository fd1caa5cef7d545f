"""The steps of a build, one after the other: read, encode, index, check, publish. Each leaves its files in staging."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactError, ConfigError
from indexing.storage import FileDigest
from indexing.types import FloatMatrix
from indexing.vectors import VectorStore
from rerank.config import CrossEncoderConfig
from rerank.fingerprint import reranker_fingerprint
from rerank.reranker import open_reranker
from retrieval.catalog import Catalog
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import Fingerprint, tower_fingerprint
from retrieval.lexical import LexicalIndex
from retrieval.product_file import read_products
from retrieval.products import ProductTable
from retrieval.records import Product
from retrieval.survey import token_warnings
from retrieval.text import TextTemplate
from retrieval.tokens import TokenCounter
from shortlist.building.copying import copy_folder
from shortlist.building.describe import catalogue_record, describe
from shortlist.building.index import BuiltIndex, build_dense_index
from shortlist.building.ingest import Ingested, ingest, product_counter
from shortlist.building.precision import PrecisionChoice, canary_cosine, open_encoder
from shortlist.building.report import BuildReport
from shortlist.building.sample import canary_queries, sample_queries
from shortlist.building.tidying import live_name
from shortlist.building.vectors import (
    AGREEMENT_SAMPLE,
    Encoded,
    append_new,
    brought_fingerprint,
    distinct_count,
    encode_missing,
    open_store,
    require_agreement,
    store_path,
)
from shortlist.bundle import Bundle, open_bundle, publish
from shortlist.canary import APPROXIMATE_OVERLAP, Score, record_canary, write_canary
from shortlist.config import BuildConfig
from shortlist.devices import training_device
from shortlist.first_stage import open_first_stage
from shortlist.living.journal import Record, append_change
from shortlist.living.records import Restore
from shortlist.living.standing import standing, standing_now
from shortlist.manifest import CANARY_FILE
from shortlist.progress import progress, say

SHOWN = 10
"""Products named in a warning: enough to see which they are, few enough to read."""


class Steps:
    """The state of one run; each method is a step and leaves its files in ``staging``."""

    def __init__(
        self,
        config: BuildConfig,
        catalog: Catalog,
        encoder_folder: Path | None,
        out: Path,
        staging: Path,
        records: Sequence[Record],
        restore_deleted: bool,
        origin: Mapping[str, Any],
    ) -> None:
        self.config = config
        self.catalog = catalog
        self.encoder_folder = encoder_folder
        self.out = out
        self.staging = staging
        self.template = TextTemplate(config.text)
        self.report = BuildReport(bundle=str(out))
        self.tower = (
            tower_fingerprint(encoder_folder, config.encoder, config.text) if encoder_folder is not None else None
        )
        self.precision = PrecisionChoice(config.runtime.precision, "asked for")
        self.files: dict[str, FileDigest] = {}
        self.restore_deleted = restore_deleted
        self.origin = origin
        self.records = records
        self.journal = standing_now(records)
        self.previous = self._previous()
        self.before = live_name(out)

    def run(self) -> BuildReport:
        """Run every step in order."""
        with self.report.timed("read"):
            ingested, store = self._read()
        with self.report.timed("models"):
            encoder = self._open_encoder()
        with self.report.timed("encode"):
            store, encoded = self._encode(ingested, store, encoder)
        self.files["rows"] = storage.write_bytes(self.staging / "rows", encoded.rows.astype("<i8", copy=False))
        with self.report.timed("lexical"):
            self._lexical()
        with self.report.timed("index"):
            products = ProductTable.open(self.staging / "products.parquet")
            index = self._index(products, store, encoded, encoder)
        with self.report.timed("models"):
            self._models(encoder)
            canary = self._canary(products, store, encoder)
        with self.report.timed("publish"):
            self._publish(ingested, store, encoded, index, canary, products)
        return self.report

    def _read(self) -> tuple[Ingested, VectorStore | None]:
        counter = product_counter(self.encoder_folder, self.config.encoder)
        brought: list[VectorStore] = []

        def store_brought(keys: list[bytes], vectors: FloatMatrix) -> None:
            if not brought:
                fingerprint = brought_fingerprint(vectors.shape[1], self.tower)
                brought.append(open_store(store_path(self.out, fingerprint), dim=vectors.shape[1]))
            append_new(brought[0], keys, vectors)

        with progress("read", 0, unit="products") as advance:
            ingested = ingest(
                self.catalog,
                self.template,
                counter=counter,
                table=self.staging / "products.parquet",
                quarantine=self.staging / "quarantine.jsonl",
                deleted=self.journal.deleted,
                restore=self.restore_deleted,
                store_brought=store_brought,
                advance=advance,
            )
        self._note_deleted(ingested)
        self._note_tokens(ingested, counter)
        return ingested, brought[0] if brought else None

    def _note_deleted(self, ingested: Ingested) -> None:
        if self.restore_deleted:
            self.report.restored = len(ingested.deleted)
        elif ingested.deleted:
            self.report.deleted = len(ingested.deleted)
            shown = ", ".join(map(repr, ingested.deleted[:SHOWN])) + (", ..." if len(ingested.deleted) > SHOWN else "")
            self.report.warnings.append(
                f"{len(ingested.deleted)} products of the catalogue were deleted from this bundle and are left out "
                f"({shown}); bring them back with: shortlist upsert, or all of them with: shortlist build "
                "--restore-deleted"
            )
        superseded = self._superseded()
        if superseded:
            self.report.warnings.append(
                f"{superseded} products were upserted since the version before: the catalogue supersedes them, and "
                "those that it does not hold are gone; what keeps them is: shortlist compact"
            )

    def _superseded(self) -> int:
        """How many upserted products are on top of the live version; 0 where nobody can say."""
        if self.previous is not None and not self.origin:
            manifest = self.previous.manifest
            with suppress(ArtifactCorrupt):  # its part of the journal is lost, which this build gets over
                return len(standing(self.records, journal_seq=manifest.journal_seq, where=manifest.version).added)
        return 0

    def _note_tokens(self, ingested: Ingested, counter: TokenCounter | None) -> None:
        self.report.quarantined = self.catalog.report.quarantined
        self.report.tokens = asdict(ingested.tokens)
        if counter is not None:
            limit = counter.max_tokens
            self.report.warnings += token_warnings(ingested.tokens, self.config.text, max_tokens=limit)
        for warning in self.report.warnings:
            say(f"warning: {warning}")

    def _open_encoder(self) -> DualEncoder | None:
        if self.encoder_folder is None:
            return None
        table = self.staging / "products.parquet"
        encoder, self.precision = open_encoder(self.config, self.catalog, table, self.template)
        self.report.precision = self.precision.to_json()
        return encoder

    def _products(self) -> Iterator[Product]:
        return read_products(self.staging / "products.parquet")

    def _encode(
        self, ingested: Ingested, store: VectorStore | None, encoder: DualEncoder | None
    ) -> tuple[VectorStore, Encoded]:
        count = len(ingested.keys)
        if store is not None:
            rows = store.find(ingested.keys)
            if encoder is not None:
                step = max(1, count // AGREEMENT_SAMPLE)
                texts = [self.template.render(product) for product in islice(self._products(), 0, None, step)]
                require_agreement(encoder.encode_products, texts, store.view(rows[::step]).take(np.arange(len(texts))))
            return store, Encoded(rows=rows, encoded=0, reused=count)
        if encoder is None or self.tower is None:
            raise ConfigError(
                "encoder=none needs a catalogue with vectors, and this one has none; name the column with "
                "catalog.fields.vector=COLUMN, or choose encoder=minilm"
            )
        store = open_store(store_path(self.out, self.tower), dim=encoder.dim)
        self._require_space(encoder.dim, distinct_count(ingested.keys))
        return store, encode_missing(
            store,
            encoder,
            self._products,
            self.template,
            keys=ingested.keys,
            segment_texts=self.config.segment_texts,
            runtime=self.config.runtime,
        )

    def _require_space(self, dim: int, texts: int) -> None:
        """Refuse early what will not fit: vectors once in the store and once in the index, and the model."""
        folder = self.encoder_folder
        model = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder is not None else 0
        storage.require_space(self.out, 2 * 4 * dim * texts + model)

    def _lexical(self) -> None:
        texts = (self.template.render(product) for product in self._products())
        digests = LexicalIndex.write_texts(texts, self.config.lexical, self.staging / "lexical")
        self.files |= {f"lexical/{name}": digest for name, digest in digests.items()}

    def _index(
        self, products: ProductTable, store: VectorStore, encoded: Encoded, encoder: DualEncoder | None
    ) -> BuiltIndex:
        queries = None
        origin = "the catalogue's vectors"
        if encoder is not None:
            sample = sample_queries(self.catalog, products, count=self.config.index.recall_queries)
            queries, origin = encoder.encode_queries(sample.texts), sample.origin
        built = build_dense_index(
            self.config.index,
            store.view(encoded.rows),
            tie_rank=products.tie_rank,
            queries=queries,
            queries_from=origin,
            threads=self.config.runtime.threads,
            device=training_device(self.config.runtime),
            folder=self.staging / "index",
        )
        self.files |= {f"index/{name}": digest for name, digest in built.files.items()}
        self.report.index = dict(built.summary)
        return built

    def _canary(self, products: ProductTable, store: VectorStore, encoder: DualEncoder | None) -> dict[str, Any]:
        """Open what was written and keep what it answers; without an encoder, to products' own vectors."""
        stage = open_first_stage(self.staging, store, threads=self.config.runtime.threads, products=products)
        queries = canary_queries(self.catalog, products, count=self.config.canary_queries)
        own = np.linspace(0, products.count - 1, num=len(queries)).astype(np.int64)
        canary = record_canary(
            queries,
            encoder.encode_queries(queries) if encoder is not None else stage.vectors.take(own),
            stage.retriever(self.config.fusion),
            products,
            template=self.template,
            score=self._score(),
        )
        self.files[CANARY_FILE] = write_canary(self.staging / CANARY_FILE, canary)
        return {
            "file": CANARY_FILE,
            "cosine": canary_cosine(self.config, self.precision.precision),
            "overlap": 1.0 if stage.dense.record.plan.kind == "flat" else APPROXIMATE_OVERLAP,
            "spread": self.config.canary_spread,
        }

    def _score(self) -> Score | None:
        """Open the cross-encoder that was copied, if there is one."""
        config = self.config.reranker
        if not isinstance(config, CrossEncoderConfig):
            return None
        return open_reranker(replace(config, model=str(self.staging / "reranker")), self.config.runtime).score

    def _reranker_fingerprint(self) -> Fingerprint:
        config = self.config.reranker
        if not isinstance(config, CrossEncoderConfig):
            return Fingerprint({})
        student = self.staging / "student" if config.student else None
        return reranker_fingerprint(self.staging / "reranker", config, student)

    def _models(self, encoder: DualEncoder | None) -> None:
        if encoder is not None:
            encoder.save(self.staging / "encoder")
            self._adopt("encoder")
        if isinstance(self.config.reranker, CrossEncoderConfig):
            copy_folder(Path(self.config.reranker.model), self.staging / "reranker")
            self._adopt("reranker")
            if self.config.reranker.student:
                copy_folder(Path(self.config.reranker.student), self.staging / "student")
                self._adopt("student")

    def _adopt(self, name: str) -> None:
        digests = storage.adopt_folder(self.staging / name)
        self.files |= {f"{name}/{file}": digest for file, digest in digests.items()}

    def _publish(
        self,
        ingested: Ingested,
        store: VectorStore,
        encoded: Encoded,
        index: BuiltIndex,
        canary: dict[str, Any],
        products: ProductTable,
    ) -> None:
        for name in ("products.parquet", "quarantine.jsonl"):
            if (self.staging / name).exists():
                self.files[name] = storage.adopt(self.staging / name)
        self._share_unchanged()
        manifest = describe(
            self.config,
            out=self.out,
            catalogue={**catalogue_record(self.catalog, deleted=self.report.deleted), **self.origin},
            journal_seq=self.journal.position.seq,
            tokens=ingested.tokens,
            fingerprint=self._fingerprint(ingested, store),
            reranker=self._reranker_fingerprint(),
            store=store,
            rows=encoded.rows,
            index=index.summary,
            canary=canary,
            files=self.files,
            seconds=self.report.seconds,
            precision=self.precision.to_json(),
        )
        publish(self.out, self.staging, manifest)
        if self.restore_deleted and ingested.deleted:  # after: until then, they stay deleted in what is live
            append_change(self.out, Restore(self.journal.position.seq, tuple(ingested.deleted)), purpose="build")
        self.report.version = manifest.version
        self.report.products = products.count
        self.report.encoded, self.report.reused = encoded.encoded, encoded.reused

    def _fingerprint(self, ingested: Ingested, store: VectorStore) -> Fingerprint:
        if ingested.brought or self.tower is None:
            return brought_fingerprint(store.dim, self.tower)
        return self.tower

    def _share_unchanged(self) -> None:
        """Replace files that equal the previous version's by hard links to them."""
        if self.previous is None:
            return
        for name, digest in self.files.items():
            if self.previous.manifest.files.get(name) == digest:
                storage.remove_file(self.staging / name)
                storage.link_or_copy(self.previous.folder / name, self.staging / name)

    def _previous(self) -> Bundle | None:
        try:
            return open_bundle(self.out)
        except ArtifactError as error:  # nothing there yet, or nothing that may be linked to
            if any(self.out.glob("versions/*")):
                say(f"warning: the live version cannot be reused: {error}")
            return None
