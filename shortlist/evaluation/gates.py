"""Quality gates: conditions on an evaluation or a comparison that a script can rely on."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from indexing.errors import ConfigError, GateFailed
from retrieval.suggestions import did_you_mean
from shortlist.evaluation.cells import ALL
from shortlist.evaluation.comparison import ReportComparison
from shortlist.evaluation.records import Comparison, Evaluation
from shortlist.evaluation.verdict import Decision

_CONDITION = re.compile(
    r"(?:(?P<system>\w+):)?(?P<measure>[^<>=\s]+(?:\([^)]*\)[^<>=\s]*)?)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>\S+)"
)
_SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition, such as ``nDCG@10>=.73`` or ``hybrid:R(rel=2)@100>=.86``.

    Attributes:
        system: Whose measure; empty means the last system evaluated.
        measure: Name as the table prints it.
        sign: ``>=``, ``>``, ``<=`` or ``<``.
        value: What it is held against.
    """

    system: str
    measure: str
    sign: str
    value: float

    def __str__(self) -> str:
        """Return the condition as it was given."""
        return f"{self.system + ':' if self.system else ''}{self.measure}{self.sign}{self.value:g}"


def parse_gates(conditions: Sequence[str]) -> list[Gate]:
    """Read gates as they are typed.

    Raises:
        ConfigError: One that is not of the form ``[system:]measure>=value``.
    """
    gates = []
    for condition in conditions:
        matched = _CONDITION.fullmatch(condition.strip())
        try:
            if matched is None:
                raise ValueError
            gates.append(Gate(matched["system"] or "", matched["measure"], matched["sign"], float(matched["value"])))
        except ValueError:
            raise ConfigError(
                f"--gate {condition!r} is not of the form [system:]measure>=value, e.g. 'nDCG@10>=.73'"
            ) from None
    return gates


def require_gates(gates: Sequence[Gate], evaluation: Evaluation) -> None:
    """Hold an evaluation against its gates.

    Raises:
        ConfigError: A gate names an unknown system or measure.
        GateFailed: With every gate that was missed and what was measured.
    """
    missed = []
    for gate in gates:
        system = gate.system or list(evaluation.systems)[-1]
        measured = _measured(evaluation, system, gate.measure)
        if not _SIGNS[gate.sign](measured, gate.value):
            missed.append(f"{system} {gate.measure} is {measured:.4f}, wanted {gate.sign}{gate.value:g}")
    if missed:
        raise GateFailed("; ".join(missed))


def _measured(evaluation: Evaluation, system: str, measure: str) -> float:
    if system not in evaluation.systems:
        hint = did_you_mean(system, evaluation.systems)
        raise ConfigError(f"--gate names the system {system!r}{hint} (evaluated: {', '.join(evaluation.systems)})")
    means = evaluation.systems[system].means
    if measure not in means:
        raise ConfigError(
            f"--gate names the measure {measure!r}{did_you_mean(measure, means)} (measured: {', '.join(means)})"
        )
    return means[measure]


# --- comparisons ------------------------------------------------------------------------------------------------------

SHIP = "ship"
_FIGURES = ("difference", "low", "high", "p", "p_holm", "wins", "ties", "losses", "detectable")
_COMPARED = re.compile(
    rf"(?:(?P<where>.+):)?(?:(?P<ship>{SHIP})|"
    rf"(?P<figure>{'|'.join(_FIGURES)})\s*(?P<sign>>=|<=|>|<)\s*(?P<value>\S+))"
)


@dataclass(frozen=True, slots=True)
class ComparisonGate:
    """One condition on a comparison, such as ``ship``, ``low>=-.01`` or ``hybrid:typos/yes:difference>=0``.

    Attributes:
        where: System, cell, or ``system:cell``; empty means the last system and all queries.
        figure: ``ship``, or a figure: ``low`` and ``high`` are the ends of the interval.
        sign: ``>=``, ``>``, ``<=`` or ``<``; empty with ``ship``.
        value: What the figure is held against.
    """

    where: str
    figure: str
    sign: str = ""
    value: float = 0.0


def parse_comparison_gates(conditions: Sequence[str]) -> list[ComparisonGate]:
    """Read the gates of a comparison as they are typed.

    Raises:
        ConfigError: One that is neither ``[system:]ship`` nor of the form ``[system:][slice/value:]figure>=number``.
    """
    gates = []
    for condition in conditions:
        matched = _COMPARED.fullmatch(condition.strip())
        try:
            if matched is None:
                raise ValueError
            where = matched["where"] or ""
            if matched["ship"]:
                gates.append(ComparisonGate(where, SHIP))
            else:
                gates.append(ComparisonGate(where, matched["figure"], matched["sign"], float(matched["value"])))
        except ValueError:
            raise ConfigError(
                f"--gate {condition!r} is neither [system:]ship nor of the form [system:][slice/value:]figure>=number, "
                f"e.g. 'difference>=0' (figures: {', '.join(_FIGURES)})"
            ) from None
    return gates


def missed_gates(gates: Sequence[ComparisonGate], compared: ReportComparison) -> list[str]:
    """Return in words which gates a comparison misses; none when it passes.

    Raises:
        ConfigError: A gate names a system or a cell that was not compared.
    """
    missed = []
    for gate in gates:
        cell = _cell(gate.where, compared)
        if gate.figure == SHIP:
            found = next(of for of in compared.verdicts if of.candidate == cell.candidate)
            if found.decision is not Decision.ship:
                missed.append(f"{cell.candidate}: {found.decision.value}, wanted ship")
            continue
        measured = _figure(cell, gate.figure)
        if not _SIGNS[gate.sign](measured, gate.value):
            shown = f"{cell.candidate} {cell.cell} {gate.figure} is {measured:.4f}"
            missed.append(f"{shown}, wanted {gate.sign}{gate.value:g}")
    return missed


def _cell(where: str, compared: ReportComparison) -> Comparison:
    """Find the comparison that ``system``, ``slice/value``, both, or neither mean."""
    last = compared.verdicts[-1].candidate
    named = {
        name: cell
        for cell in compared.cells.comparisons
        for name in _names(cell.candidate, cell.cell, is_last=cell.candidate == last)
    }
    if where not in named:
        few = f"; it has {compared.cells.untested[where]} queries" if where in compared.cells.untested else ""
        raise ConfigError(
            f"--gate names {where!r}, which was not compared{did_you_mean(where, named)}{few} "
            f"(compared: {', '.join(dict.fromkeys([*_cells(compared), *_systems(compared)]))})"
        )
    return named[where]


def _cells(compared: ReportComparison) -> list[str]:
    return [cell.cell for cell in compared.cells.comparisons]


def _systems(compared: ReportComparison) -> list[str]:
    return [found.candidate for found in compared.verdicts]


def _names(candidate: str, cell: str, *, is_last: bool) -> list[str]:
    names = [f"{candidate}:{cell}"]
    if cell == ALL:
        names.append(candidate)
    if is_last:
        names += [cell, *([""] if cell == ALL else [])]
    return names


def _figure(cell: Comparison, figure: str) -> float:
    if figure in ("low", "high"):
        return float(getattr(cell.interval, figure))
    return float(getattr(cell, figure))
