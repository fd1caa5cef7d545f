"""Statistics that may be looked at after every observation, and acted upon, without losing their guarantee.

Observations lie in [0, 1] and come one at a time. `MeanSequence` bounds their mean at all times at once; `DecayTest`
says when the mean has fallen below a target, however late that happens. Both hold a few dozen numbers, whatever has
been observed. Both also take many independent streams at once, which is how a simulation tries thousands of runs on
the very code that watches one.

Neither assumes that observations are independent or alike: what is bounded, and tested, is the mean of each
observation given those before it.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

DoubleArray: TypeAlias = npt.NDArray[np.float64]

_BETS = 12  # neighbours differ by a factor of 1.5; the growth rate is flat around its best bet, 5 % lower at most
_BET_SHARES = np.geomspace(0.01, 0.99, _BETS)  # of the largest bet that cannot lose everything
_LARGEST = 1e200  # keeps a capital finite through any decay; cutting it down can only weaken the evidence

_SLOPES = 0.95 / 2.0 ** np.arange(16)  # below 1; the last is best when V is some 1e10
_SLOPE_LOSSES = -np.log1p(-_SLOPES) - _SLOPES
_RANGES = 0.5 ** np.arange(6)  # the last is best where hardly anything lies below .97
_SHARES = np.multiply.outer(*(1 / (np.arange(1, n + 1) * np.arange(2, n + 2)) for n in (6, 16)))  # sum up to below 1


class MeanSequence:
    """A confidence sequence for the running mean: with probability 1 - alpha it is never wrong, at any time.

    What is bounded is the mean, over the observations made, of each one's expectation given those before it. Nothing
    need stay as it was: after a change, the interval goes with the mean over everything since the start.

    For a guess g made before an observation x that is expected to be m, and a range r with x - g <= r,
    ``exp(s / r * (m - x) - psi(s) * ((g - x) / r)^2)`` with 0 <= s < 1 and psi(s) = -log(1 - s) - s is at most 1 in
    the mean (Fan, Grama & Liu, Electronic Journal of Probability 20, 2015: exp(s*u - psi(s)*u^2) <= 1 + s*u for
    u >= -1). The product over all observations hence exceeds 1 / share at any time with probability ``share`` at most
    (Ville 1939), and the sum of m - x stays below the line ``(log(1 / share) + psi(s) * V) * r / s``, V being the sum
    of ((g - x) / r)^2. The margin is the least of such lines over a grid of s and r, whose shares sum up to less than
    alpha / 2; so is that of the other side. A small range, with guesses held within it of 1, is what makes the upper
    end sharp for recalls close to 1.

    Source: Howard, Ramdas, McAuliffe & Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals
    of Statistics 49(2), 2021, theorem 4 (empirical Bernstein), of which r = 1 is the case stated there.
    """

    def __init__(self, *, alpha: float, streams: tuple[int, ...] = ()) -> None:
        """Begin without observations.

        Args:
            alpha: Probability that the sequence is ever wrong, in (0, 1).
            streams: Shape of independent streams observed together; none for a single one.

        Raises:
            ValueError: If ``alpha`` is out of range.
        """
        self._costs = math.log(2 / _in_open_unit("alpha", alpha)) - np.log(_SHARES)
        self.count = 0
        self._sum = np.zeros(streams)
        self._spreads = np.zeros((*streams, 2, len(_RANGES)))  # V for the upper and the lower end, by range

    def observe(self, value: npt.ArrayLike) -> None:
        """Take one observation of every stream, in [0, 1].

        Raises:
            ValueError: If one is out of range or NaN.
        """
        observed = _checked(value)
        guess = ((1 + self._sum) / (1 + self.count))[..., np.newaxis]
        guesses = np.stack((np.maximum(guess, 1 - _RANGES), np.minimum(guess, _RANGES)), axis=-2)
        self._spreads = self._spreads + ((guesses - observed[..., np.newaxis, np.newaxis]) / _RANGES) ** 2
        self._sum = self._sum + observed
        self.count += 1

    @property
    def mean(self) -> DoubleArray:
        """Mean of the observations, float64 of the shape of the streams; NaN before the first."""
        return self._sum / self.count if self.count else np.full_like(self._sum, np.nan)

    def interval(self) -> tuple[DoubleArray, DoubleArray]:
        """Return the lower and the upper end now, float64 of the shape of the streams; 0 and 1 before the first."""
        if not self.count:
            return np.zeros_like(self._sum), np.ones_like(self._sum)
        lines = self._costs + _SLOPE_LOSSES * self._spreads[..., np.newaxis]
        margins = np.min(lines * _RANGES[:, np.newaxis] / _SLOPES, axis=(-2, -1)) / self.count
        return np.maximum(self.mean - margins[..., 1], 0.0), np.minimum(self.mean + margins[..., 0], 1.0)


class DecayTest:
    """A test of "no observation was expected to be below the target" that may be looked at, and ended, at any time.

    Bets are placed against the target before every observation: a capital of 1 is multiplied by ``1 + bet * (target -
    value)``. While the hypothesis holds no bet gains on average, so a capital, and any mean of capitals, exceeds
    1 / alpha at any time whatever with probability alpha at most (Ville 1939). Here it is the mean over every time at
    which betting may begin, so that a long good past does not have to be lost first, and over a grid of bets, so that
    small and large decays both find theirs.

    The time t has the share ``1 / log2(t + 1) - 1 / log2(t + 2)``; all shares sum to 1, and they fall hardly faster
    than 1 / t, so that a late decay is found almost as soon as an early one. What has not begun is worth its share, and
    all that have begun with one bet are carried as one number: ``capital = (capital + share) * (1 + bet * (target -
    value))``. That is the recursion of Shiryaev and Roberts with shares instead of ones, which turns its bound on the
    mean time between false alarms into one on the probability of any.

    Source: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, JRSS B 86(1), 2024, section
    4 (the capital); Shin, Ramdas & Rinaldo, E-detectors, New England Journal of Statistics in Data Science 2(2), 2023
    (sums over starting times, mixtures over bets).
    """

    def __init__(self, target: float, *, streams: tuple[int, ...] = ()) -> None:
        """Begin with a capital of 1.

        Args:
            target: Mean that each observation is expected to reach, in (0, 1).
            streams: As for `MeanSequence`.

        Raises:
            ValueError: If ``target`` is out of range. At 1 there is nothing to test: one miss is proof.
        """
        self._target = _in_open_unit("target", target)
        self._bets = _BET_SHARES / (1 - target)
        self._capital = np.zeros((*streams, _BETS))
        self._count = 0

    def observe(self, value: npt.ArrayLike) -> None:
        """Take one observation of every stream, in [0, 1].

        Raises:
            ValueError: If one is out of range or NaN.
        """
        gain = 1 + self._bets * (self._target - _checked(value)[..., np.newaxis])
        begun = _not_begun(self._count) - _not_begun(self._count + 1)
        self._capital = np.minimum((self._capital + begun) * gain, _LARGEST)
        self._count += 1

    @property
    def evidence(self) -> DoubleArray:
        """What a capital of 1 has become, float64 of the shape of the streams; 1 before the first observation.

        While the hypothesis holds, it ever reaches 1 / alpha with probability alpha at most.
        """
        evidence: DoubleArray = self._capital.mean(axis=-1) + _not_begun(self._count)
        return evidence


def _not_begun(count: int) -> float:
    """Share of the starting times after the first ``count``."""
    return 1 / math.log2(count + 2)


def _in_open_unit(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, neither included, got {value}")
    return value


def _checked(value: npt.ArrayLike) -> DoubleArray:
    observed: npt.NDArray[Any] = np.asarray(value, dtype=np.float64)
    if not np.all((observed >= 0) & (observed <= 1)):
        raise ValueError(f"observations must be in [0, 1], got {np.min(observed)} to {np.max(observed)}")
    return observed
