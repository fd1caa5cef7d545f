"""Writing the postings of a catalogue of any size: count a block of products at a time, then merge the blocks by word.

An external merge sort (Knuth, The Art of Computer Programming, vol. 3, 5.4): each block lies on disk as one record per
word, in the order of the words, and one pass over all blocks writes the final files from their first byte to the last.
They are those of `Postings.write` to the byte, and neither the vocabulary nor the postings are ever whole in memory.
"""

import heapq
import io
import itertools
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from indexing import storage
from indexing.storage import FileDigest, FileWriter
from retrieval.postings import Postings, sizes_header

BLOCK_PRODUCTS = 32_768
"""Products counted in memory at a time: with 40 words each some 20 MB of postings, and 100 bytes a distinct word."""

_READ_BYTES = 1 << 16
"""Read unit of a block: a million products make 31 of them."""

_WRITE_BYTES = 1 << 18
"""Postings are gathered to this size before they are written: most words stand in few products."""

_LENGTHS = struct.Struct("<II")
"""A record: bytes of the word, postings; then the word in UTF-8, rows (int32 each), frequencies (int32 each)."""


class _Record(NamedTuple):
    word: bytes
    rows: bytes
    frequencies: bytes


class _Gathering:
    """Collects small pieces and hands them to a storage file in large ones."""

    def __init__(self, file: FileWriter) -> None:
        self.file = file
        self._pieces = bytearray()

    def write(self, piece: bytes) -> None:
        self._pieces += piece
        if len(self._pieces) >= _WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        self.file.write(self._pieces)
        self._pieces = bytearray()


@contextmanager
def _gathered(path: Path) -> Iterator[_Gathering]:
    """Create a file that takes small pieces; its digest is known after the block."""
    with storage.writer(path) as file:
        gathering = _Gathering(file)
        yield gathering
        gathering.flush()


def write_postings(
    texts: Iterable[str], folder: Path, *, block_products: int = BLOCK_PRODUCTS
) -> dict[str, FileDigest]:
    """Count a stream of texts and write the files of `Postings`; the n-th text becomes row n.

    Args:
        texts: Read once.
        folder: Made when absent; none of the files may exist. A folder ``<name>.blocks`` lies beside it meanwhile.
        block_products: Products held in memory at a time.

    Returns:
        Digests by file name.

    Raises:
        StorageError: If the file system refuses.
    """
    spool = folder.with_name(f"{folder.name}.blocks")
    storage.remove_folder(spool)  # left by a build that was killed
    storage.make_folder(spool)
    storage.make_folder(folder)
    try:
        with _gathered(folder / "lengths.i32") as lengths:
            blocks, products = _write_blocks(texts, spool, lengths, block_products)
        digests, words, postings = _merge(blocks, folder)
    finally:
        storage.remove_folder(spool)
    digests["lengths.i32"] = lengths.file.digest
    header = sizes_header(products=products, words=words, postings=postings)
    return {**digests, "postings.json": storage.write_json(folder / "postings.json", header)}


def _write_blocks(
    texts: Iterable[str], spool: Path, lengths: _Gathering, block_products: int
) -> tuple[list[Path], int]:
    """Write the blocks, and the lengths of all products; return the blocks' files and the number of products."""
    stream, blocks, products = iter(texts), list[Path](), 0
    for first in stream:
        block = Postings.build(itertools.chain([first], itertools.islice(stream, block_products - 1)))
        path = spool / f"{len(blocks):06d}"
        with _gathered(path) as file:
            for word, record in _records(block, first_row=products):
                file.write(_LENGTHS.pack(len(word), len(record.rows) // 4) + b"".join(record))
        lengths.write(block.lengths.astype("<i4", copy=False).tobytes())
        products += len(block.lengths)
        blocks.append(path)
    return blocks, products


def _records(block: Postings, *, first_row: int) -> Iterator[tuple[bytes, _Record]]:
    rows = (block.rows + np.int32(first_row)).astype("<i4", copy=False)
    frequencies = block.frequencies.astype("<i4", copy=False)
    for word, number in block.vocabulary.items():  # in sorted order, as numbered
        first, end = block.offsets[number : number + 2]
        encoded = word.encode()
        yield encoded, _Record(encoded, rows[first:end].tobytes(), frequencies[first:end].tobytes())


def _merge(blocks: list[Path], folder: Path) -> tuple[dict[str, FileDigest], int, int]:
    """Write vocabulary, offsets, rows and frequencies; return their digests, the number of words and of postings."""
    words = postings = 0
    names = ("vocabulary.txt", "offsets.i64", "rows.i32", "frequencies.i32")
    with ExitStack() as opened:
        streams = [_read_block(opened.enter_context(storage.stream(path, buffer_bytes=_READ_BYTES))) for path in blocks]
        outputs = [opened.enter_context(_gathered(folder / name)) for name in names]
        vocabulary, offsets, rows, frequencies = outputs
        offsets.write(bytes(8))
        # The order of UTF-8 bytes is that of code points. A word's blocks come in their own order: the merge is stable.
        merged = heapq.merge(*streams, key=itemgetter(0))
        for word, parts in itertools.groupby(merged, key=itemgetter(0)):
            for part in parts:
                rows.write(part.rows)
                frequencies.write(part.frequencies)
                postings += len(part.rows) // 4
            vocabulary.write(word + b"\n")
            offsets.write(postings.to_bytes(8, "little"))
            words += 1
    return {name: output.file.digest for name, output in zip(names, outputs, strict=True)}, words, postings


def _read_block(file: io.BufferedReader) -> Iterator[_Record]:
    while head := file.read(_LENGTHS.size):
        word_bytes, count = _LENGTHS.unpack(head)
        yield _Record(file.read(word_bytes), file.read(4 * count), file.read(4 * count))
