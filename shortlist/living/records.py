"""What a record of the journal says, and its JSON: self-contained, so that any version can be brought up to date."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from indexing.errors import ArtifactCorrupt, SourceDataError
from indexing.keys import KEY_BYTES
from indexing.types import FloatVector
from retrieval.delta_products import checked
from retrieval.records import Product


@dataclass(frozen=True, slots=True)
class Upsert:
    """Products that are new, or replace those of the same id.

    Attributes:
        tower: Digest of the fingerprint's product side (`retrieval.fingerprint`) that the vectors belong to.
        products: As `retrieval.delta_products.checked` returns them, ids distinct.
        keys: The key of each product's vector: of its text, or of the vector itself where vectors are brought.
        vectors: Every key's vector, float32 [d].
    """

    tower: str
    products: tuple[Product, ...]
    keys: tuple[bytes, ...]
    vectors: Mapping[bytes, FloatVector]


@dataclass(frozen=True, slots=True)
class Delete:
    """Products that are gone, whether or not there were any of these ids, until a later upsert."""

    product_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """Products that a build brought back: deletes up to ``as_of`` no longer stand for versions begun since then."""

    as_of: int
    product_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is left of all records up to one: product_id -> sequence of the delete that stands."""

    deleted: Mapping[str, int]


Change: TypeAlias = Upsert | Delete | Restore | Checkpoint


def change_json(change: Change) -> dict[str, Any]:
    """Return JSON values; the inverse of `parse_change`."""
    match change:
        case Upsert():
            products = zip(change.products, change.keys, strict=True)
            return {
                "op": "upsert",
                "tower": change.tower,
                "products": [_product_json(product, key) for product, key in products],
                "vectors": {key.hex(): _encoded(vector) for key, vector in change.vectors.items()},
            }
        case Delete():
            return {"op": "delete", "product_ids": list(change.product_ids)}
        case Restore():
            return {"op": "restore", "as_of": change.as_of, "product_ids": list(change.product_ids)}
        case Checkpoint():
            return {"op": "checkpoint", "deleted": dict(change.deleted)}


def parse_change(values: Mapping[str, Any], *, where: str) -> Change:
    """Check the fields of a record, its place in the journal apart, and return what it says.

    Raises:
        ArtifactCorrupt: A field is missing, unknown, or holds what no record does; naming ``where``.
    """
    fields = dict(values)
    try:
        match fields.pop("op"):
            case "upsert":
                return _upsert(**fields)
            case "delete":
                return Delete(_ids(**fields))
            case "restore":
                return Restore(_number(fields.pop("as_of")), _ids(**fields))
            case "checkpoint":
                return _checkpoint(**fields)
            case unknown:
                raise ValueError(f"unknown op {unknown!r}")
    except (KeyError, TypeError, ValueError, AttributeError, SourceDataError) as error:
        raise ArtifactCorrupt(f"{where} does not hold what a record of the journal holds: {error!r}") from error


def _product_json(product: Product, key: bytes) -> dict[str, Any]:
    """Attributes as pairs: their order counts, since a text template may take the first few."""
    return asdict(product) | {"attributes": [list(pair) for pair in product.attributes.items()], "key": key.hex()}


def _upsert(tower: str, products: Sequence[dict[str, Any]], vectors: Mapping[str, str]) -> Upsert:
    keys = tuple(_key(values["key"]) for values in products)
    made = [_product(values) for values in products]
    if checked(made) != made:
        raise ValueError("a product is not as an upsert takes it")
    decoded = {_key(key): _decoded(text) for key, text in vectors.items()}
    if set(keys) != set(decoded) or len({len(vector) for vector in decoded.values()}) != 1:
        raise ValueError("every product needs its vector, and all vectors one dimension")
    return Upsert(str(tower), tuple(made), keys, decoded)


def _product(values: Mapping[str, Any]) -> Product:
    fields = {name: value for name, value in values.items() if name != "key"}
    return Product(**fields | {"attributes": dict(fields["attributes"])})


def _checkpoint(deleted: Mapping[str, int]) -> Checkpoint:
    return Checkpoint({str(product_id): _number(seq) for product_id, seq in deleted.items()})


def _ids(product_ids: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(product_ids, list) or not all(isinstance(product_id, str) for product_id in product_ids):
        raise ValueError("product_ids must be a list of texts")
    return tuple(product_ids)


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a sequence number, got {value!r}")
    return value


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != KEY_BYTES:
        raise ValueError(f"expected a key of {KEY_BYTES} bytes, got {len(key)}")
    return key


def _encoded(vector: FloatVector) -> str:
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")


def _decoded(text: str) -> FloatVector:
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a vector is not base64: {error}") from error
    return np.frombuffer(content, dtype="<f4")
