"""Job ``tune``: the live version's index at the cheapest search parameters that reach the recall asked for.

A version never changes, so a tuned one is published beside it: every file is a hard link to the same file, but for the
record of the index, which says how it is searched, and the canary, which says what it now answers. ``rollback`` goes
back. The chosen parameters stand in the version's configuration from then on, so compaction keeps them.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.errors import ConfigError, GateFailed, SourceDataError, StorageError
from indexing.exact import ExactIndex
from indexing.faiss_index import FaissIndex
from indexing.index_record import RECORD_FILE, write_record
from indexing.tuning import Point, Tuning, grid, tune
from indexing.types import FloatMatrix
from retrieval.config import EncoderConfig, FusionConfig, TextConfig
from retrieval.runtime import set_threads
from retrieval.text import TextTemplate, normalise_query
from shortlist.building.describe import renamed
from shortlist.building.index import own_vectors
from shortlist.building.report import BuildReport
from shortlist.building.sample import title_queries
from shortlist.building.tidying import remove_superseded
from shortlist.bundle import LOCK, STAGING, Bundle, open_bundle, publish
from shortlist.canary import read_canary, record_canary, write_canary
from shortlist.config import TuneConfig
from shortlist.first_stage import FirstStage, open_first_stage
from shortlist.manifest import CANARY_FILE
from shortlist.progress import progress, say
from shortlist.stored import thaw

_RECORD = f"index/{RECORD_FILE}"


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What ``tune`` found and did.

    Attributes:
        version: The version that is live now; empty when nothing was published.
        kind: Of the index.
        queries_from: Where the queries came from.
        before: The search parameters as they were.
        tuning: The curve and the chosen point.
        seconds: It took.
    """

    version: str
    kind: str
    queries_from: str
    before: Mapping[str, int | float]
    tuning: Tuning
    seconds: float


def tune_bundle(config: TuneConfig, *, root: Path, queries: Path | None = None, publishing: bool = True) -> TuneReport:
    """Choose the operating point of the live version's index and publish the version that has it.

    Args:
        config: The recall asked for.
        root: The bundle directory.
        queries: A query a line, UTF-8, of which ``index.recall_queries`` are asked, evenly spread; ``None`` takes the
            heads of product titles, which are easier to answer than what people type.
        publishing: Publish; otherwise only the curve is measured.

    Raises:
        ConfigError: The index has no search parameters, or queries were given to a bundle without an encoder.
        SourceDataError: The file of queries cannot be used.
        GateFailed: No point reaches the target; nothing is published.
        ArtifactError, StorageError: The bundle cannot be opened or written.
        BuildLocked: A build runs into ``root``.
    """
    start = time.perf_counter()
    texts = _read_queries(queries) if queries is not None else None
    set_threads(config.runtime)
    with storage.exclusive_lock(root / LOCK, purpose="tune"):
        bundle = open_bundle(root)
        try:
            stage = open_first_stage(bundle.folder, bundle.open_vectors(), threads=config.runtime.threads)
            tuning, origin = _measure(config, bundle, stage, texts)
            version = _publish(config, bundle, stage.dense, tuning, origin) if publishing else ""
        finally:
            bundle.lease.close()
    before = stage.dense.record.plan
    seconds = round(time.perf_counter() - start, 3)
    return TuneReport(version, before.kind, origin, dict(before.parameters), tuning, seconds)


def _measure(config: TuneConfig, bundle: Bundle, stage: FirstStage, texts: list[str] | None) -> tuple[Tuning, str]:
    """Sweep the parameters; return the curve and where the queries came from."""
    index, asked = stage.dense, config.index
    if not index.record.plan.effort:
        raise ConfigError(
            f"the index is of kind {index.record.plan.kind}, which is exact and has nothing to tune; build an "
            "approximate one, such as index=hnsw_sq8"
        )
    vectors, origin = _query_vectors(config, bundle, stage, texts)
    k = min(asked.recall_k, index.count)
    say(f"tune: exact answers to {len(vectors)} queries ({origin})")
    exact = ExactIndex(stage.vectors, tie_rank=stage.products.tie_rank).search(vectors, k)
    points = sum(len(row) for row in grid(index.record.plan, k=k, count=index.record.distinct))
    with progress("tune", points, unit="points") as advance:
        tuning = tune(index, vectors, exact, k=k, target=asked.recall_target, advance=advance)
    if tuning.chosen is None:
        best = max(tuning.points, key=lambda point: point.recall)
        raise GateFailed(
            f"no search parameters of {index.record.plan.kind} reach recall@{k} of {asked.recall_target}: the best of "
            f"{len(tuning.points)} is {best.recall:.4f} at {dict(best.parameters)}; lower index.recall_target, or "
            "build with more links, bits or another kind"
        )
    return tuning, origin


def _query_vectors(
    config: TuneConfig, bundle: Bundle, stage: FirstStage, texts: list[str] | None
) -> tuple[FloatMatrix, str]:
    """Return the vectors that are searched for, float32 [q, d], and where they came from."""
    wanted = config.index.recall_queries
    if bundle.manifest.encoder is None:
        if texts is not None:
            raise ConfigError(
                f"{bundle.root} was built without an encoder, so --queries cannot be encoded; leave it out"
            )
        return own_vectors(stage.vectors, wanted), "products' own vectors"
    from retrieval.encoder import DualEncoder

    if texts is None:
        sample = title_queries(stage.products, count=wanted)
        chosen, origin = list(sample.texts), sample.origin
    else:
        places = np.linspace(0, len(texts) - 1, num=min(wanted, len(texts))).astype(np.int64)
        chosen, origin = [texts[place] for place in places.tolist()], "--queries"
    encoder_config = thaw("encoder", bundle.manifest.encoder, EncoderConfig)
    encoder = DualEncoder.open(replace(encoder_config, model=str(bundle.folder / "encoder")), config.runtime)
    return encoder.encode_queries(chosen), origin


def _read_queries(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceDataError(f"expected a query a line in UTF-8 in {path}: {error}") from error
    texts = list(dict.fromkeys(normalise_query(line) for line in lines if line.strip()))
    if not texts:
        raise SourceDataError(f"expected a query a line in {path}, found none")
    return texts


# --- publishing -------------------------------------------------------------------------------------------------------


def _publish(config: TuneConfig, bundle: Bundle, index: FaissIndex, tuning: Tuning, origin: str) -> str:
    """Publish the tuned version and return its name."""
    chosen = tuning.chosen
    if chosen is None:
        raise ValueError("there is no chosen point to publish")
    staging = bundle.root / STAGING
    storage.remove_leftovers(bundle.root)
    storage.remove_folder(staging)
    storage.make_folder(staging)
    try:
        version = _write_version(bundle, index.tuned(**chosen.parameters), tuning, chosen, origin, staging)
    except BaseException:
        with suppress(StorageError):  # the first error is the one to report
            storage.remove_folder(staging)
        raise
    report = BuildReport(bundle=str(bundle.root))
    remove_superseded(bundle.root, config.keep_versions, previous=bundle.manifest.version, report=report)
    return version


def _write_version(bundle: Bundle, index: FaissIndex, tuning: Tuning, chosen: Point, origin: str, staging: Path) -> str:
    manifest = bundle.manifest
    for name in sorted(manifest.files):
        if name not in (_RECORD, CANARY_FILE):
            storage.make_folder((staging / name).parent)
            storage.link_or_copy(bundle.folder / name, staging / name)
    listed = {name.removeprefix("index/"): digest for name, digest in manifest.files.items() if name != _RECORD}
    files = {name: digest for name, digest in manifest.files.items() if name not in (_RECORD, CANARY_FILE)}
    described = {name: listed[name] for name in listed if f"index/{name}" in manifest.files}
    files[_RECORD] = write_record(staging / "index", index.record, described)
    files[CANARY_FILE] = _write_canary(bundle, staging)
    measured = {"k": tuning.k, "value": chosen.recall, "queries": tuning.queries, "queries_from": origin}
    settings = {name: value for name, value in chosen.parameters.items() if name in manifest.index["config"]}
    summary = {
        **manifest.index,
        "config": {**manifest.index["config"], **settings},
        "recall": measured,
        "tuning": tuning.values(),
    }
    tuned = renamed(replace(manifest, index=summary, files=dict(sorted(files.items()))), bundle.root)
    publish(bundle.root, staging, tuned)
    return tuned.version


def _write_canary(bundle: Bundle, staging: Path) -> storage.FileDigest:
    """Ask the tuned version what the canary asks; its vectors, and what a cross-encoder said, are as they were."""
    manifest, before = bundle.manifest, read_canary(bundle.folder / CANARY_FILE)
    stage = open_first_stage(staging, bundle.open_vectors())
    after = record_canary(
        before.queries,
        before.vectors,
        stage.retriever(thaw("fusion", manifest.fusion, FusionConfig)),
        stage.products,
        template=TextTemplate(thaw("text", manifest.text, TextConfig)),
        score=None,
    )
    return write_canary(staging / CANARY_FILE, replace(after, pairs=before.pairs))
