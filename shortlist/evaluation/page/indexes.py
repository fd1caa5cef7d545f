"""The vector index alone: recall against queries per second, and under filters."""

from collections.abc import Sequence

from shortlist.evaluation.cost.records import FilteredPoint, IndexCurve, IndexPoint
from shortlist.evaluation.figures import counted
from shortlist.evaluation.page.axes import log_axis, recall_axis
from shortlist.evaluation.page.cost_plot import CostPlot, legend_of, ms, p50
from shortlist.evaluation.page.points import Point, Series, point_plot
from shortlist.evaluation.page.tables import NumberTable


def _kind(kind: str, own: bool) -> str:
    return f"{kind} (the bundle's)" if own else kind


def indexes_plot(curves: Sequence[IndexCurve]) -> CostPlot | None:
    """Draw recall against speed, a curve per index over its search parameter; ``None`` without an index."""
    if not curves:
        return None
    names = [_kind(curve.kind, curve.own) for curve in curves]
    chosen = [(curve, point) for curve in curves for point in curve.points if point.chosen]
    pins = {id(point): str(number) for number, (_, point) in enumerate(chosen, start=1)}
    series = [
        Series(number, [_index_point(curve, point, pins.get(id(point), "")) for point in curve.points], joined=True)
        for number, curve in enumerate(curves)
    ]
    points = [point for one in series for point in one.points]
    first = curves[0]
    return CostPlot(
        title="Recall against queries per second",
        notes=(
            f"The vector index alone: recall of the exact first {first.k} among {first.count:,} vectors, and "
            f"{first.queries:,} queries handed over at once. Up and to the right is better; numbered is what the index "
            "is set to.",
        ),
        legend=legend_of(names),
        plot=point_plot(
            series,
            x=recall_axis(f"recall@{first.k} against exact search", [point.x for point in points]),
            y=log_axis("queries per second", [point.y for point in points]),
            title="Recall against queries per second of every index; the numbers follow",
        ),
        pinned=tuple(
            f"{_setting(curve, point)}: recall {point.recall:.3f}, {point.queries_per_s:,.0f} queries/s, p50 "
            f"{p50(point.latency)}"
            for curve, point in chosen
        ),
        tables=(_index_table(curves),),
    )


def _setting(curve: IndexCurve, point: IndexPoint) -> str:
    return f"{curve.kind} {curve.parameter}={point.value}" if curve.parameter else curve.kind


def _index_point(curve: IndexCurve, point: IndexPoint, pin: str) -> Point:
    title = f"{_setting(curve, point)}: recall {point.recall:.4f}, {point.queries_per_s:,.0f} queries/s"
    return Point(x=point.recall, y=point.queries_per_s, label=pin, hollow=not point.chosen, title=title)


def _index_table(curves: Sequence[IndexCurve]) -> NumberTable:
    heads = ("index", "recall", "queries/s", "p50", "p95", "bytes per vector", "on disk per vector", "build")
    rows = [
        (
            f"{_setting(curve, point)}{', the bundle’s' if curve.own else ''}{', as set' if point.chosen else ''}",
            f"{point.recall:.4f}",
            f"{point.queries_per_s:,.0f}",
            p50(point.latency),
            ms(point.latency.p95),
            f"{curve.bytes_per_vector:,.0f}",
            f"{curve.mapped_bytes_per_vector:,.0f}",
            f"{curve.build_s:.1f} s",
        )
        for curve in curves
        for point in curve.points
    ]
    return NumberTable("All indexes and settings", heads, rows)


def filters_plot(points: Sequence[FilteredPoint]) -> CostPlot | None:
    """Draw recall against the share that filters leave; ``None`` when none was measured."""
    if not points:
        return None
    names = list(dict.fromkeys(_kind(point.kind, point.own) for point in points))
    curves = dict.fromkeys((_kind(point.kind, point.own), point.filter) for point in points)
    series = [Series(names.index(kind), _filtered(points, kind, filter_), joined=True) for kind, filter_ in curves]
    wrong = [point for point in points if point.violations or point.short]
    return CostPlot(
        title="Recall under filters",
        notes=(
            f"Recall of the exact first {points[0].k} among the products that a filter leaves, by their share of the "
            f"catalogue, on {points[0].queries:,} queries. Filled marks: the filter draws at random; outlines: it "
            "leaves products that are alike.",
            f"{counted(len(wrong), 'filter', 'filters')} returned what they exclude, or too few: see the numbers."
            if wrong
            else "No product that a filter excludes was returned, and no answer was short.",
        ),
        legend=legend_of(names),
        plot=point_plot(
            series,
            x=log_axis("share of the catalogue that passes", [point.share for point in points]),
            y=recall_axis(f"recall@{points[0].k}", [point.recall for point in points]),
            title="Recall by share of the catalogue that passes the filter; the numbers follow",
        ),
        pinned=(),
        tables=(_filter_table(points),),
    )


def _filtered(points: Sequence[FilteredPoint], kind: str, filter_: str) -> list[Point]:
    """Return the points of one curve from the strictest filter on."""
    found = [
        Point(
            x=point.share,
            y=point.recall,
            hollow=filter_ != "random",
            title=f"{point.kind}, {point.label}: recall {point.recall:.4f}",
        )
        for point in points
        if (_kind(point.kind, point.own), point.filter) == (kind, filter_)
    ]
    return sorted(found, key=lambda point: point.x)


def _filter_table(points: Sequence[FilteredPoint]) -> NumberTable:
    heads = ("filter", "index", "products", "share", "recall", "p50", "p95", "excluded but returned", "short answers")
    rows = [
        (
            point.label,
            _kind(point.kind, point.own),
            f"{point.eligible:,}",
            f"{point.share:.2%}",
            f"{point.recall:.4f}",
            p50(point.latency),
            ms(point.latency.p95),
            str(point.violations),
            str(point.short),
        )
        for point in points
    ]
    return NumberTable("All filters", heads, rows)
