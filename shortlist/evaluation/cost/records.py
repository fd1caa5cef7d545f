"""What a measurement of cost is made of: every number beside what it was measured on and how disturbed that was."""

from collections.abc import Mapping
from dataclasses import dataclass

from shortlist.evaluation.records import Estimate


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Three percentiles of a set of durations, milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long the calls of one point took, and the control task that ran between them.

    Attributes:
        calls: Number of timed calls: queries times repeats.
        p50: Median, milliseconds.
        p95: 95th percentile.
        p99: 99th percentile; of fewer than 100 calls it is next to the longest one.
        control: The same of the control task, which is the same work everywhere.
        slowdown: How much longer the control task took than when quiet, on average, relative: the share that whatever
            else the machine did added to these calls as well.
        noisy: That was too much: read the point with care, or measure again.
    """

    calls: int
    p50: float
    p95: float
    p99: float
    control: Percentiles
    slowdown: float = 0.0
    noisy: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the numbers were measured on.

    Attributes:
        processor: Its name.
        cores: Cores that the process may run on.
        memory_bytes: Memory of the machine; 0 when it does not say.
        system: Operating system.
        device: ``cpu`` or ``cuda``, where the models ran.
        threads: Threads that torch and FAISS may use.
        load: Mean number of running processes in the minute before; ``None`` when the system does not say.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    device: str
    threads: int
    load: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """How quiet the machine was, told by the control task over the whole measurement.

    Attributes:
        task: What the control task does, in words.
        rule: When a point is marked noisy, in words.
        calls: How often it ran.
        quiet: What it takes when nothing disturbs it, milliseconds: its 10th percentile.
        control: Percentiles over everything.
        spread: p95 over p50, less 1: 0 is a machine that does the same work in the same time.
        slowdown: As `Latency.slowdown`, over everything.
        others: Cores that other processes kept busy meanwhile, on average; ``None`` when the system does not say.
        margin: How far the control's mean at a point lay from the middle of all, relative, at most: what taking turns
            has not evened out.
        noisy: Number of points marked.
        points: Number of points.
    """

    task: str
    rule: str
    calls: int
    quiet: float
    control: Percentiles
    spread: float
    slowdown: float = 0.0
    others: float | None = None
    margin: float
    noisy: int
    points: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexPoint:
    """An index at one value of its search parameter.

    Attributes:
        value: The value; 0 for a kind without a parameter.
        chosen: It is the one that the index has by its own configuration.
        recall: Mean recall against exact search, at the curve's ``k``.
        latency: Of one query at a time.
        queries_per_s: Of all queries handed over as one batch, by the median over the repeats.
    """

    value: int
    chosen: bool
    recall: float
    latency: Latency
    queries_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexCurve:
    """One kind of index over its search parameter.

    Attributes:
        kind: As `indexing.faiss_kinds.Plan` names it.
        own: It is the bundle's own, as it lies on disk; the others were built for the measurement, with their defaults.
        parameter: What the points vary: ``ef_search`` or ``probes``; empty for a kind without one.
        fixed: The other parameters.
        k: Rows asked for, and the cut-off of recall.
        queries: Number of queries.
        count: Number of vectors.
        build_s: Seconds that the build took; of the bundle's own, as its manifest says.
        size_bytes: Of the index in memory.
        bytes_per_vector: The same for each vector.
        mapped_bytes_per_vector: Of the exact vectors on disk, which every kind maps to score again what it retrieved;
            they are not in ``bytes_per_vector``.
        points: By rising value.
    """

    kind: str
    own: bool
    parameter: str
    fixed: Mapping[str, float]
    k: int
    queries: int
    count: int
    build_s: float
    size_bytes: int
    bytes_per_vector: float
    mapped_bytes_per_vector: float
    points: tuple[IndexPoint, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilteredPoint:
    """An index under a filter.

    Attributes:
        kind: Kind of index.
        own: It is the bundle's own.
        filter: ``random`` (a seeded draw of products), or the column whose value the products share, such as
            ``category``.
        label: The filter in words, such as ``category = Printers``.
        eligible: Products that may be returned.
        share: The same as a share of the catalogue.
        k: Rows asked for, and the cut-off of recall.
        queries: Number of queries.
        recall: Mean recall against exact search over the eligible products alone.
        violations: Rows returned that are not eligible, over all queries; must be 0.
        short: Answers with fewer rows than there could be, min(k, eligible); must be 0.
        latency: Of one query at a time.
    """

    kind: str
    own: bool
    filter: str
    label: str
    eligible: int
    share: float
    k: int
    queries: int
    recall: float
    violations: int
    short: int
    latency: Latency


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierPoint:
    """One way to answer queries, with what it is worth and what it takes.

    Attributes:
        name: Unique among the points.
        system: ``bm25``, ``dense``, ``hybrid`` or ``hybrid_rerank``.
        index: Kind of the dense index; empty without one.
        own_index: That index is the bundle's own.
        depth: Candidates that the first stage keeps, and that the cross-encoder sees where there is one.
        layers: Layers of the cross-encoder that ran, from the first one; 0 without one.
        all_layers: Layers that it has; fewer than these is a truncation that nobody trained.
        precision: ``fp32`` or ``bf16``; empty where no model runs.
        quality: Mean of the measure with its bootstrap interval.
        latency: Of a whole answer to one query, the query's encoding included.
        machine_s: Mean seconds of the whole machine that a query takes (`Price.formula`).
        cost_per_million: Price of a million such queries; ``None`` without a price.
        memory_bytes: Resident bytes of the parts it needs; ``None`` where they were not measured.
        optimal: No other point is at least as good in both, quality and p50, and better in one of them by more than
            the noise.
        dominated_by: Name of a point that is; empty for an optimal one.
        against_best: Mean difference in quality from the best point, 0 or less, and its paired bootstrap interval.
    """

    name: str
    system: str
    index: str
    own_index: bool
    depth: int
    layers: int
    all_layers: int
    precision: str
    quality: Estimate
    latency: Latency
    machine_s: float
    cost_per_million: float | None
    memory_bytes: int | None
    optimal: bool
    dominated_by: str
    against_best: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """Quality against latency over systems, depths, layers, precisions and indexes.

    Attributes:
        measure: Name of the quality.
        queries: Queries behind every quality.
        timed: Those of them that were timed.
        margin: As `Noise.margin`, over these points. Two latencies count as equal when they differ by no more than the
            sum of what their control's means were off.
        best: Name of the point of the highest quality.
        cheapest_as_good: Name of the fastest point whose interval against the best one reaches 0: not shown to be
            worse on these queries, which is less than shown to be as good.
        points: In the order of measuring.
    """

    measure: str
    queries: int
    timed: int
    margin: float
    best: str
    cheapest_as_good: str
    points: tuple[FrontierPoint, ...]


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """What loading one part of the searcher added.

    Attributes:
        name: ``libraries``, ``encoder``, ``products``, ``vectors``, ``index``, ``lexical``, ``canary`` (pages that its
            searches touched), ``reranker`` or ``answering`` (those that queries touched).
        anonymous_bytes: Memory of its own.
        mapped_bytes: Resident pages of files, which the system may drop and read again.
    """

    name: str
    anonymous_bytes: int
    mapped_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident memory of a process that does nothing but search the bundle.

    Attributes:
        how: Where the numbers come from, in words.
        parts: In the order of loading.
        answered: Queries answered before the last part was measured.
    """

    how: str
    parts: tuple[MemoryPart, ...]
    answered: int

    @property
    def total_bytes(self) -> int:
        """Sum of all parts."""
        return sum(part.anonymous_bytes + part.mapped_bytes for part in self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a million queries are priced by.

    Attributes:
        per_hour: Of the machine; ``None`` when nobody named one and none can be assumed.
        currency: Its currency.
        cores: Cores that this price pays for.
        utilisation: Share of the machine's time that serves queries; the rest waits for them.
        formula: In words and symbols.
        source: Where the price comes from.
    """

    per_hour: float | None
    currency: str
    cores: int
    utilisation: float
    formula: str
    source: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was asked for and could not be measured, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CostReport:
    """Quality and cost of a bundle, measured together on one machine.

    Attributes:
        machine: What it ran on.
        noise: How quiet that was.
        indexes: Recall and speed per kind of index.
        selectivity: The same under filters.
        frontier: Quality against latency; ``None`` where it could not be measured (then in ``skipped``).
        memory: ``None`` where it could not be measured.
        price: Behind every cost.
        repeats: How often every query was timed at every point.
        seed: Of every draw.
        skipped: What is missing, and why.
    """

    machine: Machine
    noise: Noise
    indexes: tuple[IndexCurve, ...]
    selectivity: tuple[FilteredPoint, ...]
    frontier: Frontier | None
    memory: Memory | None
    price: Price
    repeats: int
    seed: int
    skipped: tuple[Skipped, ...]
