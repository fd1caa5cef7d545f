"""The steps that there are, by the names that ``steps=[...]`` takes."""

from collections.abc import Mapping

from shortlist.jobs.train.adapt import Adapt
from shortlist.jobs.train.attacks import Attacks
from shortlist.jobs.train.mining import HardNegatives
from shortlist.jobs.train.retriever import TrainRetriever
from shortlist.jobs.train.steps import Step

STEPS: Mapping[str, Step] = {step.name: step for step in (Adapt(), TrainRetriever(), HardNegatives(), Attacks())}
