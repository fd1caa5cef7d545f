"""Two reports, or two systems of one, held against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing.errors import ConfigError, SourceDataError
from retrieval.suggestions import did_you_mean
from shortlist.evaluation.cells import Cells, ComparisonOptions, Pair, compare_pairs, comparison_weights
from shortlist.evaluation.records import Slices
from shortlist.evaluation.stored import StoredReport, read_report
from shortlist.evaluation.verdict import Verdict, verdict

EVERY = "*"
"""In a list of slices: all there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportComparison:
    """The outcome of a comparison.

    Attributes:
        dataset: Name of the catalogue.
        measure: What was compared.
        convention: How its nDCG was computed.
        queries: Number of queries.
        cells: All comparisons.
        verdicts: One per candidate, in their order.
        options: Trials, levels and the like.
        notes: What a reader must know, in whole sentences.
    """

    dataset: str
    measure: str
    convention: str
    queries: int
    cells: Cells
    verdicts: tuple[Verdict, ...]
    options: ComparisonOptions
    notes: tuple[str, ...]


def compare_reports(
    first: str,
    second: str,
    *,
    measure: str = "",
    slices: Sequence[str] = (EVERY,),
    options: ComparisonOptions | None = None,
) -> ReportComparison:
    """Compare the systems of two reports query by query, over all queries and in every slice.

    Args:
        first: ``FOLDER`` or ``FOLDER:SYSTEM``: the baseline.
        second: The same: the candidate. Without systems, those that both folders hold are compared name by name; with
            one on the first side alone, all of the second are held against it.
        measure: Name of the measure; empty takes the primary one.
        slices: Names of slices; ``*`` takes all. Naming the few that matter beforehand leaves them more power.
        options: Trials, levels and the like; ``None`` takes the defaults.

    Raises:
        SourceDataError: If the reports were measured on different judgments.
        ConfigError: If a system, measure or slice is not there, conventions differ, or there are more comparisons than
            trials can tell from chance.
        ArtifactError: If a folder holds no report that this release reads.
    """
    options = options or ComparisonOptions()
    (before, named), (after, other) = (_operand(text) for text in (first, second))
    _require_same_data(before, after)
    pairs = _pairs(before, named, after, other)
    chosen, notes = _slices(before, after, slices)
    name = _measure(measure or before.primary, pairs)
    cells = compare_pairs(pairs, measure=name, slices=chosen, options=options)
    _require_trials(len(pairs), len(cells.comparisons), options)
    return ReportComparison(
        dataset=before.dataset,
        measure=name,
        convention=before.convention,
        queries=len(before.queries),
        cells=cells,
        verdicts=tuple(verdict(pair.candidate, cells, options) for pair in pairs),
        options=options,
        notes=tuple(notes),
    )


# --- what is compared with what ---------------------------------------------------------------------------------------


def _operand(text: str) -> tuple[StoredReport, str]:
    """Read ``FOLDER`` or ``FOLDER:SYSTEM``; a folder whose name holds a colon is a folder."""
    folder, _, system = (text, "", "") if Path(text).is_dir() or ":" not in text else text.rpartition(":")
    report = read_report(Path(folder))
    if system and system not in report.systems:
        hint = did_you_mean(system, report.systems)
        raise ConfigError(f"{folder} has no system {system!r}{hint} (there: {', '.join(report.systems)})")
    return report, system


def _require_same_data(before: StoredReport, after: StoredReport) -> None:
    if before.qrels_sha256 != after.qrels_sha256:
        raise SourceDataError(
            f"the two reports are of different data: {before.folder} was measured on {before.dataset}, "
            f"{len(before.queries)} queries, judgments {before.qrels_sha256[:16]}...; {after.folder} on "
            f"{after.dataset}, {len(after.queries)} queries, judgments {after.qrels_sha256[:16]}...; evaluate both on "
            "the same"
        )
    if before.convention != after.convention:
        raise ConfigError(
            f"{before.folder} was measured with convention={before.convention}, {after.folder} with "
            f"convention={after.convention}; evaluate both with the same"
        )


def _pairs(before: StoredReport, named: str, after: StoredReport, other: str) -> list[Pair]:
    same = before.folder.resolve() == after.folder.resolve()
    if not named and not other:
        if same:
            raise ConfigError(f"{before.folder} is given twice; name two of its systems, as in {before.folder}:SYSTEM")
        shared = [name for name in after.systems if name in before.systems]
        if not shared:
            raise ConfigError(
                f"no system is in both reports: {before.folder} has {', '.join(before.systems)}, {after.folder} has "
                f"{', '.join(after.systems)}; name one of each, as in {before.folder}:SYSTEM"
            )
        return [_pair(before, name, after, name) for name in shared]
    baseline = named or other
    if baseline not in before.systems:
        raise ConfigError(
            f"{before.folder} has no system {baseline!r} to compare {after.folder}:{other} with; name one of "
            f"{', '.join(before.systems)}"
        )
    candidates = [other] if other else [name for name in after.systems if not (same and name == baseline)]
    if same and candidates == [baseline]:
        raise ConfigError(f"{before.folder}:{baseline} is given twice; name two systems, or two reports")
    if not candidates:
        raise ConfigError(f"{before.folder} has no system besides {baseline!r} to compare it with")
    return [_pair(before, baseline, after, name) for name in candidates]


def _pair(before: StoredReport, baseline: str, after: StoredReport, candidate: str) -> Pair:
    shown = baseline if before.folder == after.folder else f"{before.folder.name}:{baseline}"
    return Pair(shown, candidate, before.systems[baseline], after.systems[candidate])


def _measure(name: str, pairs: Sequence[Pair]) -> str:
    common = [of for of in pairs[0].before if all(of in pair.before and of in pair.after for pair in pairs)]
    if name not in common:
        hint = did_you_mean(name, common)
        raise ConfigError(f"the measure {name!r} is not in both reports{hint} (in both: {', '.join(common)})")
    return name


def _slices(before: StoredReport, after: StoredReport, wanted: Sequence[str]) -> tuple[Slices, list[str]]:
    """Return the slices asked for, as the first report has them, and what is to be said about them."""
    for name in wanted:
        if name != EVERY and name not in before.slices:
            hint = did_you_mean(name, before.slices)
            raise ConfigError(
                f"slices names {name!r}, which {before.folder} lacks{hint} (there: {', '.join(before.slices)})"
            )
    chosen = {name: of for name, of in before.slices.items() if EVERY in wanted or name in wanted}
    notes = []
    for name, of in chosen.items():
        others = after.slices.get(name, {})
        changed = sum(others.get(query_id) != value for query_id, value in of.items())
        if changed:
            notes.append(
                f"slice {name} differs between the reports on {changed} queries (another catalogue?); that of "
                f"{before.folder} is used."
            )
    return chosen, notes


def _require_trials(pairs: int, tests: int, options: ComparisonOptions) -> None:
    """Refuse more tests than the smallest possible p can carry."""
    needed = int(1 / min(comparison_weights(pairs, tests // pairs)) / options.alpha)
    if options.trials < needed:
        raise ConfigError(
            f"{tests} comparisons with trials={options.trials} cannot reach p = {options.alpha} once they are "
            f"corrected for their number; set trials={needed} or more, or name fewer slices"
        )
