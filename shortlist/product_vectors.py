"""Texts into vectors that an index may hold, or the products whose texts gave none."""

from collections.abc import Callable, Iterable, Sequence

from indexing.errors import EnvironmentProblem, ShortlistError, VectorError
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
            are not n of them, or of another dimension; or the encoder fails on one text, whatever it raises.
        EnvironmentProblem: The encoder fails on the texts together, but on none alone.
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
    except (ShortlistError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _failure(encode, texts, error, owners) from error
    if len(vectors) != len(texts):
        raise VectorError(f"expected a vector for each of {len(texts)} texts, got {len(vectors)} from the encoder")
    return vectors


def _failure(
    encode: EncodeProducts, texts: Sequence[str], error: BaseException, owners: Callable[[Sequence[int]], Iterable[str]]
) -> ShortlistError:
    """Return what to raise when the encoder failed: it names the product, if it is one product's text."""
    cause = f"{type(error).__name__}: {error}"
    position = _culprit(encode, texts)
    if position is None:
        return EnvironmentProblem(
            f"the encoder failed on {len(texts)} texts together, but on none alone: {cause}; set runtime.batch_tokens "
            "lower (512, say), or free some memory"
        )
    product_ids = tuple(owners([position]))
    shown = ", ".join(map(repr, product_ids[:_SHOWN]))
    return VectorError(
        f"the text of product {shown} cannot be encoded: {cause}; correct it, or leave the product out",
        positions=(position,),
        names=product_ids,
    )


def _culprit(encode: EncodeProducts, texts: Sequence[str]) -> int | None:
    """Return the first text on which the encoder fails alone, by halving; ``None`` when there is none."""
    first, end = 0, len(texts)
    while end - first > 1:
        middle = (first + end) // 2
        if _fails(encode, texts[first:middle]):
            end = middle
        else:
            first = middle
    return first if end > first and _fails(encode, texts[first:end]) else None


def _fails(encode: EncodeProducts, texts: Sequence[str]) -> bool:
    try:
        encode(texts)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - as above
        return True
    return False
