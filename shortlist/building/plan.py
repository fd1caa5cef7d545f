"""The plan of a build (``--dry-run``): what would be read, encoded and written, and about how long and how large."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing.auto import choose_index
from indexing.config import AutoConfig
from indexing.vectors import VectorStore
from retrieval.catalog import open_catalog
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import tower_fingerprint
from retrieval.models import model_folder
from retrieval.text import TextTemplate, text_key
from retrieval.tokens import TokenCounts
from shortlist.building.ingest import product_counter, without
from shortlist.building.vectors import store_path
from shortlist.building.workers import require_devices
from shortlist.config import BuildConfig
from shortlist.living.journal import Journal
from shortlist.living.standing import standing_now
from shortlist.progress import progress
from shortlist.stored import freeze

TIMED_TEXTS = 256
"""Texts encoded to learn this machine's rate: some two seconds of one core."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build would do; nothing was written.

    Attributes:
        products: Rows that would be in the version.
        quarantined: Rows that would be set aside.
        deleted: Rows that would be left out because their product was deleted from the bundle.
        texts: Distinct texts.
        to_encode: Texts whose vector the store does not hold.
        tokens: Counts of the encoder's tokenizer.
        texts_per_s: Rate measured on a sample, in this process; 0 without an encoder.
        encode_s: Expected seconds of encoding.
        index: Kind that would be built, and why.
        memory_bytes: Vectors once in memory, for the index.
        disk_bytes: Vectors in the store and in the index; models and product fields come on top.
    """

    products: int
    quarantined: int
    deleted: int
    texts: int
    to_encode: int
    tokens: TokenCounts
    texts_per_s: float
    encode_s: float
    index: dict[str, Any]
    memory_bytes: int
    disk_bytes: int


def plan(config: BuildConfig, *, source: Path, out: Path, restore_deleted: bool = False) -> Plan:
    """Read the catalogue once and work out what ``build`` would do.

    Args:
        config: As for ``build``.
        source: Folder of the catalogue's files.
        out: Bundle directory; may be absent.
        restore_deleted: As for ``build``.

    Raises:
        ConfigError, SourceDataError, EnvironmentProblem: As ``build``, before anything would be written.
    """
    require_devices(config.runtime)
    catalog = open_catalog(config.catalog, source)
    template = TextTemplate(config.text)
    folder = model_folder(config.encoder.model) if config.encoder.model else None
    counter = product_counter(folder, config.encoder)
    deleted = {} if restore_deleted else standing_now(Journal(out).read()).deleted
    tokens, keys, sample, dim, rows, left_out = TokenCounts(), set[bytes](), list[str](), 0, 0, 0
    with progress("read", 0, unit="products") as advance:
        for whole in catalog.products():
            batch = without(whole, deleted)
            rows += len(batch.products)
            left_out += len(whole.products) - len(batch.products)
            if batch.vectors is not None:
                dim = batch.vectors.shape[1]
            else:
                texts = [template.render(product) for product in batch.products]
                keys.update(text_key(text) for text in texts)
                sample += texts[: TIMED_TEXTS - len(sample)]
                tokens += counter.count(texts) if counter is not None else TokenCounts()
            advance(len(whole.products))
    rate = 0.0
    missing = 0
    if folder is not None and not dim:
        encoder = DualEncoder.open(config.encoder, config.runtime)
        dim, rate = encoder.dim, _rate(encoder, sample)
        missing = _missing(store_path(out, tower_fingerprint(folder, config.encoder, config.text)), dim, keys)
    return Plan(
        products=rows,
        quarantined=catalog.report.quarantined,
        deleted=left_out,
        texts=len(keys),
        to_encode=missing,
        tokens=tokens,
        texts_per_s=rate,
        encode_s=missing / rate if rate else 0.0,
        index=_index(config, rows, dim),
        memory_bytes=4 * dim * rows,
        disk_bytes=4 * dim * (missing + rows),
    )


def _rate(encoder: DualEncoder, sample: list[str]) -> float:
    encoder.encode_products(sample[:8])  # the first call allocates
    start = time.perf_counter()
    encoder.encode_products(sample)
    return len(sample) / (time.perf_counter() - start)


def _missing(store: Path, dim: int, keys: set[bytes]) -> int:
    if not store.is_dir():
        return len(keys)
    return int((VectorStore.open(store, dim=dim).find(sorted(keys)) < 0).sum())


def _index(config: BuildConfig, rows: int, dim: int) -> dict[str, Any]:
    if not isinstance(config.index, AutoConfig):
        return {"kind": freeze("index", config.index)["kind"], "reason": "asked for"}
    choice = choose_index(config.index, count=rows, dim=dim)
    return {"kind": freeze("index", choice.config)["kind"], "reason": choice.reason}


def plan_text(planned: Plan) -> str:
    """Return the plan as ``shortlist build --dry-run`` prints it."""
    tokens = planned.tokens
    rate = f", {planned.texts_per_s:.0f} texts/s on a sample: about {planned.encode_s:.0f} s"
    return "\n".join(
        [
            "plan (nothing was written)",
            f"  products  {planned.products}, quarantined rows {planned.quarantined}, deleted {planned.deleted}, "
            f"distinct texts {planned.texts}",
            f"  tokens    {tokens.tokens}; {tokens.truncated_share:.1%} of texts truncated, "
            f"{tokens.unknown_share:.2%} of tokens unknown",
            f"  encode    {planned.to_encode} texts{rate if planned.texts_per_s else ''}",
            f"  index     {planned.index['kind']} ({planned.index['reason']})",
            f"  memory    {planned.memory_bytes / 2**20:.0f} MiB of vectors",
            f"  disk      {planned.disk_bytes / 2**20:.0f} MiB of vectors, the models and the product fields on top",
        ]
    )
