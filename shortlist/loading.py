"""Loading a version: its parts opened, proven against what it stored of itself, and put together as a generation."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from indexing.config import IndexConfig
from indexing.errors import ConfigError, EnvironmentProblem, FingerprintMismatch
from indexing.forks import claim_threads
from indexing.storage import FileDigest
from rerank.cascade import Student, require_cascade, student_config
from rerank.confidence import read_confidence
from rerank.config import CrossEncoderConfig, RerankerConfig
from rerank.cost import CALIBRATION_PAIRS, BatchCost, calibrate
from rerank.fingerprint import reranker_fingerprint
from rerank.reranker import PassThrough, Reranker, open_reranker
from retrieval.config import EncoderConfig, FusionConfig, LexicalConfig, Precision, RuntimeConfig, TextConfig
from retrieval.fingerprint import Fingerprint, differences, text_fields, tower_fingerprint
from retrieval.lanes.choice import choose_backend
from retrieval.products import ProductTable
from retrieval.runtime import choose_device, set_threads
from retrieval.spelling import Spelling, Vocabulary
from retrieval.text import TextTemplate
from shortlist.bundle import Bundle
from shortlist.canary import Canary, check_first_stage, check_reranker, check_tower, read_canary
from shortlist.devices import on_index_device, require_index_device
from shortlist.first_stage import open_first_stage, unobserved
from shortlist.generation import CallableTower, EncodeQueries, Generation, QueryTower
from shortlist.living.state import Living
from shortlist.manifest import CANARY_FILE, Manifest
from shortlist.probe import Probe
from shortlist.product_vectors import EncodeProducts
from shortlist.stored import thaw

logger = logging.getLogger(__name__)

CALIBRATION_TEXTS = max(CALIBRATION_PAIRS)
"""Products, spread over the catalogue, whose texts are measured."""


def load_generation(
    bundle: Bundle,
    *,
    runtime: RuntimeConfig,
    encoder: Path | EncodeQueries | None = None,
    reranking: bool = True,
    probing: bool = True,
    loaded: Callable[[str], None] = unobserved,
    beside: Generation | None = None,
) -> Generation:
    """Load a verified version into memory and prove that its query tower is the one its vectors belong to.

    Args:
        bundle: Opened and verified.
        runtime: Device, threads and precision.
        encoder: A model folder or a function in place of the bundle's own query tower; the folder must have the
            fingerprint, and either must reproduce the canary.
        reranking: Load the reranker if the bundle has one.
        probing: Let a process of its own open the first stage before this one does; see `shortlist.probe`.
        loaded: Told of each part when it is there: ``encoder``, those of `open_first_stage`, ``canary`` (what its
            searches touched), ``reranker``.
        beside: A generation loaded with the same ``runtime`` and ``encoder``; the models that it has in common with the
            version are taken from it and not loaded again.

    Raises:
        FingerprintMismatch: The tower differs; the message names the field.
        ArtifactError: A file does not parse or does not fit the others.
        ConfigError, EnvironmentProblem: The runtime cannot be had.
        ForkSafetyError: This process was forked from one that has used native threads.
    """
    claim_threads()
    require_index_device(runtime)
    asked, runtime = runtime, settled(bundle.manifest, runtime)
    set_threads(runtime)
    manifest = bundle.manifest
    text = thaw("text", manifest.text, TextConfig)
    fusion = thaw("fusion", manifest.fusion, FusionConfig)
    thaw("index", dict(manifest.index["config"]), IndexConfig)
    lexical = thaw("lexical", manifest.lexical, LexicalConfig)
    canary = read_canary(bundle.folder / CANARY_FILE)
    with Probe(bundle, needed=probing) as probe:
        tower = _tower(bundle, text, runtime, encoder, canary, beside)  # while the child is at work
        loaded("encoder")
        probe.wait()
    store = bundle.open_vectors()
    stage = open_first_stage(bundle.folder, store, loaded=loaded)
    stage = replace(stage, dense=on_index_device(stage.dense, runtime))
    products, template = stage.products, TextTemplate(text)
    retriever = stage.retriever(fusion, tower)
    check_first_stage(canary, retriever, products, overlap=float(manifest.canary["overlap"]))
    loaded("canary")
    reranker: Reranker = PassThrough()
    student, cost = None, BatchCost(0.0, 1.0)
    if reranking:
        # What the build measured holds for the encoder alone, so that `auto` here takes what needs no measurement.
        reranker = _reranker(bundle, asked, canary, products, template, beside)
        cost = _cost(reranker, products, template, beside)
        student = _student(bundle, asked, cost, products, template, beside)
        loaded("reranker")
    return Generation(
        name=manifest.version,
        bundle=bundle,
        template=template,
        products=products,
        vectors=stage.vectors,
        retriever=retriever,
        reranker=reranker,
        tower=tower,
        cost=cost,
        student=student,
        living=Living.over(manifest, stage, template, store=store, encode=_product_tower(bundle, tower, runtime)),
        confidence=read_confidence(bundle.folder / "reranker"),
        spelling=Spelling(stage.lexical, _vocabulary(tower)).prepared() if lexical.spelling else None,
    )


def _vocabulary(tower: QueryTower | None) -> Callable[[str], bool]:
    """Return what says whether the query tower knows a word; a caller's function, or no tower, knows none."""
    return tower.knows if isinstance(tower, Vocabulary) else lambda _: False


def settled(manifest: Manifest, runtime: RuntimeConfig) -> RuntimeConfig:
    """Return ``runtime`` with the arithmetic that a version was built in, where ``auto`` is asked for.

    Where this machine cannot compute so, or the version does not say, ``auto`` stays and takes what needs no
    measurement; both are logged.
    """
    recorded = manifest.created.get("precision")
    name = recorded.get("kind") if isinstance(recorded, dict) else None
    if runtime.precision is not Precision.auto or not isinstance(name, str) or name not in Precision.__members__:
        return runtime
    try:
        built_in = replace(runtime, precision=Precision[name])
        choose_backend(built_in, choose_device(built_in))
    except (EnvironmentProblem, ValueError) as reason:
        logger.warning("%s was built in %s, which cannot be had here: %s", manifest.version, name, reason)
        return runtime
    logger.info("precision=%s (what %s was built in)", name, manifest.version)
    return built_in


def _tower(
    bundle: Bundle,
    text: TextConfig,
    runtime: RuntimeConfig,
    given: Path | EncodeQueries | None,
    canary: Canary,
    beside: Generation | None,
) -> QueryTower | None:
    if callable(given):
        _require_text(bundle, text)
        tower: QueryTower = CallableTower(given, int(bundle.manifest.vectors["dim"]))
    elif bundle.manifest.encoder is None:
        if given is not None:
            raise ConfigError(
                f"{bundle.root} was built without an encoder, so no folder can be checked against it; pass a function"
            )
        return None
    else:
        from retrieval.encoder import DualEncoder

        config = thaw("encoder", bundle.manifest.encoder, EncoderConfig)
        folder = Path(given) if given is not None else bundle.folder / "encoder"
        config = replace(config, model=str(folder))
        _require_fingerprint(bundle, config, folder, text)
        tower = _shared_tower(bundle, beside) or DualEncoder.open(config, runtime)
    if bundle.manifest.encoder is not None:  # else the canary's vectors are products', which no query gives again
        check_tower(canary, tower.encode_queries, cosine=float(bundle.manifest.canary["cosine"]))
    return tower


def _product_tower(bundle: Bundle, tower: QueryTower | None, runtime: RuntimeConfig) -> EncodeProducts | None:
    """Return what encodes product texts: the tower itself, or the bundle's own beside a function for queries."""
    encode: EncodeProducts | None = getattr(tower, "encode_products", None)
    if encode is not None or bundle.manifest.encoder is None:
        return encode
    config = replace(thaw("encoder", bundle.manifest.encoder, EncoderConfig), model=str(bundle.folder / "encoder"))

    @cache  # a function for queries was given, so nobody may ever ask
    def opened() -> EncodeProducts:
        from retrieval.encoder import DualEncoder

        return DualEncoder.open(config, runtime).encode_products

    return lambda texts: opened()(texts)


def _require_fingerprint(bundle: Bundle, config: EncoderConfig, folder: Path, text: TextConfig) -> None:
    different = differences(_tower_identity(bundle), tower_fingerprint(folder, config, text))
    if different:
        raise FingerprintMismatch(
            f"the encoder in {folder} is not the one the index of {bundle.manifest.version} was built with: "
            f"{'; '.join(different)}. Open it with the encoder it was built with, or rebuild with: shortlist build"
        )


def _shared_tower(bundle: Bundle, beside: Generation | None) -> QueryTower | None:
    """Return the tower of the generation beside, when the version has the same one."""
    same = beside is not None and _tower_identity(beside.bundle) == _tower_identity(bundle)
    return beside.tower if beside is not None and same else None


def _tower_identity(bundle: Bundle) -> Fingerprint:
    """Return what the manifest says of the query tower; vectors that were brought along say more, of themselves."""
    return Fingerprint({name: value for name, value in bundle.manifest.fingerprint.items() if name != "vectors"})


def _require_text(bundle: Bundle, text: TextConfig) -> None:
    """Refuse a text template that the fingerprint does not know, where the rest of the tower is the caller's own."""
    recorded = {name: value for name, value in bundle.manifest.fingerprint.items() if name in text_fields(text)}
    found = {name: value for name, value in text_fields(text).items() if name in recorded}
    different = differences(Fingerprint(recorded), Fingerprint(found))
    if different:
        raise FingerprintMismatch(
            f"the text template of {bundle.manifest.version} is not the one its index was built with: "
            f"{'; '.join(different)}. Rebuild with: shortlist build"
        )


def _reranker(
    bundle: Bundle,
    runtime: RuntimeConfig,
    canary: Canary,
    products: ProductTable,
    template: TextTemplate,
    beside: Generation | None,
) -> Reranker:
    config: Any = thaw("reranker", bundle.manifest.reranker, RerankerConfig)
    if not isinstance(config, CrossEncoderConfig):
        return PassThrough()
    folder = bundle.folder / "reranker"
    recorded = Fingerprint(bundle.manifest.reranker_fingerprint)
    student = bundle.folder / "student" if config.student else None
    different = differences(recorded, reranker_fingerprint(folder, config, student), stored_in="manifest")
    if different:
        raise FingerprintMismatch(
            f"the cross-encoder in {folder} is not the one that {bundle.manifest.version} was built with: "
            f"{'; '.join(different)}. Rebuild with: shortlist build"
        )
    reranker = _shared_reranker(bundle, beside) or open_reranker(replace(config, model=str(folder)), runtime)
    check_reranker(canary, reranker.score, products, template, spread=float(bundle.manifest.canary["spread"]))
    return reranker


def _shared_reranker(bundle: Bundle, beside: Generation | None) -> Reranker | None:
    """Return the reranker of the generation beside, when the version has the same one, of the same weight."""
    if beside is None or _reranker_identity(beside.bundle) != _reranker_identity(bundle):
        return None
    return beside.reranker


def _reranker_identity(bundle: Bundle) -> tuple[dict[str, Any], dict[str, FileDigest]]:
    """Return all that a reranker is made of: its configuration and the digests of its files."""
    folders = ("reranker/", "student/")
    files = {name: digest for name, digest in bundle.manifest.files.items() if name.startswith(folders)}
    return bundle.manifest.reranker, files


def _student(
    bundle: Bundle,
    runtime: RuntimeConfig,
    cost: BatchCost,
    products: ProductTable,
    template: TextTemplate,
    beside: Generation | None,
) -> Student | None:
    """Open the student that sees candidates first, where there is one; `_reranker` has proven its fingerprint."""
    config: Any = thaw("reranker", bundle.manifest.reranker, RerankerConfig)
    if not isinstance(config, CrossEncoderConfig) or not config.student:
        return None
    if beside is not None and _reranker_identity(beside.bundle) == _reranker_identity(bundle):
        return beside.student
    folder = bundle.folder / "student"
    require_cascade(config, bundle.folder / "reranker", folder)
    front = open_reranker(student_config(config, folder), runtime)
    fronts = _measured(front, products, template)
    fronts.lane = cost.lane  # both want the same cores
    return Student(front, fronts, config.passes)


def _cost(reranker: Reranker, products: ProductTable, template: TextTemplate, beside: Generation | None) -> BatchCost:
    """Measure what batches cost here, on the catalogue's texts, so that the first query can keep a deadline.

    A shared reranker costs what it did when it was opened: it is in use, so a measurement would show the load (5 to 15
    times as much with eight threads searching on two cores), which its cost follows by itself, and leaves again.
    """
    if beside is not None and reranker is beside.reranker:
        return beside.cost
    return _measured(reranker, products, template)


def _measured(reranker: Reranker, products: ProductTable, template: TextTemplate) -> BatchCost:
    if not reranker.fusion.asks or not products.count:
        return BatchCost(0.0, 1.0)  # never asked
    step = max(1, products.count // CALIBRATION_TEXTS)
    texts = [template.render(products.get(row)) for row in range(0, products.count, step)[:CALIBRATION_TEXTS]]
    return calibrate(reranker, " ".join(texts[0].split()[:3]), texts)
