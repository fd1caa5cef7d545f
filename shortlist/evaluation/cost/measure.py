"""Measure quality and cost of a bundle together: memory, then indexes, then filters, then whole answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from indexing.errors import EnvironmentProblem
from shortlist.bundle import Bundle
from shortlist.config import EvaluateConfig
from shortlist.evaluation.conventions import RULES
from shortlist.evaluation.cost.bench import Bench, open_bench
from shortlist.evaluation.cost.frontier import MeasuredWay, frontier
from shortlist.evaluation.cost.indexes import CurvePoint, MeasuredIndex, curve_points, curves, every_index
from shortlist.evaluation.cost.machine import Usage
from shortlist.evaluation.cost.memory import needed_bytes, weigh
from shortlist.evaluation.cost.noise import Judge
from shortlist.evaluation.cost.price import machine_s, price_of
from shortlist.evaluation.cost.records import CostReport, Memory, Skipped
from shortlist.evaluation.cost.selectivity import (
    Filter,
    FilterTask,
    filter_tasks,
    filtered_points,
    random_filters,
    shared_column,
    shared_filters,
)
from shortlist.evaluation.cost.turns import Timed
from shortlist.evaluation.cost.ways import answers, every_way, pairs_to_score
from shortlist.evaluation.measures import Scorer
from shortlist.evaluation.records import Evaluation
from shortlist.progress import progress, say


def measure_cost(config: EvaluateConfig, bundle: Bundle, evaluation: Evaluation) -> CostReport:
    """Measure what ``config.cost`` asks for.

    Args:
        config: Its ``cost`` is a `shortlist.cost.CostSweepConfig`.
        bundle: Opened and verified.
        evaluation: Of the same bundle; its judgments and options decide the quality, its texts what is asked.

    Raises:
        ConfigError: If nothing is asked for, the bundle cannot be asked texts, or no query can be asked.
        ArtifactError: If the bundle cannot be loaded.
    """
    bench = open_bench(config, bundle, evaluation.query_texts)
    memory, skipped = _memory(bench)
    indexes, not_built = _indexes(bench)
    before = Usage.now()
    searches = _searches(bench, indexes)
    replies = _replies(bench, indexes, memory, evaluation)
    others = Usage.now().others_since(before)
    skipped += [*not_built, *searches.skipped, *replies.skipped]
    timed = {**searches.timed, **{found.way.name: found.timed for found in replies.ways}}
    judge = Judge.of([*timed.values(), *searches.batches.values()], tolerance=bench.sweep.noise_tolerance)
    price = price_of(bench.sweep, cores=bench.machine.cores, device=bench.machine.device)
    return CostReport(
        machine=bench.machine,
        noise=judge.noise(timed, others=others),
        indexes=curves(searches.points, {**timed, **searches.batches}, judge, k=bench.sweep.index_k),
        selectivity=filtered_points(searches.filters, timed, judge, k=bench.sweep.filter_k),
        frontier=frontier(
            replies.ways,
            judge,
            price,
            measure=evaluation.primary,
            timed=min(bench.sweep.timed_queries, len(bench.texts)),
            trials=evaluation.options.trials,
            seed=evaluation.options.seed,
        )
        if replies.ways
        else None,
        memory=memory,
        price=price,
        repeats=bench.sweep.repeats,
        seed=bench.sweep.seed,
        skipped=tuple(skipped),
    )


def _memory(bench: Bench) -> tuple[Memory | None, list[Skipped]]:
    if not bench.sweep.memory:
        return None, [Skipped("memory", "cost.memory=false")]
    say("weighing the bundle in a process of its own")
    try:
        weighed = weigh(
            bench.generation.bundle.root,
            queries=bench.drawn(bench.sweep.timed_queries),
            runtime=bench.config.runtime,
            depth=bench.config.depth,
        )
    except EnvironmentProblem as error:
        return None, [Skipped("memory", str(error))]
    return weighed, []


def _indexes(bench: Bench) -> tuple[list[MeasuredIndex], list[Skipped]]:
    generation, kinds = bench.generation, bench.sweep.kinds
    with progress("building indexes", len(kinds), unit="indexes") as advance:
        return every_index(
            bench.sweep,
            bench.own,
            generation.vectors,
            tie_rank=generation.products.tie_rank,
            threads=bench.machine.threads,
            advance=advance,
        )


# --- the indexes alone ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Searches:
    """What was measured of the indexes alone.

    Attributes:
        points: Of the curves.
        filters: Indexes under filters.
        timed: Name of the task -> its calls, one query each.
        batches: The same of the calls that ask all queries at once.
        skipped: Filters that could not be had.
    """

    points: list[CurvePoint]
    filters: list[FilterTask]
    timed: dict[str, Timed]
    batches: dict[str, Timed]
    skipped: list[Skipped]


def _searches(bench: Bench, indexes: Sequence[MeasuredIndex]) -> _Searches:
    """Search without and with filters, with the query vectors encoded beforehand."""
    generation, sweep = bench.generation, bench.sweep
    vectors, tie_rank = generation.vectors, generation.products.tie_rank
    say("searching exactly, for recall")
    queries = bench.tower.encode_queries(bench.drawn(sweep.index_queries))
    points = curve_points(sweep, indexes, vectors, queries, tie_rank)
    timed = bench.take_turns("indexes", [task for point in points for task in (point.single, point.batch)])
    filters, skipped = _filters(bench)
    filtered = filter_tasks(sweep, indexes, filters, vectors, queries, tie_rank)
    timed |= bench.take_turns("filters", [found.task for found in filtered])
    batches = {point.batch.name: timed.pop(point.batch.name) for point in points}
    return _Searches(points=points, filters=filtered, timed=timed, batches=batches, skipped=skipped)


def _filters(bench: Bench) -> tuple[list[Filter], list[Skipped]]:
    sweep, generation = bench.sweep, bench.generation
    random = random_filters(sweep, generation.products.count)
    found = shared_column(generation.bundle.folder / "products.parquet", sweep.filter_columns)
    if found is None:
        why = f"none of the columns {', '.join(sweep.filter_columns) or '(none named)'} has a value"
        return random, [Skipped("filters that leave products that are alike", why)]
    shared, skipped = shared_filters(sweep, *found)
    return [*random, *shared], skipped


# --- whole answers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Replies:
    """What was measured of whole answers."""

    ways: list[MeasuredWay] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def _replies(bench: Bench, indexes: Sequence[MeasuredIndex], memory: Memory | None, evaluation: Evaluation) -> _Replies:
    """Answer every query in every way for its quality, and time some of them."""
    if RULES[bench.config.convention].judged_only:
        why = f"convention={bench.config.convention.name} ranks judged products alone, which is not what is searched"
        return _Replies(skipped=[Skipped("frontier", why)])
    ways, skipped = every_way(bench.sweep, bench.config.systems, bench.generation, indexes, depth=bench.config.depth)
    scorer = Scorer(evaluation.qrels, evaluation.options)
    with progress("quality", pairs_to_score(ways, len(bench.texts)), unit="pairs") as advance:
        values = {
            way.name: scorer.per_query(run)[evaluation.primary]
            for way, run in answers(ways, bench.texts, scored=advance)
        }
    asked = bench.drawn(bench.sweep.timed_queries)
    timed = bench.take_turns("answers", [way.task(asked) for way in ways])
    sizes = {measured.kind: measured.index.size_bytes for measured in indexes}
    measured_ways = [
        MeasuredWay(
            way=way,
            values=values[way.name],
            timed=timed[way.name],
            machine_s=machine_s(timed[way.name], cores=bench.machine.cores, device=bench.machine.device),
            memory_bytes=None if memory is None else needed_bytes(memory, way, sizes),
        )
        for way in ways
    ]
    return _Replies(measured_ways, skipped)
