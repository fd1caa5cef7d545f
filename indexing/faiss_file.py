"""The skeleton of a FAISS file, walked before FAISS parses it: which types it names, and whether its lengths fit it.

FAISS allocates what a header says and follows what it names: a length may ask for any amount of memory, and some types
open other files by path (``OnDiskInvertedLists``). So every type, nested ones included, must be one that is written
here, every array must lie inside the file, and the file must end where its last part does. The numbers in the arrays
are not looked at; digests and the canary are about those.

Source: ``index_write.cpp`` and ``index_read.cpp`` of FAISS 1.15. All numbers are little-endian.

====== =================================================================================================================
IxFI   header, codes [float32]                                                                    exact, inner product
IHNf   header, probabilities [float64], neighbours per level [int32], levels [int32], offsets [int64], neighbours
       [int32], five int32 (entry point, highest level, two widths, one unused), then an index: IxFI
IHNs   as IHNf, over an index IxSQ
IxSQ   header, a scalar quantiser (type, range: two int32, a float32; dimension, code size; trained [float32]), codes
       [byte]
IwSq   lists, a scalar quantiser, code size, whether residuals, inverted lists
Iwrq   lists, dimension and code size (int64), metric (int32); code size (int64), whether residuals, bits of the query
       (two bytes), inverted lists: RaBitQ with one bit
Iwrr   as Iwrq, with the number of bits (int64) behind the metric
IwPQ   lists, whether residuals, code size, a product quantiser (dimension, parts, bits; centroids [float32]), inverted
       lists
lists  header, number of lists, probes, then an index (the centroids): IxFI; a map: one byte 0 and [int64] of none
ilar   number of lists, code size, ``full`` with sizes [int64] or ``sprs`` with pairs of list and size [int64], then per
       list that is not empty its codes and its ids (int64)
header dimension int32, count int64, two unused int64, trained byte, metric int32
[type] length int64 (for IxFI in units of four bytes, for ``sprs`` of single numbers), then so many numbers
====== =================================================================================================================
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexing.errors import ArtifactCorrupt, ArtifactUntrusted

INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT
EIGHT_BITS = 0  # faiss.ScalarQuantizer.QT_8bit
MOST_BITS = 9  # FAISS's RaBitQ takes 1 to 9
_GRAPHS = {b"IHNf": b"IxFI", b"IHNs": b"IxSQ"}  # a graph -> what lies below it
_MOST_DIM = 1 << 20  # no encoder is near it, and products with it stay far from 64 bits


@dataclass(frozen=True, slots=True)
class Header:
    """What every index begins with."""

    dim: int
    count: int
    metric: int


def check_faiss_file(path: Path, fourcc: bytes) -> Header:
    """Walk a FAISS file from its first byte to its last and return what its outermost index says of itself.

    Args:
        path: A file whose digest was checked.
        fourcc: The type that is expected: ``IxFI``, ``IHNf``, ``IHNs``, ``IwSq``, ``IwPQ``, ``Iwrq`` or ``Iwrr``.

    Raises:
        ArtifactUntrusted: If the file, or an index or a list inside it, is of another type than is written here.
        ArtifactCorrupt: If a length does not fit the file or the other lengths, or bytes are left over.
    """
    with path.open("rb") as file:
        walk = _Walk(file, path, path.stat().st_size)
        header = walk.index(fourcc)
        walk.end()
    return header


def rabitq_bytes(dim: int, bits: int) -> int:
    """Return the bytes of a RaBitQ code (``RaBitQuantizer::compute_code_size`` of FAISS 1.15).

    A bit per dimension and two float32; with several bits a third float32, the further bits, and two float32 for them.
    """
    signs = -(-dim // 8)
    if bits == 1:
        return signs + 2 * 4
    return signs + 3 * 4 + -(-dim * (bits - 1) // 8) + 2 * 4


class _Walk:
    """A place in an open file that only moves forward, never past the end."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self._left = size

    def index(self, expected: bytes) -> Header:
        """Pass an index of this type."""
        self.name(expected)
        header = self.header()
        if expected == b"IxFI":
            self.array(4, count=header.count * header.dim)
        elif expected == b"IxSQ":
            self.array(1, count=header.count * self.scalar_quantiser(header))
        elif expected in _GRAPHS:
            self.graph(header, _GRAPHS[expected])
        else:
            self.lists(header, expected)
        return header

    def graph(self, header: Header, storage: bytes) -> None:
        """Pass a graph and the vectors, or their codes, below it."""
        self.array(8)
        self.array(4)
        self.array(4, count=header.count)
        self.array(8, count=header.count + 1)
        self.array(4)
        self.skip(5 * 4)
        self.same(self.index(storage), header)

    def lists(self, header: Header, kind: bytes) -> None:
        """Pass what follows the header of an inverted file."""
        lists, _ = self.numbers("<qq")
        centroids = self.index(b"IxFI")
        self.same(centroids, Header(header.dim, lists, header.metric))
        (mapped,) = self.numbers("<B")
        self.require(mapped == 0, "a map from ids to places, which is never written here")
        self.array(8, count=0)
        if kind == b"IwPQ":
            self.skip(1)
            code_bytes = self.product_codes(header)
        elif kind == b"IwSq":
            code_bytes = self.stated(self.scalar_quantiser(header), flags=1)
        else:
            code_bytes = self.stated(self.rabitq(header, several_bits=kind == b"Iwrr"), flags=2)
        self.inverted(lists, code_bytes, header.count)

    def stated(self, size: int, *, flags: int) -> int:
        """Pass the bytes of a code as inverted lists state them once more, and so many bytes of flags."""
        (stated,) = self.numbers("<q")
        self.skip(flags)
        self.require(stated == size, f"codes of {stated} and of {size} bytes")
        return size

    def rabitq(self, header: Header, *, several_bits: bool) -> int:
        """Pass what RaBitQ is trained to, which is nothing; return the bytes of a code.

        Its metric is that of the index, and the bytes of a code follow from dimension and bits.
        """
        dim, size, metric = self.numbers("<qqi")
        bits = self.numbers("<q")[0] if several_bits else 1
        fits = dim == header.dim and metric == header.metric and 1 <= bits <= MOST_BITS
        self.require(fits and size == rabitq_bytes(dim, bits), f"codes of {size} bytes, {dim} numbers with {bits} bits")
        return size

    def scalar_quantiser(self, header: Header) -> int:
        """Pass a scalar quantiser of eight bits; return the bytes of a code."""
        kind, _, _, dim, size = self.numbers("<iifqq")
        self.require(
            kind == EIGHT_BITS and dim == header.dim == size, f"codes of type {kind}, {dim} numbers, {size} bytes"
        )
        self.array(4, count=2 * header.dim)
        return size

    def product_codes(self, header: Header) -> int:
        """Pass a product quantiser of eight bits; return the bytes of a code."""
        size, dim, parts, bits = self.numbers("<qqqq")
        fits = dim == header.dim and 0 < parts <= dim and bits == 8 and size == parts
        self.require(fits, f"codes of {size} bytes, {parts} parts of {dim} numbers with {bits} bits")
        self.array(4, count=dim * 256)
        return size

    def inverted(self, lists: int, code_bytes: int, count: int) -> None:
        """Pass inverted lists that lie in the file."""
        self.name(b"ilar")
        self.require(self.numbers("<qq") == (lists, code_bytes), "inverted lists of another number or code size")
        layout = self.take(4)
        if layout == b"full":
            sizes = self.array_of_int64(count=lists)
        elif layout == b"sprs":
            sizes = self.array_of_int64()[1::2]
        else:
            raise ArtifactUntrusted(f"expected full or sparse lists in {self._path}, found {layout!r}")
        self.require(
            all(size >= 0 for size in sizes) and sum(sizes) == count, f"lists of {sum(sizes)} of {count} vectors"
        )
        self.skip(count * (code_bytes + 8))

    # --- single parts -------------------------------------------------------------------------------------------------

    def header(self) -> Header:
        """Pass what every index begins with."""
        dim, count, _, _, _, metric = self.numbers("<iqqqBi")
        fits = 0 < dim <= _MOST_DIM and 0 <= count <= self._left and metric == INNER_PRODUCT
        self.require(fits, f"an index of {count} vectors of dimension {dim} with metric {metric}")
        return Header(dim, count, metric)

    def name(self, expected: bytes) -> None:
        """Pass the four letters of a type."""
        found = self.take(4)
        if found != expected:
            raise ArtifactUntrusted(
                f"expected the FAISS type {expected.decode()} in {self._path}, found {found!r}; only what this release "
                "writes is read"
            )

    def array(self, item_bytes: int, *, count: int | None = None) -> None:
        """Pass an array and its length, which must be ``count`` when that is known."""
        self.skip(self.length(item_bytes, count) * item_bytes)

    def array_of_int64(self, *, count: int | None = None) -> tuple[int, ...]:
        """Pass an array of int64 and return it."""
        length = self.length(8, count)
        return struct.unpack(f"<{length}q", self.take(8 * length))

    def length(self, item_bytes: int, count: int | None) -> int:
        (length,) = self.numbers("<q")
        expected = length if count is None else count
        self.require(length == expected and 0 <= length <= self._left // item_bytes, f"an array of {length} numbers")
        return int(length)

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Pass numbers of this layout and return them."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def take(self, size: int) -> bytes:
        """Pass so many bytes and return them."""
        self.require(size <= self._left, f"an end {size - self._left} bytes too early")
        self._left -= size
        return self._file.read(size)

    def skip(self, size: int) -> None:
        """Pass so many bytes."""
        self.require(size <= self._left, f"an end {size - self._left} bytes too early")
        self._left -= size
        self._file.seek(size, 1)

    def same(self, found: Header, expected: Header) -> None:
        """Require that an index inside another one fits it."""
        self.require(
            found == expected,
            f"an index of {found.count} x {found.dim} inside one of {expected.count} x {expected.dim}",
        )

    def end(self) -> None:
        """Require that nothing is left."""
        self.require(self._left == 0, f"{self._left} bytes behind its end")

    def require(self, fits: bool, found: str) -> None:
        if not fits:
            raise ArtifactCorrupt(f"FAISS cannot read {self._path}: it has {found}; build the index again")
