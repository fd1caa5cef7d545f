"""How much of the exact answer an approximate index found."""

import numpy as np

from indexing.types import Neighbors


def recall_at(k: int, retrieved: Neighbors, exact: Neighbors) -> float:
    """Return the mean share of the exact top ``k`` that was retrieved, counted by score.

    A retrieved row counts when its exact score reaches the exact k-th score, so that it does not matter which of
    several rows that tie at the last place an index returns. Both sides must carry scores of `score_rows`.

    Args:
        k: Cut-off, at least 1; where fewer rows exist (or are eligible), that number takes its place.
        retrieved: What the index found, [q, >=k].
        exact: What brute force found over the same rows, [q, >=k].

    Returns:
        A mean over the queries for which there is anything to find, in [0, 1].

    Raises:
        ValueError: If ``k`` is out of range, the query counts differ, or there is nothing to find for any query.
    """
    widths = (retrieved.rows.shape[1], exact.rows.shape[1])
    if not 1 <= k <= min(widths):
        raise ValueError(f"k must be at least 1 and at most the width of both lists {widths}, got {k}")
    if len(retrieved.rows) != len(exact.rows):
        raise ValueError(
            f"expected as many queries retrieved as exact, got {len(retrieved.rows)} and {len(exact.rows)}"
        )
    shares = []
    for place in range(len(exact.rows)):
        there = int(np.count_nonzero(exact.rows[place, :k] >= 0))
        if there:
            reaches = retrieved.scores[place, :k] >= exact.scores[place, there - 1]
            rows = retrieved.rows[place, :k][reaches]
            shares.append(min(len(np.unique(rows[rows >= 0])), there) / there)
    if not shares:
        raise ValueError(f"there is nothing to find for any of {len(exact.rows)} queries, so recall means nothing")
    return float(np.mean(shares))
