"""What a bundle knows of how far its answers can be trusted: a probability per hit, and when there is no good match.

Kept in ``confidence.json`` beside the cross-encoder, since it holds for the scores of that one behind that first stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from rerank.abstention import Abstention, AnswerModel, Evidence
from rerank.answer import Shown, answer_features
from rerank.calibration import Calibration
from rerank.reliability import Reliability
from rerank.reranker import Ranked
from retrieval.names import Brands

CONFIDENCE_FILE = "confidence.json"
FORMAT = 1

MAX_BYTES = 1 << 20
"""Longest file that is read; the longest curve and both models take a twentieth of it."""

_ADVICE = "train the cross-encoder again with: shortlist train-reranker"

_Record = TypeVar("_Record", Calibration, AnswerModel)


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """Whether an answer holds a good match.

    Attributes:
        probability: That one of its first hits is a good match.
        threshold: Below this the answer says "no good match".
    """

    probability: float
    threshold: float

    @property
    def abstained(self) -> bool:
        """Whether the answer says "no good match"."""
        return self.probability < self.threshold


@dataclass(frozen=True, slots=True)
class ConfidenceReport:
    """What was learned, and what held-out queries say of it; a part that could not be learned is ``None``.

    Attributes:
        queries: Held-out queries asked.
        pairs: Of the calibrated probabilities of the first hits.
        reranked: Of "no good match" said of answers that the cross-encoder has seen.
        first_stage: The same of answers that it has not.
        missing: Why a part could not be learned, in words.
    """

    queries: int
    pairs: Reliability | None = None
    reranked: Evidence | None = None
    first_stage: Evidence | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confidence:
    """What was learned on held-out queries; either part may be missing, where they were too few.

    Attributes:
        calibration: From the cross-encoder's score to the probability that a product is a good one.
        abstention: From the first hits to the probability that there is a good match among them.
    """

    calibration: Calibration | None = None
    abstention: Abstention | None = None

    def with_probabilities(self, ranked: Sequence[Ranked]) -> list[Ranked]:
        """Return the same candidates, those that the cross-encoder saw with their probabilities of being good."""
        seen = [found.stages["rerank"] for found in ranked if "rerank" in found.stages]
        if self.calibration is None or not seen:
            return list(ranked)
        known = iter(self.calibration.apply(seen).tolist())
        return [replace(found, probability=next(known)) if "rerank" in found.stages else found for found in ranked]

    def check(self, query: str, shown: Sequence[Shown], brands: Brands) -> AnswerCheck | None:
        """Say whether an answer holds a good match; ``None`` when nothing was learned about that.

        Args:
            query: Normalised query.
            shown: Its first hits, best first; without any there is no match for certain.
            brands: The makers that the catalogue knows.
        """
        if self.abstention is None:
            return None
        if not shown:
            return AnswerCheck(0.0, threshold=1.0)
        features = answer_features(query, shown, brands)
        model = self.abstention.model_for(features)
        return AnswerCheck(model.probability(features), model.threshold)


def write_confidence(folder: Path, confidence: Confidence, evidence: Mapping[str, Any]) -> None:
    """Write ``confidence.json``.

    Args:
        folder: Of the cross-encoder.
        confidence: What was learned.
        evidence: What held-out queries said of it; JSON values, for people.

    Raises:
        StorageError: If the file system refuses.
    """
    record = {
        "format": FORMAT,
        "calibration": None if confidence.calibration is None else asdict(confidence.calibration),
        "abstention": None if confidence.abstention is None else asdict(confidence.abstention),
        "evidence": dict(evidence),
    }
    storage.write_json(folder / CONFIDENCE_FILE, record)


def read_confidence(folder: Path) -> Confidence:
    """Read what is known of a cross-encoder's scores; nothing where no ``confidence.json`` lies.

    Raises:
        ArtifactIncompatible: If it is of another format.
        ArtifactCorrupt: If it does not parse, or holds what no training writes: an unknown field, a curve that falls, a
            number that is none.
    """
    path = folder / CONFIDENCE_FILE
    if not path.is_file():
        return Confidence()
    found = storage.parse_json(storage.read_bytes(path, at_most_bytes=MAX_BYTES), where=path)
    if not isinstance(found, dict) or found.get("format") != FORMAT or isinstance(found["format"], bool):
        shown = found.get("format") if isinstance(found, dict) else found
        raise ArtifactIncompatible(f"{path} has format {shown!r:.80}, this release reads {FORMAT}; {_ADVICE}")
    try:
        _require_keys(found, {"format", "calibration", "abstention", "evidence"})
        calibration, abstention = found["calibration"], found["abstention"]
        return Confidence(
            calibration=None if calibration is None else _record(Calibration, calibration),
            abstention=None if abstention is None else _abstention(abstention),
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ArtifactCorrupt(f"{path} is not what a training writes: {error}; {_ADVICE}") from error


def _abstention(values: Mapping[str, Any]) -> Abstention:
    _require_keys(values, {field.name for field in fields(Abstention)})
    precision, share = _number(values["precision"]), _number(values["share"])
    if not (0 < precision < 1 and 0 < share < 1):
        raise ValueError(f"precision and share must lie in (0, 1), got {precision} and {share}")
    first_stage = _record(AnswerModel, values["first_stage"])
    reranked = None if values["reranked"] is None else _record(AnswerModel, values["reranked"])
    return Abstention(_whole(values["good"]), precision, share, first_stage, reranked)


def _record(schema: type[_Record], values: Mapping[str, Any]) -> _Record:
    """Return JSON values as a record whose fields are texts, whole numbers, numbers, or lists of texts or numbers."""
    _require_keys(values, {field.name for field in fields(schema)})
    read = {"str": _text, "int": _whole, "float": _number, "tuple[float, ...]": _numbers, "tuple[str, ...]": _texts}
    checked: dict[str, Any] = {of.name: read[_declared(of.type)](values[of.name]) for of in fields(schema)}
    return schema(**checked)


def _declared(kind: Any) -> str:  # noqa: ANN401 - a type, or its name
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "") if isinstance(kind, type) else str(kind)


def _require_keys(values: Mapping[str, Any], expected: set[str]) -> None:
    if set(values.keys()) != expected:
        raise ValueError(f"expected the fields {sorted(expected)}, got {sorted(values)!r:.200}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r:.80}")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a whole number, got {value!r:.80}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r:.80}")
    return float(value)


def _numbers(value: object) -> tuple[float, ...]:
    return tuple(_number(entry) for entry in _list(value))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(entry) for entry in _list(value))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r:.80}")
    return value
