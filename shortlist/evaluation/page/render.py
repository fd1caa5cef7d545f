"""Sections and template into one page."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexing.errors import EnvironmentProblem
from shortlist.evaluation.changes import Changes
from shortlist.evaluation.figures import signed
from shortlist.evaluation.origins import origins_of
from shortlist.evaluation.page.changed import changed
from shortlist.evaluation.page.cost import cost
from shortlist.evaluation.page.grades import Shades, spoken
from shortlist.evaluation.page.kinds import kinds
from shortlist.evaluation.page.overview import leader, overview
from shortlist.evaluation.page.scoring import scoring
from shortlist.evaluation.page.systems import softened, systems
from shortlist.evaluation.records import Evaluation

_TEMPLATES = Path(__file__).with_name("templates")


def render(evaluation: Evaluation, changes: Changes | None = None) -> str:
    """Return the page as HTML text.

    Args:
        evaluation: What it shows.
        changes: Against an earlier report; ``None`` leaves that section out.

    Raises:
        EnvironmentProblem: If the extra ``eval`` is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise EnvironmentProblem(
            f"report.html needs the package jinja2, which is not installed ({error}); "
            "install the extra: pip install 'shortlist[eval]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_context(evaluation, changes)).lstrip()


def _context(evaluation: Evaluation, changes: Changes | None) -> dict[str, Any]:
    shades = Shades.of(evaluation.qrels)
    return {
        "evaluation": evaluation,
        "overview": overview(evaluation),
        "systems": systems(evaluation),
        "changed": changed(changes),
        "kinds": kinds(evaluation),
        "cost": cost(evaluation),
        "scores": scoring(evaluation),
        "leader": leader(evaluation).name,
        "conventions": asdict(evaluation.conventions),
        "origins": origins_of(evaluation),
        "shades": shades,
        "spoken": spoken,
        "signed": signed,
        "softened": softened,
    }
