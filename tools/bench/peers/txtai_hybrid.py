"""txtai with ``hybrid=True``: its vectors, its BM25, its own sum of the two."""

from protocol import Options, serve
from txtai import Embeddings


class Txtai:
    """Words and vectors."""

    def __init__(self, options: Options) -> None:
        """Configure as its documentation shows."""
        self.options = options

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Index with the defaults and save."""
        embeddings = Embeddings(path=self.options.model, hybrid=True)
        embeddings.index(list(zip(product_ids, texts, strict=True)))
        embeddings.save(str(self.options.folder))

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Load what was saved."""
        self.embeddings = Embeddings()
        self.embeddings.load(str(self.options.folder))

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Ask."""
        return [(str(product_id), float(score)) for product_id, score in self.embeddings.search(query, k)]


if __name__ == "__main__":
    serve(Txtai)
