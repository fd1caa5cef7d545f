"""When the first places of an answer can no longer change, whatever the cross-encoder would say about the rest.

The final score of candidate i is ``(1 - w) * f[i] + w * z[i]``: f is the first stage's score, standardised over all n
candidates and known from the start; z is the cross-encoder's, standardised over all n as well, of which m are known as
raw scores x. Raw scores have no bound, so what is left could be anything. Still two things hold:

- Between two candidates that were scored, ``z[i] - z[j] = (x[i] - x[j]) / s`` where s, the deviation over all n, is at
  least ``sqrt(m / n)`` times that over the m: adding values cannot make the sum of squared distances from the mean
  smaller. So the difference lies between 0 and that with the least s, and the final scores' difference, linear in 1/s,
  between its values at both ends.
- Between any two of n standardised values, ``|z[i] - z[j]| <= sqrt(2 n)``: their squares sum to n, and
  ``(a - b) ** 2 <= 2 * (a ** 2 + b ** 2)``.

The second bound is wide. With 100 candidates it is 14.1, so that an answer settles early where the cross-encoder weighs
.1, hardly at .2, and never at 1: nothing tighter can be proven for scores without a bound.
"""

import math

import numpy as np

from rerank.fusion import Doubles, FloatVector

MARGIN = 1e-4
"""Least difference that counts as one: final scores are float32, and those of other batches differ by some 1e-6."""


def is_settled(first: Doubles, cross: FloatVector | Doubles, *, weight: float, k: int) -> bool:
    """Return whether the first ``k`` places and their order are what they would be with every candidate scored.

    Args:
        first: First-stage scores of all n candidates, standardised over them, best first, float [n].
        cross: Raw cross-encoder scores of the first m of them, float [m], m <= n.
        weight: The cross-encoder's share in the final score, in [0, 1].
        k: Places asked for.

    Returns:
        Always true for m = n. For m < n false unless it can be proven; for m < k always false.
    """
    n, m = len(first), len(cross)
    if m == n:
        return True
    if m < max(k, 2):
        return False
    known = (1 - weight) * np.asarray(first[:m], dtype=np.float64)
    spread = float(np.std(cross, dtype=np.float64))
    steepest = math.sqrt(n / m) / spread if spread > 0 else 0.0
    told = weight * np.asarray(cross, dtype=np.float64)
    order = np.argsort(-(known + told / (spread or 1.0)), kind="stable")
    last = order[k - 1]
    unknown = (1 - weight) * float(first[m]) + weight * math.sqrt(2 * n)
    if known[last] - unknown <= MARGIN:
        return False
    above = np.concatenate((order[: k - 1], np.repeat(last, m - k)))  # each of the k, and the last of them to the rest
    gap_known, gap_told = known[above] - known[order[1:]], told[above] - told[order[1:]]
    return bool((np.minimum(gap_known, gap_known + gap_told * steepest) > MARGIN).all())
