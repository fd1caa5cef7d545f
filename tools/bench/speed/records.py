"""What a measurement is made of: raw values of both sides, the ratio, the target, and the quality beside it.

Values are what something costs (milliseconds, MiB), so less is better, except where a row has no peer and says which
way its target points.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

FEWEST = 5
"""Rounds behind a median that is reported."""


class Compared(Enum):
    """What stands in the column ``ratio`` and is held against the target."""

    faster = "faster"
    """The peer's median over ours: how many times faster (or smaller) we are."""
    share = "share"
    """Our median over the peer's: .45 is 45 % of what the peer takes."""
    alone = "alone"
    """Our median itself: there is no peer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is asked of the ratio; exactly one is set.

    Attributes:
        at_least: Reached at or above.
        at_most: Reached at or below.
    """

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Refuse a target that asks nothing, or two things."""
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"a target has at_least or at_most, got {self.at_least} and {self.at_most}")

    def holds(self, value: float) -> bool:
        """Return whether ``value`` reaches it."""
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """A figure of quality that has to hold, or the speed does not count.

    Attributes:
        name: What and where, such as ``top-10 overlap with fp32, Icecat``.
        value: The figure.
        low: Lower end of its interval, where it has one.
        high: Upper end; both or neither.
        at_least: The value has to reach this, or ``None``.
        within: The whole interval has to lie within plus or minus this, or ``None``.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    within: float | None = None

    def __post_init__(self) -> None:
        """Refuse an interval with one end, and a demand on an interval that is not there."""
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: an interval has two ends, got {self.low} and {self.high}")
        if self.within is not None and self.low is None:
            raise ValueError(f"{self.name}: within={self.within} asks for an interval, and there is none")

    @property
    def is_asked(self) -> bool:
        """Whether anything is asked of it."""
        return self.at_least is not None or self.within is not None

    @property
    def holds(self) -> bool:
        """Whether what is asked of it is so; without a demand it is only told."""
        if self.at_least is not None and self.value < self.at_least:
            return False
        if self.within is None or self.low is None or self.high is None:
            return True
        return -self.within <= self.low and self.high <= self.within


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One contestant.

    Attributes:
        name: With its setting and version, such as ``sentence-transformers 6.0.1, encode with defaults``.
        values: One per round, in the order of the rounds, in the unit of the row. Both sides of a row that took turns
            have as many, and the n-th of both were measured one right after the other.
        raw: What the values were computed from, where that is more: milliseconds of every call.
    """

    name: str
    values: tuple[float, ...]
    raw: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a side that was never measured."""
        if not self.values:
            raise ValueError(f"{self.name}: expected at least one value, got none")

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """What is held against the target.

    Attributes:
        value: Of the medians.
        low: The least of the ratios of each round; of medians where sides did not take turns.
        high: The greatest of them.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        job: What was done, with its sizes: ``encode 1,000 Icecat products``.
        compared: What the ratio is.
        unit: Of the values: ``ms``, ``s``, ``MiB``, ``bytes/vector``, or empty for a plain number.
        ours: Our side; ``None`` when it was not run.
        peer: The other side; ``None`` when there is none, or nothing was run.
        target: What is asked of the ratio; ``None`` when it is told for information.
        work: How many things one value is about, such as 1,000 products; with ``per`` the table shows a rate.
        per: Their name, plural, such as ``products``; a rate needs a unit of time.
        quality: What has to hold beside it.
        limited_by: When it is not reached, what limits it and what was tried, in a sentence.
        few_because: Why there are fewer than five rounds, where there are; printed beside the row.
        not_run: Why nothing was measured, such as ``no CUDA device``; printed in place of figures.
        against: The peer's name, for a row that was not run.
    """

    job: str
    compared: Compared
    unit: str = "ms"
    ours: Side | None = None
    peer: Side | None = None
    target: Target | None = None
    work: int = 1
    per: str = ""
    quality: tuple[Quality, ...] = ()
    limited_by: str = ""
    few_because: str = ""
    not_run: str = ""
    against: str = ""

    def __post_init__(self) -> None:
        """Refuse a row whose parts do not fit together."""
        if (self.ours is None) == (not self.not_run):
            raise ValueError(f"{self.job}: a row has our values, or says why it was not run")
        if self.ours is not None and (self.peer is None) != (self.compared is Compared.alone):
            raise ValueError(f"{self.job}: compared={self.compared.value} does not fit with peer={self.peer}")
        if self.per and self.unit not in ("ms", "s"):
            raise ValueError(f"{self.job}: a rate needs a unit of time, got {self.unit!r}")
        few = min((len(side.values) for side in (self.ours, self.peer) if side is not None), default=FEWEST)
        if self.unit in ("ms", "s") and few < FEWEST and not self.few_because:
            raise ValueError(
                f"{self.job}: expected at least {FEWEST} rounds, got {few}; if it must be, say few_because"
            )

    @property
    def ratio(self) -> Ratio | None:
        """The ratio of the medians and its spread over the rounds; ``None`` when nothing was run."""
        if self.ours is None:
            return None
        if self.peer is None:
            return Ratio(value=self.ours.median, low=min(self.ours.values), high=max(self.ours.values))
        above, below = (self.peer, self.ours) if self.compared is Compared.faster else (self.ours, self.peer)
        whole = above.median / below.median
        each = [whole]
        if len(above.values) == len(below.values):
            each += [one / other for one, other in zip(above.values, below.values, strict=True)]
        return Ratio(value=whole, low=min(each), high=max(each))

    @property
    def reached(self) -> bool | None:
        """Whether ratio and quality hold; ``None`` when nothing was run or nothing is asked."""
        ratio = self.ratio
        asked = self.target is not None or any(each.is_asked for each in self.quality)
        if ratio is None or not asked:
            return None
        return (self.target is None or self.target.holds(ratio.value)) and all(one.holds for one in self.quality)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """A picture of a measurement, drawn to ``docs/pictures/<file>.svg``.

    Attributes:
        file: Lower-case words joined by hyphens.
        title: What it shows.
        x: Title of the horizontal axis, unit included.
        y: The same of the vertical one.
        series: Name -> points (x, y), joined in their order.
        log_x: Logarithmic.
        log_y: Logarithmic.
    """

    file: str
    title: str
    x: str
    y: str
    series: Mapping[str, tuple[tuple[float, float], ...]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one module measured.

    Attributes:
        name: The module's ``NAME``.
        rows: Lines of the table.
        threads: Threads that both sides might use.
        device: Where models and indexes ran: ``cpu``, or the name of the CUDA device.
        noise: `stopwatch.Stopwatch.noise`, of the machine while it was measured; empty when nothing was timed.
        plots: Pictures.
        notes: Sentences printed below the table: recipes, what is a stub, what the figures do not show.
        facts: Anything else worth keeping: parameters, counts, seeds, versions of peers in another environment.
    """

    name: str
    rows: tuple[Row, ...]
    threads: int = 0
    device: str = "cpu"
    noise: Mapping[str, float | None] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What every module is given.

    Attributes:
        quick: Small sizes and few rounds, to see that it runs; nothing is written.
        rounds: Rounds of every contest.
        threads: Threads for both sides.
        seed: Of every draw.
        data: Folder of the development data sets (icecat, homedepot); may be absent.
        work: Scratch folder for indexes, models and bundles; kept between runs.
        peers_python: Interpreter with the peers that are not in the main environment; may be absent.
        settings: What ``--set NAME.KEY=VALUE`` says, by ``NAME.KEY``.
    """

    quick: bool = False
    rounds: int = 7
    threads: int = 1
    seed: int = 7
    data: Path = Path()
    work: Path = Path()
    peers_python: Path = Path()
    settings: Mapping[str, str] = field(default_factory=dict)

    def number(self, key: str, default: int, *, quick: int | None = None) -> int:
        """Return the setting ``key`` (``NAME.KEY``) as a whole number; the default, or ``quick`` on a quick run."""
        if key in self.settings:
            return int(self.settings[key])
        return quick if self.quick and quick is not None else default
