"""Changes to what a draft's files hold, for which hashes or fingerprints are made to fit.

Products, vectors and index leave every hash right; weights leave that to `Draft.fit` and to what is made to fit here.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from indexing import storage
from tools.reliability.harness.draft import Draft


def change_products(draft: Draft, change: Callable[[Any], Any]) -> None:
    """Change the table of products, a ``pyarrow.Table``, and make every hash fit."""
    import pyarrow.parquet as pq

    path = draft.folder / "products.parquet"
    table = pq.read_table(path)
    pq.write_table(change(table), path, compression="zstd", write_page_checksum=True)
    draft.fit()


def change_vectors(draft: Draft, change: Callable[[Any], Any]) -> None:
    """Change the vectors of the first segment, float32 [n, d], and make every hash fit."""
    import numpy as np

    path, record = draft.store / "segment-000000.f32", draft.store / "segment-000000.json"
    dim = draft.manifest["vectors"]["dim"]
    vectors = np.fromfile(path, dtype="<f4").reshape(-1, dim)
    draft.change_shared(path, np.ascontiguousarray(change(vectors)).tobytes())
    said = json.loads(record.read_bytes())
    draft.change_shared(record, json.dumps(said | {"vectors": asdict(storage.digest(path))}).encode())

    def fit(manifest: dict[str, Any]) -> None:
        digests = {"vectors": asdict(storage.digest(path)), "record": asdict(storage.digest(record))}
        manifest["vectors"]["segments"][0].update(digests)

    draft.change_manifest(fit)


def write_index(draft: Draft, make: Callable[[Any, int], Any], *, count: int) -> None:
    """Put ``make(faiss, dim)`` filled with ``count`` equal vectors in place of the index, and make every hash fit."""
    import faiss
    import numpy as np

    index = make(faiss, int(draft.manifest["vectors"]["dim"]))
    index.add(np.ones((count, index.d), dtype=np.float32))
    faiss.write_index(index, str(draft.folder / "index" / "faiss.index"))
    draft.fit()


def indexed_count(draft: Draft) -> int:
    """Return how many vectors the index holds, by its record."""
    return int(json.loads((draft.folder / "index" / "index.json").read_bytes())["distinct"])


def change_weights(draft: Draft, model: str, change: Callable[[Any], Any]) -> None:
    """Change the word vectors of a model, float32 [v, d]."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    path = draft.folder / model / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_file(tensors, path, metadata={"format": "pt"})


def fingerprint_of(draft: Draft) -> dict[str, str]:
    """Return the fingerprint of the encoder as it lies in the draft."""
    from retrieval.config import EncoderConfig, TextConfig
    from retrieval.fingerprint import tower_fingerprint
    from shortlist.stored import thaw

    manifest = draft.manifest
    text, encoder = thaw("text", manifest["text"], TextConfig), thaw("encoder", manifest["encoder"], EncoderConfig)
    return dict(tower_fingerprint(draft.folder / "encoder", encoder, text).fields)


def fit_reranker(draft: Draft) -> None:
    """Make the manifest say what the cross-encoder's fingerprint is now."""
    from rerank.config import CrossEncoderConfig
    from rerank.fingerprint import reranker_fingerprint
    from shortlist.stored import thaw

    config = thaw("reranker", draft.manifest["reranker"], CrossEncoderConfig)
    fingerprint = dict(reranker_fingerprint(draft.folder / "reranker", config).fields)
    draft.change_manifest(lambda manifest: manifest.update(reranker_fingerprint=fingerprint))
