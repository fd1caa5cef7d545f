"""Shortlist itself, its defaults, through the same door as everybody; the one pipeline that imports it.

``--model`` and ``--cross-encoder`` as for the others; the system (bm25, dense, hybrid, hybrid_rerank) is the name of
the folder's last part. The corpus is indexed as one title per product, so that the text is the same for all.
"""

import pyarrow as pa
import pyarrow.parquet as pq
from protocol import Options, serve

from shortlist import CacheConfig, SearchEngine
from shortlist.building.job import build
from shortlist.compose import load_config
from shortlist.config import BuildConfig, System


class Shortlist:
    """A bundle, and one of its systems."""

    def __init__(self, options: Options) -> None:
        """Say which system is meant."""
        self.options = options
        self.system = System[options.folder.name]
        self.bundle = options.folder.parent / "bundle"

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Build a bundle with the defaults; the systems share it."""
        source = self.options.folder.parent / "source"
        source.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"product_id": product_ids, "title": texts}), source / "products.parquet")
        overrides = ["catalog=parquet"]
        if self.options.model:
            overrides.append(f"encoder.model={self.options.model}")
        if self.options.cross_encoder:
            overrides += ["reranker=cross_encoder", f"reranker.model={self.options.cross_encoder}"]
        build(load_config(BuildConfig, overrides), source=source, out=self.bundle)

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Open the bundle."""
        reranking = self.system is System.hybrid_rerank
        self.engine = SearchEngine.open(self.bundle, rerank=reranking, cache=CacheConfig.off())  # queries come again

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Ask as an application would where there is a call for it; one source alone is a matter of evaluation."""
        if self.system in (System.bm25, System.dense):
            return self.engine.run(query, self.system, depth=k, run_depth=k)[0]
        hits = self.engine.search(query, k=k, depth=max(k, self.options.depth)).hits
        return [(hit.product_id, hit.score) for hit in hits]


if __name__ == "__main__":
    serve(Shortlist)
