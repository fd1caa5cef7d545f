"""The table of one ground: what was measured of each pipeline, and where a peer is ahead of Shortlist."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from shortlist.evaluation.paired import bootstrap_interval, differences
from shortlist.evaluation.records import Evaluation
from tools.bench.peers.pipelines import Entry

COLUMNS = (
    "pipeline",
    "nDCG@10",
    "condensed",
    "R@100",
    "Judged@10",
    "p50 ms",
    "p95 ms",
    "build s",
    "open s",
    "resident MiB",
    "peer ahead in",
)


def row_of(
    entry: Entry,
    evaluation: Evaluation,
    built: Mapping[str, float],
    times: Sequence[float],
    closing: Mapping[str, float],
) -> dict[str, Any]:
    """Return one row: quality, latency, build and memory."""
    result = evaluation.systems[entry.name]
    return {
        "name": entry.name,
        "kind": entry.kind,
        "measures": {measure: round(value, 4) for measure, value in result.means.items()},
        "p50_ms": round(statistics.median(times), 2),
        "p95_ms": round(sorted(times)[int(0.95 * (len(times) - 1))], 2),
        "build_s": round(built["build_s"], 1),
        "build_peak_mib": round(built["peak_mib"]),
        "open_s": round(closing["open_s"], 2),
        "resident_mib": round(closing["resident_mib"]),
    }


def over_ours(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> list[float]:
    """Return the paired bootstrap interval of the difference in nDCG@10 to Shortlist's row of the same kind."""
    ours = next(other for other in rows if other["kind"] == row["kind"])
    theirs, mine = (evaluation.systems[each["name"]].per_query["nDCG@10"] for each in (row, ours))
    interval = bootstrap_interval(differences(mine, theirs))
    return [round(interval.low, 4), round(interval.high, 4)]


def table(measured: Mapping[str, Any]) -> str:
    """Return one ground's table, Markdown; a peer that is ahead of Shortlist's row of its kind is marked."""
    lines = [
        f"{measured['ground']}, {measured['queries']} queries",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in measured["rows"]:
        values = row["measures"]
        recall = next(value for name, value in values.items() if name.startswith("R("))
        cells = [
            row["name"],
            *(
                f"{value:.4f}"
                for value in (values["nDCG@10"], values["condensed_nDCG@10"], recall, values["Judged@10"])
            ),
            *(str(row[name]) for name in ("p50_ms", "p95_ms", "build_s", "open_s", "resident_mib")),
            ahead(row, measured["rows"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ahead(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Name what a peer does better than Shortlist's row of the same kind; empty for Shortlist's own."""
    ours = next(other for other in rows if other["kind"] == row["kind"])
    if ours is row:
        return ""
    better = []
    if row["nDCG@10_over_shortlist"][0] > 0:
        better.append("quality")
    for key, name in (("p50_ms", "p50"), ("build_s", "build"), ("open_s", "open"), ("resident_mib", "memory")):
        if row[key] < ours[key]:
            better.append(name)
    return ", ".join(better)
