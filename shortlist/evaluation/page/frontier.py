"""Quality against latency: of everything that was tried where cost was measured, else of the systems."""

from collections.abc import Sequence

from shortlist.evaluation.cost.records import Frontier, FrontierPoint
from shortlist.evaluation.figures import latency_ms, signed
from shortlist.evaluation.page.axes import linear_axis, log_axis
from shortlist.evaluation.page.cost_plot import CostPlot, bytes_text, legend_of, ms, p50
from shortlist.evaluation.page.points import Point, Series, point_plot
from shortlist.evaluation.page.tables import NumberTable
from shortlist.evaluation.records import Evaluation


def systems_plot(evaluation: Evaluation) -> CostPlot | None:
    """Quality against the latency of the evaluation itself, when nobody measured more."""
    timed = [(result, times) for result in evaluation.systems.values() if (times := latency_ms(result)) is not None]
    if not timed:
        return None
    primary = evaluation.primary
    series = [
        Series(
            number - 1,
            [
                Point(
                    x=times["p50"],
                    y=result.means[primary],
                    low=result.intervals[primary].low,
                    high=result.intervals[primary].high,
                    label=str(number),
                    title=f"{result.name}: {result.means[primary]:.4f} at {times['p50']:.2f} ms",
                )
            ],
        )
        for number, (result, times) in enumerate(timed, start=1)
    ]
    return CostPlot(
        title=f"{primary} against latency",
        notes=(
            "Median time of one answer as this evaluation asked it, one query at a time, with the 95 % interval of the "
            "quality. Further up and further left is better. Frontier, indexes, filters and memory are measured with "
            "cost=standard.",
        ),
        legend=(),
        plot=_quality_plot(series, primary),
        pinned=tuple(
            f"{result.name}: {result.means[primary]:.3f}, p50 {ms(times['p50'])}, p95 {ms(times['p95'])}"
            for result, times in timed
        ),
        tables=(),
    )


def _quality_plot(series: Sequence[Series], measure: str, *, trail: Sequence[Point] = ()) -> str:
    points = [point for one in series for point in one.points]
    heights = [value for p in points for value in (p.y, p.low, p.high) if value is not None]
    return point_plot(
        series,
        x=log_axis("p50 of one answer, ms", [point.x for point in points]),
        y=linear_axis(measure, heights),
        title=f"{measure} against p50 latency; the numbers follow",
        trail=trail,
    )


def frontier_plot(frontier: Frontier) -> CostPlot:
    """Draw every way to answer that was measured, the ones worth having numbered."""
    optimal = sorted((p for p in frontier.points if p.optimal), key=lambda point: point.latency.p50)
    pins = {point.name: str(number) for number, point in enumerate(optimal, start=1)}
    systems = list(dict.fromkeys(point.system for point in frontier.points))
    series = [
        Series(number, [_frontier_point(p, pins.get(p.name, "")) for p in frontier.points if p.system == system])
        for number, system in enumerate(systems)
    ]
    named = {point.name: point for point in frontier.points}
    return CostPlot(
        title=f"{frontier.measure} against latency",
        notes=(
            f"Every way to answer that was tried, on {frontier.queries:,} queries ({frontier.timed:,} of them timed). "
            "Numbered ones are the frontier: nothing else is as good and faster. Outlines are beaten by one of them.",
            _choice(named[frontier.best], named[frontier.cheapest_as_good]),
        ),
        legend=legend_of(systems),
        plot=_quality_plot(series, frontier.measure, trail=[_frontier_point(point, "") for point in optimal]),
        pinned=tuple(_pin(point) for point in optimal),
        tables=(_frontier_table(frontier),),
    )


def _frontier_point(point: FrontierPoint, pin: str) -> Point:
    return Point(
        x=point.latency.p50,
        y=point.quality.mean,
        low=point.quality.interval.low if pin else None,
        high=point.quality.interval.high if pin else None,
        label=pin,
        hollow=not point.optimal,
        title=f"{point.name}: {point.quality.mean:.4f} at {ms(point.latency.p50)}",
    )


def _choice(best: FrontierPoint, cheapest: FrontierPoint) -> str:
    lead = f"The best is {best.name} ({best.quality.mean:.4f}, p50 {ms(best.latency.p50)})"
    if best.name == cheapest.name:
        return f"{lead}; every faster one is shown to be worse."
    return (
        f"{lead}; the fastest not shown to be worse is {cheapest.name} ({cheapest.quality.mean:.4f}, p50 "
        f"{ms(cheapest.latency.p50)})."
    )


def _pin(point: FrontierPoint) -> str:
    return f"{point.name}: {point.quality.mean:.3f}, p50 {p50(point.latency)}, p95 {ms(point.latency.p95)}"


def _frontier_table(frontier: Frontier) -> NumberTable:
    has_cost = any(point.cost_per_million is not None for point in frontier.points)
    has_memory = any(point.memory_bytes is not None for point in frontier.points)
    heads = ("way to answer", frontier.measure, "95 % interval", "from the best", "p50", "p95", "p99",
             *(["a million queries"] if has_cost else []), *(["memory"] if has_memory else []),
             "beaten by")  # fmt: skip
    rows = [
        (
            point.name,
            f"{point.quality.mean:.4f}",
            f"{point.quality.interval.low:.3f} to {point.quality.interval.high:.3f}",
            signed(point.against_best.mean) if point.name != frontier.best else "–",
            p50(point.latency),
            ms(point.latency.p95),
            ms(point.latency.p99),
            *(["–" if point.cost_per_million is None else f"{point.cost_per_million:.2f}"] if has_cost else []),
            *([bytes_text(point.memory_bytes) if point.memory_bytes is not None else "–"] if has_memory else []),
            point.dominated_by or "–",
        )
        for point in frontier.points
    ]
    return NumberTable("All ways to answer", heads, rows)
