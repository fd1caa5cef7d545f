"""Grades as shades: the best one the darkest, whatever the scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.records import Qrels

_LEVELS = 4  # shades of the style sheet above grade 0


@dataclass(frozen=True, slots=True)
class Shades:
    """The shades of one set of judgments.

    Attributes:
        positive: The grades above 0 that occur, rising.
    """

    positive: tuple[int, ...]

    @classmethod
    def of(cls, qrels: Qrels) -> "Shades":
        """Return the shades of the grades that occur in ``qrels``."""
        return cls(tuple(sorted({grade for grades in qrels.values() for grade in grades.values() if grade > 0})))

    def level(self, grade: int | None) -> str:
        """Return the class of a grade: ``l0`` to ``l4``, or ``lx`` when nobody judged."""
        if grade is None:
            return "lx"
        # Rounded up, so that no good grade shares the shade of 0.
        return f"l{-(-_LEVELS * (self.positive.index(grade) + 1) // len(self.positive))}" if grade > 0 else "l0"

    @property
    def legend(self) -> list[tuple[str, int | None]]:
        """Names of the shades that a reader cannot guess, with their grades."""
        return [("best grade", self.positive[-1]), ("not relevant", 0), ("nobody judged it", None)]


def spoken(grades: Sequence[int | None]) -> str:
    """Say the grades of a ranking from its first place on, for a screen reader."""
    if not grades:
        return "no answer"
    return "grades " + ", ".join("unjudged" if grade is None else str(grade) for grade in grades)
