"""bm25s with its own tokenizer, its English stop words and its default scoring; the stemmer as its README shows."""

from typing import Any

import bm25s
import Stemmer
from protocol import Options, serve


class Bm25s:
    """Words alone."""

    def __init__(self, options: Options) -> None:
        """Keep the folder."""
        self.folder = str(options.folder)
        self.stemmer: Any = Stemmer.Stemmer("english")

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Tokenise and index."""
        tokens = bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False)
        retriever = bm25s.BM25()
        retriever.index(tokens, show_progress=False)
        retriever.save(self.folder)

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Load the index."""
        self.retriever = bm25s.BM25.load(self.folder)
        self.product_ids = product_ids

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Return what scores above 0: the library fills up with products that share no word."""
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=self.stemmer, show_progress=False)
        rows, scores = self.retriever.retrieve(tokens, k=min(k, len(self.product_ids)), show_progress=False)
        pairs = zip(rows[0], scores[0], strict=True)
        return [(self.product_ids[row], score) for row, score in pairs if score > 0]


if __name__ == "__main__":
    serve(Bm25s)
