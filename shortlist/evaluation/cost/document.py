"""A measurement of cost as report.json holds it, under the key ``cost``."""

from dataclasses import fields, is_dataclass
from typing import Any

from shortlist.evaluation.cost.records import CostReport, Memory
from shortlist.evaluation.records import Estimate


def cost_document(report: CostReport) -> dict[str, Any]:
    """Return the records field by field; an estimate is its ``mean`` and its ``interval_95``, as everywhere there."""
    document: dict[str, Any] = _plain(report)
    return document


def _plain(value: Any) -> Any:  # noqa: ANN401 - a record, or what one is made of
    if isinstance(value, Estimate):
        return {"mean": value.mean, "interval_95": [value.interval.low, value.interval.high]}
    if is_dataclass(value):
        found = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return found | {"total_bytes": value.total_bytes} if isinstance(value, Memory) else found
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, dict) else value
