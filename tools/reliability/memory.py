"""Build catalogues of 100,000 and of 1,000,000 products up to the final index: the peak of memory hardly differs.

The final index is in memory by its nature (its vectors, or what stands for them; ids and fields to settle ties and to
try it), so a build is stopped where it begins. Everything before runs as always: reading, product file, token counts,
text keys, encoding, vector store, lexical index. Every product has a text, a model number and a word of its own.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from indexing.storage import FileDigest
from indexing.types import FloatMatrix
from retrieval.config import FileFormat, TabularCatalog
from retrieval.product_file import write_products
from retrieval.records import Product
from shortlist.building import steps
from shortlist.building.job import build
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.processes import Ended, in_child
from tools.reliability.harness.shop import WORDS, StubEncoder, build_config, scratch, stub_encoder, write_model

ALLOWED_MIB = 64
PATIENCE_S = 3_600.0
SEGMENT_TEXTS = 8_192  # the default of a build
_GROUP = 10_000


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the growth of the peak between the two catalogues."""
    small, large = (5_000, 50_000) if quick else (100_000, 1_000_000)
    with scratch() as folder:
        model = write_model(folder / "model")
        peaks = []
        for count in (small, large):
            ended = in_child(lambda count=count: write_catalogue(folder / str(count), count))  # type: ignore[misc]
            if ended.value != count:
                yield Figure("memory of a build", {}, (f"{count} products could not be written: {ended}",))
                return
            ended = in_child(lambda count=count: peak_mib(model, folder / str(count)), patience_s=PATIENCE_S)  # type: ignore[misc]
            peaks.append(ended)
        yield verdict(small, large, *peaks)


def verdict(small: int, large: int, *peaks: Ended) -> Figure:
    """Return the figure of two peaks, in MiB."""
    failures = [f"the build ended without a peak: {ended}" for ended in peaks if not ended.value]
    if failures:
        return Figure("memory of a build", {}, tuple(failures))
    first, second = (int(ended.value) for ended in peaks)
    counts = {f"peak_mib_{small}": first, f"peak_mib_{large}": second, "growth_mib": second - first}
    grown = [f"it grew by {second - first} MiB, at most {ALLOWED_MIB} allowed"] if second - first > ALLOWED_MIB else []
    return Figure("memory of a build", counts, tuple(grown))


def write_catalogue(folder: Path, count: int) -> int:
    """Write ``count`` products as Parquet in row groups; return their number."""
    folder.mkdir(parents=True)
    schema = pa.schema([("product_id", pa.string()), ("title", pa.string()), ("price", pa.float64())])
    with pq.ParquetWriter(folder / "products.parquet", schema) as writer:
        for first in range(0, count, _GROUP):
            numbers = range(first, min(first + _GROUP, count))
            titles = [
                f"{WORDS[n % 12]} {WORDS[n // 12 % 12]} {WORDS[n // 7 % 12]} m{n} x{n * 7919 % count}" for n in numbers
            ]
            columns = [[f"product-{n:08d}" for n in numbers], titles, [n % 997 + 0.5 for n in numbers]]
            writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema=schema))
    return count


class _IndexBegins(Exception):
    """The build has come to its final index."""


class _TheIndexsOwn:
    """Stands for the table of products: the first thing that the step of the final index opens."""

    @staticmethod
    def write(path: Path, batches: Iterable[Sequence[Product]]) -> FileDigest:
        """Write it, as ever."""
        return write_products(path, batches)

    @staticmethod
    def open(_path: Path) -> NoReturn:
        """Say that the step has begun."""
        raise _IndexBegins


class Forgetful(StubEncoder):
    """A stub that keeps no list of what it encoded."""

    def encode_products(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> FloatMatrix:
        """Encode and forget."""
        vectors = super().encode_products(texts, progress=progress)
        self.encoded.clear()
        return vectors


def peak_mib(model: Path, source: Path) -> int:
    """Build until the index begins and return the most memory that this process has had resident, in MiB."""
    steps.ProductTable = _TheIndexsOwn  # type: ignore[misc, assignment]
    catalog = TabularCatalog(name="shop", format=FileFormat.parquet, products="products.parquet", keep=["*"])
    config = replace(build_config(model, segment_texts=SEGMENT_TEXTS), catalog=catalog)
    try:
        with stub_encoder(Forgetful):
            build(config, source=source, out=source / "out")
    except _IndexBegins:
        return _peak_mib()
    return 0


def _peak_mib() -> int:
    """Return the high-water mark of resident memory, mapped files included; Linux."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("there is no VmHWM in /proc/self/status; this figure needs Linux")


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
