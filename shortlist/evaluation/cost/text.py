"""A measurement of cost as tables of plain text, for the terminal."""

from collections.abc import Sequence

from shortlist.evaluation.cost.records import (
    CostReport,
    FilteredPoint,
    Frontier,
    FrontierPoint,
    IndexCurve,
    IndexPoint,
    Latency,
    Memory,
)

_MIB = 2**20
_TIMES = ["p50 ms", "p95 ms", "p99 ms", "noise"]


def cost_text(report: CostReport) -> str:
    """Return all tables, each with what its marks mean, and what is missing; no final newline."""
    parts = [_machine(report), _indexes(report.indexes), _filters(report.selectivity)]
    if report.frontier is not None:
        parts.append(_frontier(report.frontier, report.price.currency))
    if report.memory is not None:
        parts.append(_memory(report.memory))
    return "\n\n".join([*(part for part in parts if part), _notes(report)])


def _machine(report: CostReport) -> str:
    machine, noise = report.machine, report.noise
    others = "" if noise.others is None else f"; other processes kept {noise.others:.1f} cores busy meanwhile"
    return (
        f"cost on {machine.processor}: {machine.cores} cores, {machine.device}, {machine.threads} threads{others}\n"
        f"noise: the control task takes {noise.quiet:.2f} ms when quiet; here p50 {noise.control.p50:.2f}, p95 "
        f"{noise.control.p95:.2f}, p99 {noise.control.p99:.2f} ms, {noise.slowdown:+.0%} on average; "
        f"{noise.noisy} of {noise.points} points are noisy (!)"
    )


def _indexes(curves: Sequence[IndexCurve]) -> str:
    rows = [["index", "at", "recall", *_TIMES, "queries/s", "bytes/vector", "build s"]]
    for curve in curves:
        rows += [_index_row(curve, point, first=place == 0) for place, point in enumerate(curve.points)]
    first = curves[0]
    return (
        f"{_table(rows)}\n"
        f"recall@{first.k} against exact search, {first.queries} queries; * the index's own value; (own) as the bundle "
        f"has it; queries/s as one batch; noise: how much longer the control task took between these calls; the exact "
        f"vectors are mapped besides, {first.mapped_bytes_per_vector:.0f} bytes each"
    )


def _index_row(curve: IndexCurve, point: IndexPoint, *, first: bool) -> list[str]:
    value = f"{curve.parameter} {point.value}{'*' if point.chosen else ' '}" if curve.parameter else ""
    return [
        f"{curve.kind}{' (own)' if curve.own else ''}" if first else "",
        value,
        f"{point.recall:.4f}",
        *_times(point.latency),
        f"{point.queries_per_s:,.0f}",
        f"{curve.bytes_per_vector:,.0f}" if first else "",
        f"{curve.build_s:.1f}" if first else "",
    ]


def _filters(points: Sequence[FilteredPoint]) -> str:
    if not points:
        return ""
    rows = [["filter", "eligible", "index", "recall", "forbidden", "short", *_TIMES]]
    before = ""
    for point in points:
        label = f"random {point.label}" if point.filter == "random" else point.label
        rows.append(
            [
                "" if label == before else _cut(label),
                "" if label == before else f"{point.eligible:,} ({point.share:.2%})",
                point.kind,
                f"{point.recall:.4f}",
                str(point.violations),
                str(point.short),
                *_times(point.latency),
            ]
        )
        before = label
    return (
        f"{_table(rows)}\n"
        f"recall@{points[0].k} against exact search over the eligible products alone, {points[0].queries} queries; "
        "forbidden: rows returned that the filter excludes; short: answers with fewer rows than there were"
    )


def _frontier(frontier: Frontier, currency: str) -> str:
    rows = [["", "way", frontier.measure, "95 % interval", *_TIMES, f"{currency}/M", "MiB", "dominated by"]]
    rows += [_frontier_row(point) for point in sorted(frontier.points, key=lambda point: point.latency.p50)]
    return (
        f"{_table(rows)}\n"
        f"{frontier.queries} queries, {frontier.timed} of them timed; + nothing else is at least as good and as fast, "
        f"and better in one of them by more than noise\n"
        f"best: {frontier.best}; fastest that is not shown to be worse: {frontier.cheapest_as_good}"
    )


def _frontier_row(point: FrontierPoint) -> list[str]:
    low, high = point.quality.interval.low, point.quality.interval.high
    return [
        "+" if point.optimal else "",
        point.name,
        f"{point.quality.mean:.4f}",
        f"[{low:.4f}, {high:.4f}]",
        *_times(point.latency),
        "-" if point.cost_per_million is None else f"{point.cost_per_million:.3g}",
        "-" if point.memory_bytes is None else f"{point.memory_bytes / _MIB:,.0f}",
        point.dominated_by,
    ]


def _memory(memory: Memory) -> str:
    rows = [["memory MiB", *(part.name for part in memory.parts), "all"]]
    for name, sizes in (
        ("own", [part.anonymous_bytes for part in memory.parts]),
        ("files", [part.mapped_bytes for part in memory.parts]),
    ):
        rows.append([name, *(f"{size / _MIB:,.1f}" for size in sizes), f"{sum(sizes) / _MIB:,.1f}"])
    return f"{_table(rows)}\n{memory.how}; answering: {memory.answered} queries"


def _notes(report: CostReport) -> str:
    price = report.price
    priced = "none" if price.per_hour is None else f"{price.per_hour:g} {price.currency} an hour"
    lines = [
        f"price: {priced}, {price.cores} cores, {price.source}; utilisation {price.utilisation:g}; {price.formula}",
        *(f"skipped: {skipped.what}: {skipped.why}" for skipped in report.skipped),
    ]
    return "\n".join(lines)


def _times(latency: Latency) -> list[str]:
    times = [f"{value:.2f}" for value in (latency.p50, latency.p95, latency.p99)]
    return [*times, f"{latency.slowdown:+.0%}{'!' if latency.noisy else ' '}"]


def _cut(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:39]}…"


_LEFT = {"index", "way", "filter", "dominated by", "memory MiB", ""}
"""Headings of the columns that hold words."""


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: words to the left, numbers to the right; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [heading in _LEFT for heading in rows[0]]
    lines = [
        "  ".join(
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
