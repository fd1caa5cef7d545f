"""hnswlib and usearch as a user would write them; speaks the protocol of tools/bench/speed/peer.py.

Documents: ``build`` (library, links, ef_construction, threads, vectors, file), ``open`` (library, file, dim),
``answers`` (queries, k, ef, out), ``query`` (place, k), which times itself.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np


class Hnswlib:
    """hnswlib's graph over float32, inner product."""

    def __init__(self, dim: int) -> None:
        """Take the dimension."""
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=dim)

    def build(self, vectors: np.ndarray, links: int, ef_construction: int, threads: int) -> None:
        """Add all vectors, float32 [n, d]."""
        self.index.init_index(max_elements=len(vectors), M=links, ef_construction=ef_construction, random_seed=7)
        self.index.add_items(vectors, num_threads=threads)

    def save(self, file: str) -> None:
        """Write it."""
        self.index.save_index(file)

    def open(self, file: str) -> None:
        """Read it."""
        self.index.load_index(file)

    def widen(self, ef: int) -> None:
        """Set the beam; search with one thread."""
        self.index.set_ef(ef)
        self.index.set_num_threads(1)

    def search(self, query: np.ndarray, k: int) -> np.ndarray:
        """Return the keys of the best k, int64 [k]."""
        return self.index.knn_query(query, k=k)[0][0]


class Usearch:
    """usearch's graph over float32, inner product."""

    def __init__(self, dim: int) -> None:
        """Take the dimension."""
        self.dim = dim

    def build(self, vectors: np.ndarray, links: int, ef_construction: int, threads: int) -> None:
        """Add all vectors, float32 [n, d]."""
        from usearch.index import Index

        self.index = Index(ndim=self.dim, metric="ip", dtype="f32", connectivity=links, expansion_add=ef_construction)
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def save(self, file: str) -> None:
        """Write it."""
        self.index.save(file)

    def open(self, file: str) -> None:
        """Read it."""
        from usearch.index import Index

        self.index = Index.restore(file)

    def widen(self, ef: int) -> None:
        """Set the beam; search with one thread."""
        self.index.expansion_search = ef

    def search(self, query: np.ndarray, k: int) -> np.ndarray:
        """Return the keys of the best k, int64 [k]."""
        return self.index.search(query, k, threads=1).keys


LIBRARIES = {"hnswlib": Hnswlib, "usearch": Usearch}


def main() -> None:
    """Answer one document a line."""
    held, queries = None, None
    for line in sys.stdin:
        if not line.strip():
            return
        asked = json.loads(line)
        if "build" in asked:
            what = asked["build"]
            vectors = np.load(what["vectors"])
            held = LIBRARIES[what["library"]](vectors.shape[1])
            start = time.perf_counter()
            held.build(vectors, what["links"], what["ef_construction"], what["threads"])
            answer = {"seconds": time.perf_counter() - start}
            held.save(what["file"])
            answer["bytes"] = Path(what["file"]).stat().st_size
            del vectors
        elif "open" in asked:
            held = LIBRARIES[asked["open"]["library"]](asked["open"]["dim"])
            held.open(asked["open"]["file"])
            answer = {"peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
        elif "answers" in asked:
            what = asked["answers"]
            queries = np.load(what["queries"])
            held.widen(what["ef"])
            np.save(what["out"], np.stack([held.search(query, what["k"]) for query in queries]).astype(np.int64))
            answer = {}
        else:
            query, k = queries[asked["query"]["place"]], asked["query"]["k"]
            start = time.perf_counter()
            held.search(query, k)
            answer = {"ms": (time.perf_counter() - start) * 1000}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
