"""What every part of a measurement of cost needs: the loaded bundle, the queries, the machine, and turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.errors import ConfigError, InvalidQuery
from indexing.faiss_index import FaissIndex
from retrieval.runtime import choose_device, set_threads
from retrieval.text import normalise_query
from shortlist.bundle import Bundle
from shortlist.config import EvaluateConfig
from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost.indexes import MeasuredIndex
from shortlist.evaluation.cost.machine import describe_machine
from shortlist.evaluation.cost.noise import control_task
from shortlist.evaluation.cost.records import Machine
from shortlist.evaluation.cost.turns import Call, Task, Timed, number_of_calls, take_turns
from shortlist.generation import Generation, QueryTower
from shortlist.loading import load_generation
from shortlist.progress import progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where things are measured.

    Attributes:
        config: What was asked for.
        sweep: Its group ``cost``.
        generation: The bundle, loaded.
        tower: Its query tower.
        own: Its dense index.
        texts: query_id -> normalised text of the evaluated queries that can be asked.
        machine: What it runs on.
        control: The control task.
    """

    config: EvaluateConfig
    sweep: CostSweepConfig
    generation: Generation
    tower: QueryTower
    own: MeasuredIndex
    texts: Mapping[str, str]
    machine: Machine
    control: Call

    def drawn(self, count: int) -> list[str]:
        """Return the texts of at most ``count`` queries, a seeded draw, in the order of the evaluation."""
        texts = list(self.texts.values())
        chosen = np.random.default_rng(self.sweep.seed).permutation(len(texts))[:count]
        return [texts[place] for place in sorted(chosen.tolist())]

    def take_turns(self, label: str, tasks: Sequence[Task]) -> dict[str, Timed]:
        """Time tasks against each other, with a bar."""
        repeats = self.sweep.repeats
        with progress(f"timing {label}", number_of_calls(tasks, repeats), unit="calls") as advance:
            return take_turns(tasks, control=self.control, repeats=repeats, seed=self.sweep.seed, advance=advance)


def open_bench(config: EvaluateConfig, bundle: Bundle, query_texts: Mapping[str, str]) -> Bench:
    """Load a bundle for measuring; FAISS and torch get the same threads.

    Args:
        config: Its ``cost`` is a `CostSweepConfig`.
        bundle: Opened and verified.
        query_texts: query_id -> text of the evaluated queries.

    Raises:
        ConfigError: If nothing is asked for, the bundle cannot be asked texts, or no query can be asked.
        ArtifactError: If the bundle cannot be loaded.
    """
    sweep = config.cost
    if not isinstance(sweep, CostSweepConfig):
        raise ConfigError("cost=none measures nothing; take cost=quick or cost=standard")
    texts = _askable(query_texts)
    if not texts:
        raise ConfigError(f"none of the {len(query_texts)} evaluated queries has a text that a search would take")
    generation = load_generation(bundle, runtime=config.runtime, probing=False)  # whoever asks has opened it
    dense = generation.retriever.dense
    if generation.tower is None or not isinstance(dense, FaissIndex):
        raise ConfigError(f"{bundle.root} has no encoder, so its searches cannot be timed; evaluate with cost=none")
    threads = set_threads(config.runtime)
    return Bench(
        config=config,
        sweep=sweep,
        generation=generation,
        tower=generation.tower,
        own=MeasuredIndex(dense, own=True, build_s=float(bundle.manifest.created["seconds"]["index"])),
        texts={query_id: generation.reading(text) for query_id, text in texts.items()},
        machine=describe_machine(device=choose_device(config.runtime), threads=threads),
        control=control_task(),
    )


def _askable(query_texts: Mapping[str, str]) -> dict[str, str]:
    """Return the normalised texts; a query that a search refuses stays unanswered, which scores 0 everywhere."""
    texts = {}
    for query_id, text in query_texts.items():
        try:
            texts[query_id] = normalise_query(text)
        except InvalidQuery:
            continue
    return texts
