"""What a step of a recipe is. Each has a module of its own; `shortlist.jobs.train.recipe` runs them in order.

A step reads artefacts by name and makes artefacts by name, all of them files below its folder, so that a recipe which
was interrupted goes on after the last whole step. The names that there are:

- ``encoder``: folder of a dual encoder;
- ``negatives``: JSON, query text -> product ids worth pushing away;
- ``synthetic``: folder of generated queries;
- ``reranker``: folder of a cross-encoder;
- ``confidence``: what calibration and abstention found;
- ``student``: folder of a cross-encoder of fewer layers;
- ``cascade``: JSON, how many candidates the student passes on;
- ``spelling``: JSON, the queries that are corrected; where it is kept, every query is before it is searched;
- ``fusion``: JSON, the learned first fusion: its kind and weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from retrieval.records import Query, Run

if TYPE_CHECKING:
    from shortlist.jobs.train.bench import Bench

MODELS = ("encoder", "reranker", "student")
"""Artefacts that are model folders."""

Ranker = Callable[[Sequence[Query], int], Run]
"""(queries, depth) -> a run of that depth over the whole catalogue."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a step leaves.

    Attributes:
        artefacts: Name -> path below the step's folder.
        record: Whatever the report and the cards should say of it, as JSON can hold it.
        refused: Why the step itself does not want to be gone on with; empty leaves that to the choosing queries.
        decided: Whether it has found out by itself, on queries that nothing it made had seen, so that those that choose
            have no part in it.
    """

    artefacts: Mapping[str, Path]
    record: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    decided: bool = False


class Step(Protocol):
    """One step of a recipe.

    Attributes:
        name: As ``steps=[...]`` names it.
        needs: Artefacts that must be there before.
        makes: Artefacts that it makes or replaces.
        decides: System by whose nDCG@10 on the tuning queries it is kept or not, such as ``dense`` or ``hybrid``; empty
            keeps it always, because nothing that is ranked depends on it.
        labels: Whether it learns from judged queries; without any it is left out, and the report says so.
    """

    name: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    decides: str
    labels: bool

    def run(self, bench: "Bench", folder: Path) -> Made:
        """Do the step and write its artefacts below ``folder``, which exists.

        It may hold what an interrupted run of the same step left, such as a checkpoint to go on from.
        """

    def rankers(self, bench: "Bench") -> Mapping[str, Ranker]:
        """Return the systems that exist once the step's artefacts do; ``bm25``, ``dense``, ``hybrid`` always do."""
