"""Writing the product file in one pass over the catalogue, with memory that does not grow with it.

The type of an extra column is known only when the last product has been seen. So the stream goes to a spool file first,
with the extra values of each product as one JSON text, and from there to the product file in row groups of fixed size:
the file's bytes do not depend on how the stream was cut into batches.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexing import storage
from indexing.errors import ArtifactCorrupt, SourceDataError
from retrieval.records import Product, Scalar
from retrieval.text import scalar_text

FORMAT = 1
FORMAT_KEY = b"shortlist.products"
"""Key of the format version in the schema's metadata."""

_TEXT = pa.string()
CORE = pa.schema(
    [
        pa.field("product_id", _TEXT),
        pa.field("title", _TEXT),
        pa.field("description", _TEXT),
        pa.field("brand", _TEXT),
        pa.field("category", _TEXT),
        pa.field("price", pa.float64()),
        pa.field("attributes", pa.map_(_TEXT, _TEXT)),
    ]
)
"""The columns that every product file begins with."""

EXTRA_TYPES = (_TEXT, pa.float64(), pa.int64(), pa.bool_())

_SPOOLED = CORE.append(pa.field("extra", _TEXT))
_ROW_GROUP = 16_384  # rows; with 60 attributes each (Icecat) some 30 MB of Arrow memory
_READ_ROWS = 1_024  # rows turned into Python objects at a time
_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # the integers that a float64 holds


def write_products(path: Path, batches: Iterable[Sequence[Product]]) -> storage.FileDigest:
    """Write products to a new Parquet file, in the order they come.

    An extra column is integers, decimals (integers among them included), yes/no, or text; one whose values are of
    several kinds, or too large for 64 bits, becomes text (`scalar_text`, so that a text template renders it as before).
    A product that lacks an extra column has null there, as has one whose price or extra value is NaN or infinite. That
    ids are unique is for the reader of the catalogue to see to.

    Args:
        path: Must not exist. A folder ``<name>.spool`` lies beside it meanwhile.
        batches: Any number of products at a time.

    Raises:
        SourceDataError: If an extra column has the name of a product field or begins with ``attributes.``, a value is
            no scalar, or a text is not valid Unicode (a lone surrogate).
        StorageError: If the file system refuses.
    """
    spool = path.with_name(f"{path.name}.spool")
    storage.remove_folder(spool)  # left by a build that was killed
    storage.make_folder(spool)
    try:
        kinds: dict[str, set[str]] = {}
        with _parquet(spool / "rows.parquet", _SPOOLED) as (writer, _):
            for batch in batches:
                if batch:
                    writer.write_batch(_spooled(batch, kinds))
        return _write_typed(path, spool / "rows.parquet", {name: column_type(kinds[name]) for name in kinds})
    finally:
        storage.remove_folder(spool)


def read_products(path: Path) -> Iterator[Product]:
    """Stream the products of a file that `write_products` wrote, in order, checksums verified; a row group at a time.

    Raises:
        ArtifactCorrupt: If it does not read, or a checksum is wrong.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for rows in file.iter_batches(_READ_ROWS):
                for values in rows.to_pylist():
                    extra = {name: values[name] for name in rows.schema.names[len(CORE) :]}
                    yield Product(
                        product_id=values["product_id"],
                        title=values["title"],
                        description=values["description"] or "",
                        brand=values["brand"] or "",
                        category=values["category"] or "",
                        attributes=dict(values["attributes"]),
                        price=values["price"],
                        extra=extra,
                    )
    except (pa.ArrowException, OSError) as error:
        raise ArtifactCorrupt(f"{path} does not read as Parquet: {error}; build the bundle again") from error


class _Sink:
    """The little of a file that Arrow needs to write into storage."""

    closed = False

    def __init__(self, file: storage.FileWriter) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        return self._file.write(content)

    def close(self) -> None:
        """Storage closes the file."""


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[tuple[pq.ParquetWriter, storage.FileWriter]]:
    with storage.writer(path) as file:
        sink = pa.PythonFile(_Sink(file), mode="w")
        with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
            yield writer, file


def _spooled(batch: Sequence[Product], kinds: dict[str, set[str]]) -> pa.RecordBatch:
    columns = core_columns(batch) | {"extra": [_extra_json(product, kinds) for product in batch]}
    try:
        return pa.record_batch(columns, schema=_SPOOLED)
    except UnicodeEncodeError as error:
        raise SourceDataError(f"expected valid Unicode in every text, got {error.object!r}: {error.reason}") from error


def core_columns(batch: Sequence[Product]) -> dict[str, list[Any]]:
    """Return the fields of products as the columns `CORE` names them; what is empty is null."""
    return {
        "product_id": [product.product_id for product in batch],
        "title": [product.title for product in batch],
        "description": [product.description or None for product in batch],
        "brand": [product.brand or None for product in batch],
        "category": [product.category or None for product in batch],
        "price": [_finite(product.price) for product in batch],
        "attributes": [list(product.attributes.items()) for product in batch],
    }


def _extra_json(product: Product, kinds: dict[str, set[str]]) -> str:
    """Return the extra values of a product as JSON, and take note of the kind of each."""
    values = {name: _finite(value) for name, value in product.extra.items()}
    for name, value in values.items():
        if name not in kinds:
            _check_name(name, product)
        if value is not None and type(value) not in (bool, int, float, str):
            raise SourceDataError(
                f"extra column {name!r} of product {product.product_id!r} must hold text, a number or a yes/no value, "
                f"got {type(value).__name__}"
            )
        kinds.setdefault(name, set()).add(value_kind(value))
    return json.dumps(values, ensure_ascii=False)


def _check_name(name: str, product: Product) -> None:
    if name in CORE.names or name.startswith("attributes."):
        raise SourceDataError(
            f"extra column {name!r} (product {product.product_id!r}) has the name of a product field; "
            f"rename it, or map it to that field"
        )


def _finite(value: Any) -> Any:  # noqa: ANN401 - any scalar goes through
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_kind(value: Scalar) -> str:
    """Return what a column must be able to hold for ``value``."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes/no"
        case int() if value in _EXACT:
            return "small integer"
        case int() if value in _INT64:
            return "integer"
        case float():
            return "decimal"
    return "text"


def column_type(kinds: set[str]) -> pa.DataType:
    """Return the type of a column whose values are of these kinds (`value_kind`)."""
    held = kinds - {"nothing"}
    if not held:
        return _TEXT
    if held == {"yes/no"}:
        return pa.bool_()
    if held <= {"small integer", "integer"}:
        return pa.int64()
    return pa.float64() if held <= {"small integer", "decimal"} else _TEXT


def _write_typed(path: Path, spooled: Path, types: dict[str, pa.DataType]) -> storage.FileDigest:
    schema = CORE
    for name, type_ in types.items():
        schema = schema.append(pa.field(name, type_))
    schema = schema.with_metadata({FORMAT_KEY: str(FORMAT)})
    with pq.ParquetFile(spooled, page_checksum_verification=True) as source, _parquet(path, schema) as (writer, file):
        for rows in source.iter_batches(_ROW_GROUP):
            extras = [json.loads(text) for text in rows["extra"].to_pylist()]
            added = [typed_column([extra.get(name) for extra in extras], type_) for name, type_ in types.items()]
            writer.write_batch(pa.record_batch([*(rows[name] for name in CORE.names), *added], schema=schema))
    return file.digest


def typed_column(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Return values as one of the `EXTRA_TYPES` that `column_type` found for them; ``None`` is null."""
    if type_ == _TEXT:
        values = [None if value is None else scalar_text(value) for value in values]
    if type_ == pa.float64():
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, type_)
