"""The steps that there are, by the names that ``steps=[...]`` takes."""

from collections.abc import Mapping

from shortlist.jobs.train.adapt import Adapt
from shortlist.jobs.train.attacks import Attacks
from shortlist.jobs.train.cascading import ChooseCascade
from shortlist.jobs.train.distilling import Distil
from shortlist.jobs.train.final_fusing import LearnFinalFusion
from shortlist.jobs.train.fusing import LearnFusion
from shortlist.jobs.train.interpolating import Interpolate
from shortlist.jobs.train.mining import HardNegatives
from shortlist.jobs.train.reranking import LearnConfidence, TrainReranker, TrainStudent
from shortlist.jobs.train.retriever import TrainRetriever
from shortlist.jobs.train.spelling import CorrectSpelling
from shortlist.jobs.train.steps import Step
from shortlist.jobs.train.typos import Typos

_ALL: tuple[Step, ...] = (
    CorrectSpelling(),
    Adapt(),
    TrainRetriever(),
    HardNegatives(),
    Typos(),
    Interpolate(),
    Attacks(),
    LearnFusion(),
    TrainReranker(),
    LearnFinalFusion(),
    Distil(),
    TrainStudent(),
    ChooseCascade(),
    LearnConfidence(),
)

STEPS: Mapping[str, Step] = {step.name: step for step in _ALL}
