"""The canary of a bundle: a few stored queries with their vectors, encoded again whenever the bundle is opened.

A digest proves that files are unchanged; the canary proves that what they compute is: another library version, another
precision or another processor may move vectors, and must not move them out of the index's space.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexing import storage
from indexing.errors import ArtifactCorrupt, FingerprintMismatch
from indexing.storage import FileDigest
from indexing.types import FloatMatrix

Encode = Callable[[Sequence[str]], FloatMatrix]


def write_canary(path: Path, texts: Sequence[str], encode: Encode) -> FileDigest:
    """Encode ``texts`` and store both.

    Args:
        path: JSON file to write.
        texts: Query texts.
        encode: Query tower, texts -> float32 [n, d] of unit length.
    """
    vectors = encode(texts)
    return storage.write_json(path, {"queries": list(texts), "vectors": [[float(x) for x in row] for row in vectors]})


def check_canary(path: Path, encode: Encode, *, cosine: float) -> float:
    """Encode the stored queries again and return the smallest cosine to the stored vectors.

    Args:
        path: What ``write_canary`` wrote.
        encode: The query tower that will serve.
        cosine: Smallest cosine that counts as the same vector.

    Raises:
        ArtifactCorrupt: The file holds something else.
        FingerprintMismatch: Another dimension, or a cosine below ``cosine``.
    """
    texts, stored = _read(path)
    vectors = encode(texts)
    if vectors.shape != stored.shape:
        raise FingerprintMismatch(
            f"the query tower gives vectors of {vectors.shape[1]} dimensions, the index has {stored.shape[1]}; "
            "open the bundle with the encoder it was built with, or rebuild"
        )
    smallest = float(np.min(np.sum(vectors * stored, axis=1)))
    if smallest < cosine:
        raise FingerprintMismatch(
            f"the query tower does not reproduce the bundle's stored queries: smallest cosine {smallest:.4f}, at "
            f"least {cosine} "
            "expected; open the bundle with the encoder and precision it was built with, or rebuild"
        )
    return smallest


def _read(path: Path) -> tuple[list[str], FloatMatrix]:
    content: Any = storage.read_json(path)
    try:
        texts = [str(text) for text in content["queries"]]
        vectors = np.asarray(content["vectors"], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(f"{path} does not hold queries and vectors: {error}") from error
    if vectors.ndim != 2 or len(vectors) != len(texts) or not texts:
        raise ArtifactCorrupt(f"{path}: {len(texts)} queries but vectors of shape {vectors.shape}")
    return texts, vectors
