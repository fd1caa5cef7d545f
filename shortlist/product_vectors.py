"""Texts into vectors that an index may hold, or the products whose texts gave none."""

from collections.abc import Callable, Iterable, Sequence

from indexing.errors import VectorError
from indexing.types import FloatMatrix
from indexing.vectors import check_vectors

EncodeProducts = Callable[[Sequence[str]], FloatMatrix]
"""Product texts -> float32 [n, d] of unit length."""

_SHOWN = 10  # products named in a message; all of them are with the error


def encode_checked(
    encode: EncodeProducts, texts: Sequence[str], *, dim: int, owners: Callable[[Sequence[int]], Iterable[str]]
) -> FloatMatrix:
    """Encode product texts and check every vector before anything else sees it.

    Args:
        encode: The product tower.
        texts: n texts.
        dim: Dimension of the index.
        owners: Returns the ids of all products that have one of the texts, given their positions; asked on failure.

    Returns:
        float32 [n, d] of unit length.

    Raises:
        VectorError: A vector is not finite, zero or not of unit length, with the products as its ``names``; or there
            are not n of them, or of another dimension.
    """
    try:
        vectors = check_vectors(encode(texts), dim=dim)
    except VectorError as error:
        if not error.positions:
            raise
        product_ids = tuple(owners(error.positions))
        shown = ", ".join(map(repr, product_ids[:_SHOWN])) + (", ..." if len(product_ids) > _SHOWN else "")
        raise VectorError(
            f"{len(product_ids)} products have no vector that can be indexed ({shown}): {error}",
            positions=error.positions,
            names=product_ids,
        ) from error
    if len(vectors) != len(texts):
        raise VectorError(f"expected a vector for each of {len(texts)} texts, got {len(vectors)} from the encoder")
    return vectors
