"""What the report of a recipe tells of a cross-encoder's training."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rerank.fusion import WeightChoice
from rerank.training import RerankerReport


def training_record(report: RerankerReport, choice: WeightChoice | None) -> dict[str, Any]:
    """Return the training and the choice of its weight as JSON can hold them."""
    told = {"pairs": report.pairs, "grades": _keyed(report.grades), "steps": report.fit.steps, "loss": report.fit.loss}
    chosen = None if choice is None else {**asdict(choice), "ndcg": _keyed(choice.ndcg)}
    return {"training": told, "choice": chosen}


def _keyed(values: Mapping[int, int] | Mapping[float, float]) -> dict[str, float]:
    return {f"{key:g}": value for key, value in values.items()}
