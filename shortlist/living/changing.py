"""Changes to a generation: the journal is the truth, a generation is what it says over one version.

Each function takes a generation and returns the next; nothing is changed in place. Whoever writes reads first what
others have written, under the journal's lock, so that all processes apply the same records in the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexing.errors import ArtifactCorrupt, ConfigError, FingerprintMismatch, VectorError
from indexing.types import FloatMatrix, FloatVector
from indexing.vectors import check_vectors
from retrieval.delta_products import checked, fitted
from retrieval.fingerprint import Fingerprint
from retrieval.lexical import Bm25
from retrieval.records import Product
from retrieval.spelling import Spelling
from shortlist.bundle import VERSIONS, live_version, read_manifest
from shortlist.generation import Generation
from shortlist.living.journal import Journal, Position, Record
from shortlist.living.layers import Layers
from shortlist.living.records import Delete, Upsert
from shortlist.living.standing import Addition, standing
from shortlist.living.vectors import Resolved


@dataclass(frozen=True, slots=True)
class Upserted:
    """What an upsert did.

    Attributes:
        sequence: Number of its record in the journal; of the last one when there was nothing to upsert.
        generation: Name of the generation that shows it.
        products: Products taken.
        new: Those that were not there before; the others were replaced.
        encoded: Texts that had to be encoded.
    """

    sequence: int
    generation: str
    products: int
    new: int
    encoded: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete did.

    Attributes:
        sequence: Number of its record in the journal; of the last one when there was nothing to delete.
        generation: Name of the generation that shows it.
        products: Products that are gone.
        unknown: Ids that no product had. They are deleted all the same: a build leaves them out.
    """

    sequence: int
    generation: str
    products: int
    unknown: tuple[str, ...]


def up_to_date(generation: Generation, records: Sequence[Record] | None = None) -> Generation:
    """Apply the whole journal of the bundle to the version behind a generation.

    Args:
        generation: Whatever was applied to it before does not matter.
        records: The journal as it was read; ``None`` reads it now.

    Raises:
        ArtifactError: The journal was changed or lost, or was folded beyond what the version needs.
        FingerprintMismatch: It holds vectors that are not the version's, and nothing can make others.
        StorageError: It cannot be read.
    """
    manifest, living = generation.bundle.manifest, generation.living
    known = Journal(generation.bundle.root).read() if records is None else records
    stands = standing(known, journal_seq=manifest.journal_seq, where=manifest.version)
    layers = Layers.over(living.layers.base, living.layers.template).deleting(stands.deleted)
    return _with_additions(generation, layers, list(stands.added.values()), stands.position)


def followed(generation: Generation) -> Generation:
    """Apply the records that were written since a generation was made; the same generation when there are none.

    Raises:
        ArtifactError, FingerprintMismatch, StorageError: As `up_to_date`.
    """
    records = Journal(generation.bundle.root).since(generation.living.position)
    if records is None:
        return up_to_date(generation)
    for record in records:
        if not isinstance(record.change, Upsert | Delete):
            return up_to_date(generation)
        generation = _applied(generation, record)
    return generation


def upsert(
    generation: Generation, products: Sequence[Product], vectors: FloatMatrix | None
) -> tuple[Generation, Upserted]:
    """Add products, or replace those of the same id; see `shortlist.engine.SearchEngine.upsert`."""
    taken = checked(products)
    generation = followed(generation)
    living = generation.living
    fitting = fitted(taken, living.layers.kinds)
    resolved = _resolved(generation, fitting) if vectors is None else living.source.given(fitting, vectors)
    if not taken:
        return generation, Upserted(living.position.seq, generation.name, 0, 0, 0)
    journal = Journal(generation.bundle.root)
    with journal.writing(f"upsert {len(taken)} products") as writer:
        latest = followed(generation)
        _require_fitting_live(latest)
        if latest is not generation:  # others have written while texts were encoded here
            fitting = fitted(taken, latest.living.layers.kinds)
            resolved = _reconciled(latest, fitting, resolved)
        change = Upsert(
            tower=living.source.tower,
            products=tuple(fitting),
            keys=resolved.keys,
            vectors=dict(zip(resolved.keys, resolved.matrix, strict=True)),
        )
        # Before it is written: a record that cannot be applied would keep everybody from opening the bundle.
        after = _applied(latest, Record(Position(latest.living.position.seq + 1), change))
        position = writer.append(change, after=latest.living.position)
    after = replace(after, living=replace(after.living, position=position))
    new = sum(product.product_id not in latest.products for product in fitting)
    return after, Upserted(position.seq, after.name, len(fitting), new, resolved.encoded)


def delete(generation: Generation, product_ids: Sequence[str]) -> tuple[Generation, Deleted]:
    """Remove products; see `shortlist.engine.SearchEngine.delete`."""
    wanted = checked_ids(product_ids)
    if not wanted:
        generation = followed(generation)
        return generation, Deleted(generation.living.position.seq, generation.name, 0, ())
    journal = Journal(generation.bundle.root)
    with journal.writing(f"delete {len(wanted)} products") as writer:
        latest = followed(generation)
        position = writer.append(Delete(wanted), after=latest.living.position)
    unknown = tuple(product_id for product_id in wanted if product_id not in latest.products)
    after = _applied(latest, Record(position, Delete(wanted)))
    return after, Deleted(position.seq, after.name, len(wanted) - len(unknown), unknown)


def checked_ids(product_ids: Sequence[str]) -> tuple[str, ...]:
    """Return ids, each once, in their order.

    Raises:
        TypeError: If they are one string, or one of them is none.
        ValueError: If one of them is empty or not valid Unicode, which no product's is.
    """
    if isinstance(product_ids, str):
        raise TypeError(f"product_ids must be a list of strings, got the string {product_ids[:40]!r}")
    for product_id in product_ids:
        if not isinstance(product_id, str):
            raise TypeError(f"a product_id must be a string, got {product_id!r}")
        if not product_id.strip() or any("\ud800" <= character <= "\udfff" for character in product_id):
            raise ValueError(f"a product_id must be valid text that is not empty, got {product_id!r}")
    return tuple(dict.fromkeys(product_ids))


# --- inside -----------------------------------------------------------------------------------------------------------


def _require_fitting_live(generation: Generation) -> None:
    """Refuse brought vectors that the live version, which another process published since, could not show."""
    source, bundle = generation.living.source, generation.bundle
    live, _ = live_version(bundle.root)
    if not source.brought or live == generation.version:
        return
    manifest = read_manifest(bundle.root / VERSIONS / live)
    if manifest.encoder is None and Fingerprint(manifest.fingerprint).product_side.digest != source.tower:
        raise ConfigError(
            f"{live} is live by now and has vectors of dimension {manifest.vectors['dim']}, these have "
            f"{source.store.dim} and could not be shown there; call engine.reload() first"
        )


def _applied(generation: Generation, record: Record) -> Generation:
    """Apply the next record to a generation."""
    layers = generation.living.layers
    match record.change:
        case Upsert() as change:
            additions = [
                Addition(product, change.tower, key, change.vectors[key])
                for product, key in zip(change.products, change.keys, strict=True)
            ]
            return _with_additions(generation, layers, additions, record.position)
        case Delete(product_ids=product_ids):
            return _assembled(generation, layers.deleting(product_ids), record.position)
    raise TypeError(f"expected an upsert or a delete, got {type(record.change).__name__}")


def _with_additions(
    generation: Generation, layers: Layers, additions: Sequence[Addition], position: Position
) -> Generation:
    if additions:
        products = fitted([addition.product for addition in additions], layers.kinds, lenient=True)
        resolved = _recorded(_assembled(generation, layers, position), products, additions)
        layers = layers.upserting(products, resolved.keys, resolved.matrix)
    return _assembled(generation, layers, position)


def _recorded(generation: Generation, products: Sequence[Product], additions: Sequence[Addition]) -> Resolved:
    """Return the vectors that records bring; those of another tower are made again, from the products' texts."""
    source = generation.living.source
    ours = [addition.tower == source.tower for addition in additions]
    try:
        for addition, own in zip(additions, ours, strict=True):
            if own:
                check_vectors(addition.vector.reshape(1, -1), dim=source.store.dim, names=[addition.product.product_id])
        if source.brought and all(ours):
            return source.recorded([a.key for a in additions], [a.vector for a in additions])
        known = {a.key: a.vector for a, own in zip(additions, ours, strict=True) if own and not source.brought}
        return _resolved(generation, products, known)
    except VectorError as error:
        if all(ours):
            root = generation.bundle.root
            raise ArtifactCorrupt(f"the journal of {root} holds vectors that cannot be indexed: {error}") from error
        raise FingerprintMismatch(
            f"the journal of {generation.bundle.root} holds vectors that are not those of {generation.name}: {error}; "
            "upsert these products again after another build"
        ) from error


def _resolved(
    generation: Generation, products: Sequence[Product], known: Mapping[bytes, FloatVector] | None = None
) -> Resolved:
    living = generation.living
    there = generation.products, generation.vectors
    return living.source.resolve(products, living.layers, there=there, known=known)


def _reconciled(latest: Generation, products: Sequence[Product], before: Resolved) -> Resolved:
    """Let a text that others have upserted meanwhile have one vector: theirs."""
    if latest.living.source.brought:
        return before
    known = dict(zip(before.keys, before.matrix, strict=True))
    return replace(_resolved(latest, products, known), encoded=before.encoded)


def _assembled(generation: Generation, layers: Layers, position: Position) -> Generation:
    """Return a generation over these layers, with the models of another over the same version."""
    manifest = generation.bundle.manifest
    since = f"+{position.seq}" if position.seq > manifest.journal_seq else ""
    products = layers.products()
    retriever = layers.retriever(generation.retriever, products)
    return replace(
        generation,
        name=manifest.version + since,
        products=products,
        vectors=layers.vectors(),
        retriever=retriever,
        spelling=_over(generation.spelling, retriever.lexical),
        living=replace(generation.living, layers=layers, position=position),
    )


def _over(spelling: Spelling | None, lexical: Bm25 | None) -> Spelling | None:
    return spelling if spelling is None or lexical is None else spelling.over(lexical)
