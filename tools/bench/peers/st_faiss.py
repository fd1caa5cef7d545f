"""sentence-transformers and faiss by hand: encode, flat inner product; a CrossEncoder on top where one is given."""

from pathlib import Path

import faiss
from protocol import Options, serve
from sentence_transformers import CrossEncoder, SentenceTransformer


class SentenceTransformersFaiss:
    """Vectors, and a second stage when there is a cross-encoder."""

    def __init__(self, options: Options) -> None:
        """Load the models with the library's defaults."""
        self.options = options
        self.path = Path(options.folder) / "vectors.faiss"
        self.encoder = SentenceTransformer(options.model, device="cpu")

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Encode with the defaults and add to a flat index."""
        vectors = self.encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(self.path))

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Read the index back and load the cross-encoder."""
        self.index = faiss.read_index(str(self.path))
        self.product_ids, self.texts = product_ids, texts
        given = self.options.cross_encoder
        self.cross_encoder = CrossEncoder(given, device="cpu") if given else None

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Encode, search, and rerank the first ``depth``; those below follow in the order of the first stage."""
        vector = self.encoder.encode([query], normalize_embeddings=True, show_progress_bar=False)
        scores, rows = self.index.search(vector, k)
        found = [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True) if row >= 0]
        if self.cross_encoder is None:
            return [(self.product_ids[row], score) for row, score in found]
        first, rest = found[: self.options.depth], found[self.options.depth :]
        judged = self.cross_encoder.predict([(query, self.texts[row]) for row, _ in first], show_progress_bar=False)
        order = sorted(zip(judged, first, strict=True), key=lambda pair: -float(pair[0]))
        lowest = float(min(judged)) if len(judged) else 0.0
        reranked = [(self.product_ids[row], float(score)) for score, (row, _) in order]
        return reranked + [(self.product_ids[row], lowest - 1 - place) for place, (row, _) in enumerate(rest)]


if __name__ == "__main__":
    serve(SentenceTransformersFaiss)
