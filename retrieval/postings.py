"""Which products hold which words, and how often: the counts behind the lexical index, and their files.

A folder holds raw little-endian arrays, a word list and a small JSON; nothing in it could execute:

=================== ==================================================================================================
``postings.json``   format, version of `words`, sizes
``vocabulary.txt``  the words, UTF-8, one a line, sorted by code point; a word's number is its line, from 0
``offsets.i64``     the postings of word w are ``offsets[w]`` to ``offsets[w + 1]``
``rows.i32``        row of the product, rising within a word
``frequencies.i32`` how often the word stands in that product
``lengths.i32``     words per product, repeats included
=================== ==================================================================================================
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from indexing.types import IntVector
from retrieval.words import WORDS_VERSION, words

FORMAT = 1
"""Version of the files, raised with every change of them."""

_SLICE = 1 << 20  # postings sorted at a time: some 30 MB of scratch, whatever the size of the catalogue
_SIZES = ("products", "words", "postings")

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Postings:
    """The counts of a catalogue, grouped by word.

    Attributes:
        vocabulary: Word -> its number, in sorted order.
        offsets: int64 [words + 1]; the postings of word w are ``offsets[w]:offsets[w + 1]``.
        rows: Row of the product, rising within a word; int32 [postings].
        frequencies: How often the word stands in that product, at least 1; int32 [postings].
        lengths: Words per product, repeats included; int32 [n].
    """

    vocabulary: dict[str, int]
    offsets: IntVector
    rows: IntArray
    frequencies: IntArray
    lengths: IntArray

    @classmethod
    def build(cls, texts: Iterable[str]) -> Self:
        """Count a stream of texts; the n-th text becomes row n.

        Needs 16 bytes a posting at its peak (400 MB for a million products of 25 distinct words), 8 when done.
        """
        numbers: dict[str, int] = {}
        word_of, frequency, distinct, lengths = array("i"), array("i"), array("i"), array("i")
        for text in texts:
            counts = Counter(words(text))
            word_of.extend(numbers.setdefault(word, len(numbers)) for word in counts)
            frequency.extend(counts.values())
            distinct.append(len(counts))
            lengths.append(counts.total())
        vocabulary = {word: number for number, word in enumerate(sorted(numbers))}  # files depend on the texts alone
        renumbered = np.fromiter((vocabulary[word] for word in numbers), dtype=np.int32, count=len(numbers))
        grouped = _group(renumbered[_view(word_of)], _view(frequency), _view(distinct), len(numbers))
        return cls(vocabulary, *grouped, _view(lengths))

    def of(self, word: str) -> tuple[IntArray, IntArray]:
        """Return rows and frequencies of the products that hold a word; both empty when none does."""
        number = self.vocabulary.get(word, -1)
        first, end = self.offsets[number : number + 2] if number >= 0 else (0, 0)
        return self.rows[first:end], self.frequencies[first:end]

    def write(self, folder: Path) -> dict[str, storage.FileDigest]:
        """Write the files into a folder (made when absent; none of them may exist) and return their digests by name.

        Raises:
            StorageError: If the file system refuses.
        """
        sizes = {"products": len(self.lengths), "words": len(self.vocabulary), "postings": len(self.rows)}
        lines = "".join(f"{word}\n" for word in self.vocabulary)  # letters and digits only: no word holds a line feed
        arrays = {
            "offsets.i64": self.offsets.astype("<i8", copy=False),
            "rows.i32": self.rows.astype("<i4", copy=False),
            "frequencies.i32": self.frequencies.astype("<i4", copy=False),
            "lengths.i32": self.lengths.astype("<i4", copy=False),
        }
        storage.make_folder(folder)
        digests = {name: storage.write_bytes(folder / name, content) for name, content in arrays.items()}
        digests["vocabulary.txt"] = storage.write_bytes(folder / "vocabulary.txt", lines.encode())
        digests["postings.json"] = storage.write_json(folder / "postings.json", sizes_header(**sizes))
        return digests

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what `write` wrote; the arrays stay on disk, memory-mapped.

        Raises:
            ArtifactNotFound: If a file is missing.
            ArtifactIncompatible: If they are of another format, or were made by another version of `words`.
            ArtifactCorrupt: If the files do not fit each other.
        """
        products, size, postings = _read_sizes(folder / "postings.json")
        offsets = storage.map_array(folder / "offsets.i64", "<i8", (size + 1,))
        if offsets[0] != 0 or offsets[-1] != postings or (np.diff(offsets) < 0).any():
            raise ArtifactCorrupt(
                f"expected rising offsets from 0 to {postings} in {folder / 'offsets.i64'}; build the bundle again"
            )
        return cls(
            vocabulary=_read_vocabulary(folder / "vocabulary.txt", size),
            offsets=offsets,
            rows=_map_counts(folder / "rows.i32", postings, least=0, most=products - 1),
            frequencies=_map_counts(folder / "frequencies.i32", postings, least=1),
            lengths=_map_counts(folder / "lengths.i32", products, least=0),
        )


def sizes_header(*, products: int, words: int, postings: int) -> dict[str, int]:
    """Return what ``postings.json`` holds."""
    sizes = zip(_SIZES, (products, words, postings), strict=True)
    return {"format": FORMAT, "words_version": WORDS_VERSION, **dict(sizes)}


def _view(numbers: "array[int]") -> IntArray:
    """See an array of C ints as numpy does, without copying it."""
    return np.frombuffer(numbers, dtype=np.int32)


def _group(
    word_of: IntArray, frequency: IntArray, distinct: IntArray, size: int
) -> tuple[IntVector, IntArray, IntArray]:
    """Bring postings from product order into word order by counting, slice by slice.

    Args:
        word_of: Word of each posting, product by product; int32 [postings].
        frequency: Aligned with ``word_of``.
        distinct: Postings per product; int32 [n].
        size: Number of words.

    Returns:
        Offsets, rows and frequencies as `Postings` holds them.
    """
    offsets = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(word_of, minlength=size), out=offsets[1:])
    product_ends = np.cumsum(distinct, dtype=np.int64)
    rows, frequencies = np.empty_like(word_of), np.empty_like(word_of)
    free = offsets[:-1].copy()  # next free place of each word
    for first in range(0, len(word_of), _SLICE):
        part = word_of[first : first + _SLICE]
        order = np.argsort(part, kind="stable")  # products stay in order within a word
        in_order = part[order]
        places = free[in_order] + np.arange(len(part)) - np.searchsorted(in_order, in_order)
        rows[places] = np.searchsorted(product_ends, first + order, side="right")
        frequencies[places] = frequency[first + order]
        free += np.bincount(part, minlength=size)
    return offsets, rows, frequencies


def _read_sizes(path: Path) -> list[int]:
    """Return the numbers of products, words and postings from the header, once its versions are found to be ours."""
    header: Any = storage.read_json(path)
    if not isinstance(header, dict):
        raise ArtifactCorrupt(
            f"expected a JSON object in {path}, found {type(header).__name__}; build the bundle again"
        )
    if (header.get("format"), header.get("words_version")) != (FORMAT, WORDS_VERSION):
        raise ArtifactIncompatible(
            f"expected format {FORMAT} and words version {WORDS_VERSION} in {path}, found {header.get('format')} and "
            f"{header.get('words_version')}; build the bundle again with this release"
        )
    sizes: list[Any] = [header.get(name) for name in _SIZES]
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ArtifactCorrupt(f"expected the numbers of {', '.join(_SIZES)} in {path}, found {header}")
    return sizes


def _map_counts(path: Path, count: int, *, least: int, most: int = 2**31 - 1) -> IntArray:
    """Map an array of numbers that lie in a range; numpy would take a negative row for one from the end."""
    numbers: IntArray = storage.map_array(path, "<i4", (count,))
    if count and not least <= int(numbers.min()) <= int(numbers.max()) <= most:
        raise ArtifactCorrupt(
            f"expected numbers from {least} to {most} in {path}, found {numbers.min()} to {numbers.max()}; build the "
            "bundle again"
        )
    return numbers


def _read_vocabulary(path: Path, size: int) -> dict[str, int]:
    try:
        lines = storage.read_bytes(path).decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ArtifactCorrupt(f"expected UTF-8 words in {path}: {error}; build the bundle again") from error
    vocabulary = {word: number for number, word in enumerate(lines)}
    if len(lines) != size or len(vocabulary) != size:
        raise ArtifactCorrupt(
            f"expected {size} different words in {path}, found {len(vocabulary)}; build the bundle again"
        )
    return vocabulary
