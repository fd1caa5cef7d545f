"""LanceDB embedded: vectors from sentence-transformers, its full-text index, its default reciprocal rank fusion."""

import lancedb
from protocol import Options, serve
from sentence_transformers import SentenceTransformer


class LanceDb:
    """Words and vectors; without a vector index the vectors are searched exactly, which is its default."""

    def __init__(self, options: Options) -> None:
        """Load the encoder and connect."""
        self.encoder = SentenceTransformer(options.model, device="cpu")
        self.database = lancedb.connect(str(options.folder))

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Write the table and its full-text index."""
        vectors = self.encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        rows = [
            {"product_id": product_id, "text": text, "vector": vector}
            for product_id, text, vector in zip(product_ids, texts, vectors, strict=True)
        ]
        table = self.database.create_table("products", rows, mode="overwrite")
        table.create_fts_index("text", replace=True)

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Open the table."""
        self.table = self.database.open_table("products")

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Ask for both; the vector is made here, as its own embedding registry would."""
        vector = self.encoder.encode(query, normalize_embeddings=True, show_progress_bar=False)
        asked = self.table.search(query_type="hybrid").vector(vector).text(query).select(["product_id"])
        found = asked.limit(k).to_arrow().select(["product_id", "_relevance_score"]).to_pylist()
        return [(row["product_id"], row["_relevance_score"]) for row in found]


if __name__ == "__main__":
    serve(LanceDb)
