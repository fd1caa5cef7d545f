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
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import ArtifactCorrupt
from indexing.exact import best_first
from indexing.types import BoolVector, FloatVector, IntVector
from retrieval.config import LexicalConfig
from retrieval.postings import Postings
from retrieval.words import words


class LexicalIndex:
    """An immutable BM25 index; searching it from several threads is safe."""

    def __init__(self, postings: Postings, config: LexicalConfig) -> None:
        """Score ``postings`` with the k1 and b of ``config``; see also `build` and `open`."""
        self._postings = postings
        self._config = config
        lengths = postings.lengths.astype(np.float64)
        mean = lengths.mean() if lengths.any() else 1.0  # without a single word there is nothing to score
        self._norms = config.k1 * (1 - config.b + config.b * lengths / mean)

    @classmethod
    def build(cls, texts: Iterable[str], config: LexicalConfig) -> Self:
        """Index a stream of texts; the n-th text becomes row n."""
        return cls(Postings.build(texts), config)

    @property
    def count(self) -> int:
        """Number of products n."""
        return len(self._postings.lengths)

    def scores(self, query: str) -> FloatVector:
        """Score every product, 0 where no word is shared.

        Returns:
            float32 [n]. The order of the words in the query does not change a bit of it.
        """
        total = np.zeros(self.count, dtype=np.float64)
        for word, times in sorted(Counter(words(query)).items()):  # one order of addition for one set of words
            rows, frequencies = self._postings.of(word)
            saturated = frequencies / (frequencies + self._norms.take(rows))
            np.add.at(total, rows, times * self._idf(len(rows)) * saturated)  # measured faster than total[rows] +=
        return total.astype(np.float32)

    def search(
        self, query: str, k: int, *, eligible: BoolVector | None = None, tie_rank: IntVector | None = None
    ) -> tuple[IntVector, FloatVector]:
        """Find the ``k`` products with the highest scores among those that share a word with the query.

        Args:
            query: As typed; words that no product holds are passed over.
            k: Products wanted, at least 1.
            eligible: Rows that may be returned, bool [n]; ``None`` means all.
            tie_rank: Settles equal scores, lower first; int64 [n]; ``None`` means by row.

        Returns:
            Rows int64 [m] and scores float32 [m], best first, all scores above 0. m < k when fewer products share a
            word, 0 when none does.

        Raises:
            ValueError: If ``k`` is below 1, or ``eligible`` or ``tie_rank`` is not of length n.
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

    def write(self, folder: Path) -> dict[str, storage.FileDigest]:
        """Write the index into a folder (made when absent; none of its files may exist) and return digests by name.

        Raises:
            StorageError: If the file system refuses.
        """
        digests = self._postings.write(folder)
        constants = {"k1": self._config.k1, "b": self._config.b}
        return {**digests, "bm25.json": storage.write_json(folder / "bm25.json", constants)}

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

    def _idf(self, products: int) -> float:
        """Inverse document frequency of a word that so many products hold; above 0 even when all do."""
        return math.log(1 + (self.count - products + 0.5) / (products + 0.5))

    def _check_length(self, name: str, vector: npt.NDArray[Any] | None) -> None:
        if vector is not None and len(vector) != self.count:
            raise ValueError(f"{name} must have one entry for each of the {self.count} products, got {len(vector)}")
