"""What an evaluation is made of: the options, what went in, and what came out, per system and per query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.records import Qrels, Run
from shortlist.config import Convention

if TYPE_CHECKING:
    from shortlist.evaluation.cost.records import CostReport
    from shortlist.evaluation.scores import ScoreProfile

PerQuery = Mapping[str, float]
"""query_id -> value of one measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """How runs are measured and compared.

    Attributes:
        k: Cut-off of nDCG, condensed nDCG and Judged; a convention without a cut-off leaves it to Judged.
        recall_k: Cut-off of recall.
        min_grade_recall: Smallest grade that recall counts; RR and AP count every grade above 0.
        convention: How nDCG is computed and which queries count.
        baseline: The system the others are compared with; empty takes the best of those whose name does not end in
            ``_rerank``, the best of all when there is none.
        trials: Resamplings of the paired test and of the intervals.
        seed: Seeds both.
        examples: Queries shown at each end of the gains.
        shown: Products shown per query and system.
    """

    k: int = 10
    recall_k: int = 100
    min_grade_recall: int = 2
    convention: Convention = Convention.linear
    baseline: str = ""
    trials: int = 10_000
    seed: int = 7
    examples: int = 5
    shown: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("k", "recall_k", "min_grade_recall", "trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("examples", "shown"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class SystemRun:
    """What one system answered.

    Attributes:
        run: query_id -> (product_id, score), best first; the order counts, equal scores included.
        latencies_ms: query_id -> milliseconds; empty when nobody measured, as with a run file from elsewhere.
        probability_of: The scores claim to be probabilities that the grade is this or higher, which is then checked;
            ``None`` when they only order.
        probabilities: query_id -> product_id -> probability of such a grade, where it stands beside the scores and not
            in their place; empty when the scores themselves are the probabilities.
    """

    run: Run
    latencies_ms: Mapping[str, float] = field(default_factory=dict)
    probability_of: int | None = None
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def claims(self) -> Run:
        """The run with what is claimed of each product in place of its score; products without a claim are left out."""
        if not self.probabilities:
            return self.run
        return {
            query_id: [(product_id, of[product_id]) for product_id, _ in self.run.get(query_id, []) if product_id in of]
            for query_id, of in self.probabilities.items()
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the numbers come from; what is empty was not told.

    Attributes:
        source: The catalogue's files.
        judgments: The file of judgments.
        bundle: The bundle's folder.
        generation: The bundle version that answered.
        fingerprint: Digest of the query tower.
        digests: Name -> SHA-256 of what went in.
        settings: What the bundle says of itself, such as ``{"fusion.kind": "rrf", "fusion.constant": "60.0"}``.
        configuration: The evaluation's own configuration as composed, in the same form.
        command: The command line.
    """

    source: str = ""
    judgments: str = ""
    bundle: str = ""
    generation: str = ""
    fingerprint: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conventions:
    """The choices that make two nDCG of the same run differ, in words."""

    name: str
    gains: str
    discount: str
    cutoff: str
    ideal: str
    ranked: str
    unjudged: str
    queries: str
    unanswered: str
    ties: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap interval of a mean; ``level`` is its coverage."""

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Floors:
    """Mean nDCG of a random order, under the evaluation's convention.

    Attributes:
        judged: Of the judged products of each query: what a system gets that merely finds them.
        catalogue: Of the whole catalogue; ``None`` when its size is not known.
    """

    judged: float
    catalogue: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """What people get: each rater scored as a system against the adopted grades, on the products all raters graded.

    Attributes:
        measure: Name of the nDCG.
        raters: Rater -> mean nDCG; products of one grade are tied, which is worth the mean over their orders.
        systems: System -> mean nDCG on the same products, in the order of its run.
        random: Mean nDCG of a random order of them.
        queries: Queries that count on those products.
        products: Number of query-product pairs.
    """

    measure: str
    raters: Mapping[str, Estimate]
    systems: Mapping[str, Estimate]
    random: float
    queries: int
    products: int

    @property
    def mean(self) -> float:
        """Mean over the raters."""
        return sum(estimate.mean for estimate in self.raters.values()) / len(self.raters)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaps:
    """What does not fit together between queries, judgments and catalogue; counted, never dropped in silence.

    Attributes:
        unjudged_queries: Queries of the catalogue without judgments; nobody asked them.
        outside: Judgments, of evaluated queries, of products that the catalogue does not hold; no system can find them.
        outside_relevant: Those of them with a grade above 0, which lower every system.
        outside_examples: Up to three such products.
        outside_runs: System -> ranked products that the catalogue does not hold (a run file from elsewhere).
    """

    unjudged_queries: int = 0
    outside: int = 0
    outside_relevant: int = 0
    outside_examples: tuple[str, ...] = ()
    outside_runs: Mapping[str, int] = field(default_factory=dict)


Slices = Mapping[str, Mapping[str, str]]
"""Slice -> query_id -> value, such as ``{"numbers": {"q1": "yes"}}``; a query without a value is in none of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A candidate held against a baseline, query by query, over all queries or those of one slice.

    Attributes:
        measure: What was compared.
        baseline: Name of the one.
        candidate: Name of the other.
        cell: ``all``, or slice and value as in ``typos/yes``.
        queries: Number of pairs.
        baseline_mean: Mean of the baseline over them.
        candidate_mean: Mean of the candidate.
        difference: Mean of candidate minus baseline.
        interval: Paired bootstrap interval of the difference.
        p: Two-sided p of the paired randomisation test.
        p_holm: The same after Holm's correction over everything compared at once.
        wins: Queries on which the candidate is better.
        ties: Queries on which both are equal.
        losses: Queries on which the baseline is better.
        detectable: Smallest true difference that these queries would show in four tests out of five.
        judged_difference: Mean of the candidate's judged share minus the baseline's.
        condensed_difference: Mean difference of the condensed measure; 0 where there is none.
        condensed_p: Its p, not corrected; 1 where there is none.
    """

    measure: str
    baseline: str
    candidate: str
    cell: str
    queries: int
    baseline_mean: float
    candidate_mean: float
    difference: float
    interval: Interval
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    detectable: float
    judged_difference: float = 0.0
    condensed_difference: float = 0.0
    condensed_p: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemResult:
    """One system, measured.

    Attributes:
        name: The system.
        run: What it answered to the evaluated queries.
        latencies_ms: query_id -> milliseconds of everything it was asked; may be empty.
        per_query: measure -> query_id -> value, for every evaluated query.
        means: measure -> mean over the evaluated queries.
        intervals: measure -> bootstrap interval of that mean.
        unanswered: Evaluated queries without a single product, counted in the means with 0.
        not_evaluated: Queries it answered that no judgment with a grade above 0 covers; ignored.
    """

    name: str
    run: Run
    latencies_ms: Mapping[str, float]
    per_query: Mapping[str, PerQuery]
    means: Mapping[str, float]
    intervals: Mapping[str, Interval]
    unanswered: int
    not_evaluated: int


@dataclass(frozen=True, slots=True)
class ShownProduct:
    """A product in an example; ``grade`` is ``None`` when nobody judged it."""

    rank: int
    product_id: str
    title: str
    detail: str
    grade: int | None


@dataclass(frozen=True, slots=True)
class ShownRanking:
    """The head of one system's answer to one query.

    Attributes:
        system: Who answered.
        value: Its primary measure on this query.
        products: The first few products.
        grades: Grades of the first ``k`` ranks, ``None`` for unjudged.
    """

    system: str
    value: float
    products: tuple[ShownProduct, ...]
    grades: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One query on which the two systems differ much: the baseline's answer, then the candidate's."""

    query_id: str
    text: str
    gain: float
    rankings: tuple[ShownRanking, ShownRanking]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Systems measured on the same queries.

    Attributes:
        dataset: Name of the catalogue.
        qrels: The judgments of the evaluated queries: those that count under the convention.
        left_out: Judged queries that do not count, in order; in no mean.
        systems: Name -> result, in the order given.
        measures: Names of all measures, in the order of the table; the first is the primary one.
        baseline: Name of the system the others are compared with.
        comparisons: Name of every other system -> its comparison on the primary measure.
        candidate: The system shown against the baseline: the best of the others; empty when there is only one.
        best: Examples where the candidate gains most, best first.
        worst: Examples where it loses most, worst first.
        options: What was asked for.
        conventions: The same in words.
        floors: What a random order gets.
        ceiling: What the human raters get; ``None`` without their grades.
        gaps: What does not fit together.
        query_texts: query_id -> text of the evaluated queries, as far as known.
        slices: What kind of query each is.
        provenance: Where everything comes from.
        versions: Package -> version.
        generated_at: UTC, ISO 8601.
        by_slice: Every other system held against the baseline over all queries and in every slice, system by system,
            corrected together.
        untested: Slice and value -> its queries, too few to be tested.
        scores: System -> what its scores tell.
        cost: What the searches cost; ``None`` when nobody measured.
    """

    dataset: str
    qrels: Qrels
    left_out: tuple[str, ...]
    systems: Mapping[str, SystemResult]
    measures: tuple[str, ...]
    baseline: str
    comparisons: Mapping[str, Comparison]
    candidate: str
    best: tuple[Example, ...]
    worst: tuple[Example, ...]
    options: EvaluationOptions
    conventions: Conventions
    floors: Floors
    ceiling: Ceiling | None
    gaps: Gaps
    query_texts: Mapping[str, str]
    slices: Slices
    provenance: Provenance
    versions: Mapping[str, str]
    generated_at: str
    by_slice: tuple[Comparison, ...] = ()
    untested: Mapping[str, int] = field(default_factory=dict)
    scores: "Mapping[str, ScoreProfile]" = field(default_factory=dict)
    cost: "CostReport | None" = None

    @property
    def queries(self) -> int:
        """Number of evaluated queries, the divisor of every mean."""
        return len(self.qrels)

    @property
    def primary(self) -> str:
        """Name of the measure that systems are compared by."""
        return self.measures[0]
