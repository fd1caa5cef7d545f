"""Evaluation: runs and judgments in, numbers with their conventions out, as text, JSON, TREC files and one HTML page.

Importing this loads neither ir-measures nor jinja2; the functions that need them (extra ``eval``) do.
"""

from shortlist.config import Convention
from shortlist.evaluation.evaluate import evaluate_runs
from shortlist.evaluation.records import Evaluation, EvaluationOptions, Provenance, SystemResult, SystemRun
from shortlist.evaluation.report import table, write_evaluation

__all__ = [
    "Convention",
    "Evaluation",
    "EvaluationOptions",
    "Provenance",
    "SystemResult",
    "SystemRun",
    "evaluate_runs",
    "table",
    "write_evaluation",
]
