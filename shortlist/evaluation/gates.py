"""Quality gates: conditions on an evaluation that a script can rely on."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from indexing.errors import ConfigError, GateFailed
from retrieval.suggestions import did_you_mean
from shortlist.evaluation.records import Evaluation

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
