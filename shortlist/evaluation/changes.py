"""What changed against an earlier report: how the systems moved, which queries most, and what is set otherwise."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from indexing.errors import ArtifactError, StorageError
from shortlist.evaluation.cells import ComparisonOptions, Pair, compare_pairs
from shortlist.evaluation.figures import latency_ms
from shortlist.evaluation.origins import Origins, origins_of
from shortlist.evaluation.paired import SAME
from shortlist.evaluation.records import Comparison, Evaluation
from shortlist.evaluation.stored import REPORT, StoredReport, read_report
from shortlist.evaluation.trec import qrels_bytes

_MOVED = 5  # queries named per system


@dataclass(frozen=True, slots=True)
class MovedQuery:
    """A query whose value changed."""

    query_id: str
    text: str
    before: float
    now: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemChange:
    """A system that both reports have.

    Attributes:
        name: The system.
        comparison: Then against now, query by query; p corrected over all such systems.
        p50_before_ms: Median latency then; ``None`` when nobody measured.
        p50_now_ms: The same now.
        moved: The queries that moved most, most first; equal ones in the order of their ids.
    """

    name: str
    comparison: Comparison
    p50_before_ms: float | None
    p50_now_ms: float | None
    moved: tuple[MovedQuery, ...]


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A value that differs; ``None`` where it is not there."""

    group: str
    name: str
    before: str | None
    now: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """The difference between an earlier report and an evaluation.

    Attributes:
        folder: Of the earlier report.
        generated_at: When it was made; UTC, ISO 8601; empty when it could not be read.
        obstacle: Why the values cannot be compared query by query; empty when they are.
        systems: Those that both have; empty with an obstacle.
        gone: Systems that only the earlier one has.
        new: Systems that only the evaluation has.
        settings: What is set otherwise.
        unrecorded: Groups of settings that the earlier report does not hold.
    """

    folder: str
    generated_at: str
    obstacle: str
    systems: tuple[SystemChange, ...] = ()
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    settings: tuple[SettingChange, ...] = ()
    unrecorded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An earlier report that is there but cannot be read, and why."""

    folder: Path
    why: str


def last_report(folder: Path) -> StoredReport | Unreadable | None:
    """Read the report that is about to be replaced; ``None`` when the folder holds none.

    One that cannot be read, of another release for instance, stops nobody from making a new one.
    """
    if not (folder / REPORT).is_file():
        return None
    try:
        return read_report(folder)
    except (ArtifactError, StorageError) as error:
        return Unreadable(folder, str(error))


def changes_since(earlier: StoredReport | Unreadable, evaluation: Evaluation) -> Changes:
    """Hold an evaluation against an earlier report."""
    if isinstance(earlier, Unreadable):
        return Changes(folder=str(earlier.folder), generated_at="", obstacle=earlier.why)
    obstacle = _obstacle(earlier, evaluation)
    now = origins_of(evaluation)
    return Changes(
        folder=str(earlier.folder),
        generated_at=earlier.generated_at,
        obstacle=obstacle,
        systems=() if obstacle else _systems(earlier, evaluation),
        gone=tuple(name for name in earlier.systems if name not in evaluation.systems),
        new=tuple(name for name in evaluation.systems if name not in earlier.systems),
        settings=tuple(_settings(earlier.origins, now)),
        unrecorded=tuple(group for group, values in now.items() if values and not earlier.origins.get(group)),
    )


def _obstacle(earlier: StoredReport, evaluation: Evaluation) -> str:
    """Say why a difference between the two would be no difference between systems; the gravest reason."""
    before, now = set(earlier.queries), set(evaluation.qrels)
    if before != now:
        return (
            f"it was measured on other queries: {len(before - now)} that are not here, and {len(now - before)} of "
            f"these {len(now)} it does not have"
        )
    if earlier.qrels_sha256 != hashlib.sha256(qrels_bytes(evaluation.qrels)).hexdigest():
        return "it was measured on other judgments of the same queries"
    convention = evaluation.options.convention.name
    if earlier.convention != convention:
        return f"it was measured with convention={earlier.convention}, this one with convention={convention}"
    if earlier.primary != evaluation.primary:
        return f"its primary measure is {earlier.primary}, here it is {evaluation.primary}"
    return ""


def _systems(earlier: StoredReport, evaluation: Evaluation) -> tuple[SystemChange, ...]:
    shared = [name for name in evaluation.systems if name in earlier.systems]
    pairs = [Pair(name, name, earlier.systems[name], evaluation.systems[name].per_query) for name in shared]
    resampling = ComparisonOptions(trials=evaluation.options.trials, seed=evaluation.options.seed)
    compared = compare_pairs(pairs, measure=evaluation.primary, options=resampling).comparisons
    return tuple(
        SystemChange(
            name=name,
            comparison=comparison,
            p50_before_ms=earlier.p50_ms.get(name),
            p50_now_ms=(latency_ms(evaluation.systems[name]) or {}).get("p50"),
            moved=_moved(earlier, evaluation, name),
        )
        for name, comparison in zip(shared, compared, strict=True)
    )


def _moved(earlier: StoredReport, evaluation: Evaluation, name: str) -> tuple[MovedQuery, ...]:
    before = earlier.systems[name][evaluation.primary]
    now = evaluation.systems[name].per_query[evaluation.primary]
    found = [query_id for query_id, value in now.items() if abs(value - before[query_id]) > SAME]
    # Rounded, so that differences that are equal but for their last bit keep the order of the ids.
    found.sort(key=lambda query_id: (-round(abs(now[query_id] - before[query_id]), 9), query_id))
    return tuple(
        MovedQuery(query_id, evaluation.query_texts.get(query_id, query_id), before[query_id], now[query_id])
        for query_id in found[:_MOVED]
    )


def _settings(before: Origins, now: Origins) -> list[SettingChange]:
    changed = []
    for group, values in now.items():
        earlier = before.get(group, {})
        if not earlier:
            continue
        names = [*values, *(name for name in earlier if name not in values)]
        changed += [
            SettingChange(group, name, earlier.get(name), values.get(name))
            for name in names
            if earlier.get(name) != values.get(name)
        ]
    return changed


def changes_document(changes: Changes) -> dict[str, Any]:
    """Return what report.json holds under ``against``."""
    return {
        "folder": changes.folder,
        "generated_at": changes.generated_at,
        "obstacle": changes.obstacle,
        "systems": {change.name: _system_document(change) for change in changes.systems},
        "gone": list(changes.gone),
        "new": list(changes.new),
        "settings": [asdict(setting) for setting in changes.settings],
        "unrecorded": list(changes.unrecorded),
    }


def _system_document(change: SystemChange) -> Mapping[str, Any]:
    comparison = change.comparison
    return {
        "before": comparison.baseline_mean,
        "now": comparison.candidate_mean,
        "difference": comparison.difference,
        "interval_95": [comparison.interval.low, comparison.interval.high],
        "p_holm": comparison.p_holm,
        "p50_before_ms": change.p50_before_ms,
        "p50_now_ms": change.p50_now_ms,
        "moved": [asdict(query) for query in change.moved],
    }
