"""An ensemble of regression trees as plain arrays: read from JSON, evaluated and explained with numpy alone.

The library that learned it (`rerank.boosting`) is not needed to use it, nor anything that could run code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexing.types import IntVector
from rerank.fusion import Doubles

LEAF = -1
"""In place of a node's feature."""

FIELDS = ("feature", "threshold", "left", "right", "value")
MAX_NODES = 200_000
"""Of all trees; 200 trees of 15 leaves have 5,800."""


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Trees one after the other; a row goes left where its feature is at most the threshold, until a leaf.

    Attributes:
        roots: Node where each tree begins, int64 [t].
        feature: Column that a node looks at, `LEAF` where it is a leaf, int64 [m].
        threshold: What it is held against, float64 [m].
        left, right: Nodes that follow; a leaf follows itself, int64 [m].
        value: Of a leaf: what it adds. Of another node: the mean of what it stands for, which explains alone need.
    """

    roots: IntVector
    feature: IntVector
    threshold: Doubles
    left: IntVector
    right: IntVector
    value: Doubles

    def scores(self, rows: Doubles) -> Doubles:
        """Return the sum of one leaf per tree for each of n rows, float64 [n]; zeros without trees."""
        at = self._start(rows)
        while (inner := self.feature[at] != LEAF).any():
            at = np.where(inner, self._next(rows, at), at)
        total: Doubles = self.value[at].sum(axis=1)
        return total

    def contributions(self, rows: Doubles) -> tuple[Doubles, float]:
        """Return what each feature adds to a row's score, float64 [n, f], and what all rows have in common.

        A step down adds the difference of the values before and after it to the feature that was looked at, so that
        the sum is the score.

        Source:
            Saabas, "Interpreting random forests", 2014; of features that say the same, the one nearer the root gets it
            all (Lundberg et al., "Consistent individualized feature attribution for tree ensembles", 2018).
        """
        found = np.zeros(rows.shape)
        at, which = self._start(rows), np.arange(len(rows))[:, None]
        while (inner := self.feature[at] != LEAF).any():
            following = np.where(inner, self._next(rows, at), at)
            gained = self.value[following] - self.value[at]
            np.add.at(found, (np.broadcast_to(which, at.shape)[inner], self.feature[at][inner]), gained[inner])
            at = following
        return found, float(self.value[self.roots].sum())

    def _start(self, rows: Doubles) -> IntVector:
        return np.broadcast_to(self.roots, (len(rows), len(self.roots)))

    def _next(self, rows: Doubles, at: IntVector) -> IntVector:
        values = np.take_along_axis(rows, np.maximum(self.feature[at], 0), axis=1)
        followed: IntVector = np.where(values <= self.threshold[at], self.left[at], self.right[at])
        return followed

    def plain(self) -> list[dict[str, list[float]]]:
        """Return the trees as JSON values, each with node numbers of its own, as `read_trees` takes them."""
        ends = [*self.roots.tolist(), len(self.feature)][1:]
        found = []
        for root, end in zip(self.roots.tolist(), ends, strict=True):
            nodes = slice(root, end)
            found.append(
                {
                    "feature": self.feature[nodes].tolist(),
                    "threshold": self.threshold[nodes].tolist(),
                    "left": (self.left[nodes] - root).tolist(),
                    "right": (self.right[nodes] - root).tolist(),
                    "value": self.value[nodes].tolist(),
                }
            )
        return found


def read_trees(found: Any, *, features: int) -> Trees:  # noqa: ANN401 - parsed JSON
    """Make trees of JSON values that nobody vouches for: whatever they hold, evaluating them ends.

    Args:
        found: A list of trees, each an object of five lists of equal length: ``feature``, ``threshold``, ``left``,
            ``right`` (numbers within the tree, above the node's own) and ``value``.
        features: How many columns there are.

    Raises:
        ValueError, TypeError: It is anything else; the message says what.
    """
    if not isinstance(found, list):
        raise TypeError(f"expected a list of trees, got {found!r:.80}")
    roots: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in FIELDS}
    for tree in found:
        if not isinstance(tree, dict) or set(tree) != set(FIELDS):
            raise ValueError(f"a tree has the lists {', '.join(FIELDS)}, got {tree!r:.80}")
        root, count = len(columns["value"]), len(tree["value"])
        if not count or any(not isinstance(tree[name], list) or len(tree[name]) != count for name in FIELDS):
            raise ValueError(f"the lists of a tree must have one length above 0, got {tree!r:.80}")
        if root + count > MAX_NODES:
            raise ValueError(f"expected {MAX_NODES} nodes at most")
        for place in range(count):
            _check_node(place, count, *(tree[name][place] for name in FIELDS), features=features)
        roots.append(root)
        for name in FIELDS:
            offset = root if name in ("left", "right") else 0
            columns[name] += [entry + offset for entry in tree[name]]
    return Trees(
        roots=np.array(roots, dtype=np.int64),
        feature=np.array(columns["feature"], dtype=np.int64),
        threshold=np.array(columns["threshold"], dtype=np.float64),
        left=np.array(columns["left"], dtype=np.int64),
        right=np.array(columns["right"], dtype=np.int64),
        value=np.array(columns["value"], dtype=np.float64),
    )


def _check_node(
    place: int,
    count: int,
    feature: object,
    threshold: object,
    left: object,
    right: object,
    value: object,
    *,
    features: int,
) -> None:
    whole: Sequence[object] = (feature, left, right)
    if any(type(entry) is not int for entry in whole):
        raise TypeError(f"node {place}: feature, left and right must be whole numbers, got {whole!r:.80}")
    for number in (threshold, value):
        if type(number) not in (int, float) or not math.isfinite(number):  # type: ignore[arg-type]
            raise ValueError(f"node {place}: expected a finite number, got {number!r:.80}")
    if feature == LEAF:
        if left != place or right != place:
            raise ValueError(f"node {place} is a leaf and must follow itself, got {left} and {right}")
    elif not (0 <= feature < features and place < left < count and place < right < count):  # type: ignore[operator]
        raise ValueError(
            f"node {place} must look at one of {features} features and go on to a later node of {count}, "
            f"got feature {feature}, left {left}, right {right}"
        )
