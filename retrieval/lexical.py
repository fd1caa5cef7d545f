"""BM25 over words: which products share words with a query, and how much that says.

    score(q, p) = sum over the words w of q of  idf(w) * tf / (tf + k1 * (1 - b + b * length(p) / mean length))
    idf(w) = ln(1 + (n - df + .5) / (df + .5))

Source: Robertson's BM25 with Lucene's idf, as in Kamphuis, de Vries, Boytsov, Lin, "Which BM25 do you mean?", ECIR
2020, table 1, "Lucene (accurate)"; bm25s calls it ``lucene``. A word that a query repeats counts as often as it stands.

The index keeps counts and scores when asked. bm25s keeps finished scores, all of which go stale with every new product,
since document frequencies and the mean length change; it also returns products of score 0. What is left of it here
would be twenty lines of arithmetic, so it is the oracle of the tests and not a dependency.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import ArtifactCorrupt
from indexing.exact import best_first
from indexing.types import BoolVector, FloatVector, IntVector
from retrieval.config import LexicalConfig
from retrieval.postings import IntArray, Postings
from retrieval.postings_file import write_postings
from retrieval.word_lists import NO_WORDS, WordList, by_length
from retrieval.words import words


@dataclass(frozen=True, slots=True)
class WordShare:
    """What one word of a query adds to the score of one product.

    Attributes:
        word: As the index knows it.
        in_query: How often the query holds it.
        in_product: How often the product does.
        products: How many products of the index hold it.
        score: What it adds, 0 when the product does not hold it; over all words of the query the sum is the score.
    """

    word: str
    in_query: int
    in_product: int
    products: int
    score: float


class Bm25(ABC):
    """BM25 over whatever gives the counts: one version's postings, or a version with what changed since."""

    def __init__(self, config: LexicalConfig) -> None:
        """Score with the k1 and b of ``config``."""
        self._config = config

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @property
    @abstractmethod
    def products(self) -> int:
        """Number of products n that document frequencies and the mean length are taken over."""

    @abstractmethod
    def holders(self, word: str) -> IntVector | IntArray:
        """Return the rows that hold a word, rising; empty when none does."""

    @abstractmethod
    def spellings(self, letters: int) -> Sequence[WordList]:
        """Return the words of so many letters and no digit that some row holds or held, in one or more lists."""

    @abstractmethod
    def _matches(self, word: str) -> tuple[IntVector | IntArray, IntArray, npt.NDArray[np.float64]]:
        """Return the rows that hold a word, each once, how often they do, and their `_norms`."""

    def scores(self, query: str) -> FloatVector:
        """Score every row, 0 where no word is shared.

        Returns:
            float32 [count]. The order of the words in the query does not change a bit of it.
        """
        total = np.zeros(self.count, dtype=np.float64)
        for word, times in sorted(Counter(words(query)).items()):  # one order of addition for one set of words
            rows, gains = self._gains(word, times)
            np.add.at(total, rows, gains)  # measured faster than total[rows] +=
        return total.astype(np.float32)

    def explain(self, query: str, row: int) -> tuple[WordShare, ...]:
        """Say what every word of a query adds to the score of one product.

        Returns:
            One entry per distinct word, the greatest addition first, equal ones in the order of the words; empty when
            the query has no word.

        Raises:
            IndexError: If ``row`` is not in [0, count).
        """
        if not 0 <= row < self.count:
            raise IndexError(f"row must be in [0, {self.count}), got {row}")
        shares = []
        for word, times in Counter(words(query)).items():
            rows, frequencies, _ = self._matches(word)
            _, gains = self._gains(word, times)
            here = rows == row
            held, gain = int(frequencies[here].sum()), float(gains[here].sum())
            shares.append(WordShare(word, in_query=times, in_product=held, products=len(rows), score=gain))
        return tuple(sorted(shares, key=lambda share: (-share.score, share.word)))

    def search(
        self, query: str, k: int, *, eligible: BoolVector | None = None, tie_rank: IntVector | None = None
    ) -> tuple[IntVector, FloatVector]:
        """Find the ``k`` products with the highest scores among those that share a word with the query.

        Args:
            query: As typed; words that no product holds are passed over.
            k: Products wanted, at least 1.
            eligible: Rows that may be returned, bool [count]; ``None`` means all.
            tie_rank: Settles equal scores, lower first; int64 [count]; ``None`` means by row.

        Returns:
            Rows int64 [m] and scores float32 [m], best first, all scores above 0. m < k when fewer products share a
            word, 0 when none does.

        Raises:
            ValueError: If ``k`` is below 1, or ``eligible`` or ``tie_rank`` is not of that length.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self._check_length("eligible", eligible)
        self._check_length("tie_rank", tie_rank)
        scores = self.scores(query)
        matching = scores > 0 if eligible is None else (scores > 0) & eligible
        rows = np.flatnonzero(matching)
        best = rows[best_first(scores[rows], rows, k=k, tie_rank=tie_rank)]
        return best, scores[best]

    def _gains(self, word: str, times: int) -> tuple[IntVector | IntArray, npt.NDArray[np.float64]]:
        """Return the rows that hold a word and what it adds to the score of each when a query holds it so often."""
        rows, frequencies, norms = self._matches(word)
        saturated = frequencies / (frequencies + norms)
        return rows, times * self._idf(len(rows)) * saturated

    def _norms(self, lengths: IntArray, mean: float) -> npt.NDArray[np.float64]:
        """What a product's length adds below the fraction; ``mean`` over all products, float64 [m]."""
        norms: npt.NDArray[np.float64] = self._config.k1 * (
            1 - self._config.b + self._config.b * lengths.astype(np.float64) / mean
        )
        return norms

    def _idf(self, holders: int) -> float:
        """Inverse document frequency of a word that so many products hold; above 0 even when all do."""
        return math.log(1 + (self.products - holders + 0.5) / (holders + 0.5))

    def _check_length(self, name: str, vector: npt.NDArray[Any] | None) -> None:
        if vector is not None and len(vector) != self.count:
            raise ValueError(f"{name} must have one entry for each of the {self.count} products, got {len(vector)}")


class LexicalIndex(Bm25):
    """The immutable BM25 index of a catalogue; searching it from several threads is safe.

    Attributes:
        postings: The counts behind it.
        total_length: Words of all products, repeats included.
    """

    def __init__(self, postings: Postings, config: LexicalConfig) -> None:
        """Score ``postings``; see also `build` and `open`."""
        super().__init__(config)
        self.postings = postings
        self.total_length = int(postings.lengths.sum())
        self._row_norms = self._norms(postings.lengths, mean_length(self.total_length, self.count))

    @classmethod
    def build(cls, texts: Iterable[str], config: LexicalConfig) -> Self:
        """Index a stream of texts; the n-th text becomes row n."""
        return cls(Postings.build(texts), config)

    @property
    def config(self) -> LexicalConfig:
        """The k1 and b it scores with."""
        return self._config

    @property
    def count(self) -> int:
        """Number of products n, a row each."""
        return len(self.postings.lengths)

    @property
    def products(self) -> int:
        """The same number n."""
        return self.count

    def holders(self, word: str) -> IntArray:
        """Return the rows that hold a word, rising; empty when none does."""
        return self.postings.of(word)[0]

    def spellings(self, letters: int) -> Sequence[WordList]:
        """Return the words of so many letters and no digit."""
        return (self._by_length.get(letters, NO_WORDS),)

    @cached_property
    def _by_length(self) -> dict[int, WordList]:
        return by_length(self.postings.vocabulary)

    def _matches(self, word: str) -> tuple[IntArray, IntArray, npt.NDArray[np.float64]]:
        rows, frequencies = self.postings.of(word)
        return rows, frequencies, self._row_norms.take(rows)

    def write(self, folder: Path) -> dict[str, storage.FileDigest]:
        """Write the index into a folder (made when absent; none of its files may exist) and return digests by name.

        Raises:
            StorageError: If the file system refuses.
        """
        digests = self.postings.write(folder)
        return {**digests, "bm25.json": _write_constants(self._config, folder)}

    @staticmethod
    def write_texts(texts: Iterable[str], config: LexicalConfig, folder: Path) -> dict[str, storage.FileDigest]:
        """Write what ``build(texts, config).write(folder)`` would, to the byte, with memory that does not grow with it.

        Raises:
            StorageError: If the file system refuses.
        """
        return {**write_postings(texts, folder), "bm25.json": _write_constants(config, folder)}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an index that `write` wrote; its arrays stay on disk, memory-mapped.

        Raises:
            ArtifactNotFound: If a file is missing.
            ArtifactIncompatible: If it is of another format, or was made by another version of `words`.
            ArtifactCorrupt: If the files do not fit each other.
        """
        path = folder / "bm25.json"
        constants: Any = storage.read_json(path)
        try:
            config = LexicalConfig(k1=float(constants["k1"]), b=float(constants["b"]))
        except (TypeError, KeyError, ValueError) as error:
            raise ArtifactCorrupt(f"expected the numbers k1 and b in {path}, found {constants}: {error!r}") from error
        return cls(Postings.open(folder), config)


def mean_length(total: int, products: int) -> float:
    """Return the mean words per product; 1 without a single word, when there is nothing to score."""
    return total / products if total else 1.0


def _write_constants(config: LexicalConfig, folder: Path) -> storage.FileDigest:
    return storage.write_json(folder / "bm25.json", {"k1": config.k1, "b": config.b})
