"""The cascade: a student of few layers orders the candidates, and the whole cross-encoder sees the first of them."""

from dataclasses import dataclass
from pathlib import Path

from indexing.errors import ConfigError
from rerank.config import CrossEncoderConfig
from rerank.corrected import Corrected, fusion_of
from rerank.cost import BatchCost
from rerank.folder import check_cross_encoder_folder
from rerank.reranker import Reranker

STUDENT_STAGE, RERANK_STAGE = "student", "rerank"
"""Names of both stages among a candidate's scores."""


@dataclass(frozen=True, slots=True)
class Student:
    """The front of a cascade.

    Attributes:
        reranker: Scores all candidates; its own final fusion orders them.
        cost: Of its batches; its lane is that of the whole cross-encoder, since both want the same cores.
        passes: How many of them it passes on; with no more candidates than that it is not asked.
    """

    reranker: Reranker
    cost: BatchCost
    passes: int


def student_config(config: CrossEncoderConfig, folder: Path) -> CrossEncoderConfig:
    """Return the configuration of the student in a folder: its own weight, and the length that is set for both."""
    return CrossEncoderConfig(model=str(folder), max_tokens=config.max_tokens)


def require_cascade(config: CrossEncoderConfig, folder: Path, student: Path) -> None:
    """Make sure that two folders can be a cascade.

    Args:
        config: Of the whole cross-encoder.
        folder: Of the whole cross-encoder.
        student: Of the student.

    Raises:
        ConfigError: The student is no usable cross-encoder, or weighs 0; or the whole one brings learned trees.
        ArtifactError: A file of either does not parse or cannot be used.
    """
    check_cross_encoder_folder(student)
    if not fusion_of(student_config(config, student), student).asks:
        raise ConfigError(
            f"{student} weighs 0 in the final fusion, so it cannot order what it passes on; leave reranker.student out"
        )
    if isinstance(fusion_of(config, folder), Corrected):
        raise ConfigError(
            f"{folder} has a final fusion of trees that were learned behind the first stage, not behind a student; "
            "leave reranker.student out, or set reranker.weight to go without the trees"
        )
