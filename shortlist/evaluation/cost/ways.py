"""The ways to answer a query that are compared: system, index, depth, layers and precision, each a working search.

Every way is a variant of the bundle's loaded generation that shares its weights and its products, so that what is timed
is the engine's own path. For quality all queries are answered once more, as one batch, by the same code over a tower
and a cross-encoder that remember what they computed: ways that differ in depth alone ask for the same pairs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from indexing.errors import ConfigError
from indexing.types import FloatMatrix, FloatVector
from rerank.cross_encoder import CrossEncoderReranker
from rerank.remembering import RememberingReranker
from rerank.reranker import PassThrough
from retrieval.config import Precision
from retrieval.encoder import DualEncoder
from retrieval.records import Run
from retrieval.runtime import has_bf16
from shortlist.config import System
from shortlist.cost import CostSweepConfig
from shortlist.engine import SOURCES
from shortlist.evaluation.cost.indexes import MeasuredIndex
from shortlist.evaluation.cost.records import Skipped
from shortlist.evaluation.cost.turns import Task
from shortlist.generation import Generation, QueryTower


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to answer.

    Attributes:
        system: Which sources and stages.
        generation: What answers.
        index: The dense index; ``None`` without one.
        depth: Candidates of the first stage, and of the cross-encoder.
        layers: Layers of the cross-encoder that run; 0 without one.
        all_layers: Layers that it has.
        precision: ``fp32`` or ``bf16``; empty where no model runs.
        dropped_bytes: Weights that are not needed with so few layers.
    """

    system: System
    generation: Generation
    index: MeasuredIndex | None
    depth: int
    layers: int = 0
    all_layers: int = 0
    precision: str = ""
    dropped_bytes: int = 0

    @property
    def name(self) -> str:
        """Unique among the ways of one measurement."""
        parts = [self.system.name]
        if self.index is not None:
            parts.append(self.index.kind)
        if self.all_layers:
            parts.append(f"depth {self.depth} layers {self.layers}/{self.all_layers}")
        return " ".join([*parts, self.precision]).strip()

    def answer(self, generation: Generation, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        """Rank queries with ``generation`` as this way does; (product_id, score), best first, for each."""
        rankings = generation.rank(
            texts,
            recall_depth=self.depth,
            rerank_depth=self.depth,
            sources=SOURCES[self.system],
            reranking=self.system is System.hybrid_rerank,
        )
        return [[(ranked.product_id, ranked.score) for ranked in ranking.ranked] for ranking in rankings]

    def task(self, texts: Sequence[str]) -> Task:
        """Return the calls that answer one query after the other."""
        return Task(self.name, [partial(self.answer, self.generation, [text]) for text in texts])


def every_way(
    config: CostSweepConfig,
    systems: Sequence[System],
    generation: Generation,
    indexes: Sequence[MeasuredIndex],
    *,
    depth: int,
) -> tuple[list[Way], list[Skipped]]:
    """Return all ways that this bundle and this machine allow, and what they do not.

    Args:
        config: Depths, layers and precisions.
        systems: Those that are evaluated.
        generation: As loaded.
        indexes: The bundle's own first.
        depth: Candidates of the ways without a cross-encoder.
    """
    precisions, skipped = _precisions(config, generation)
    ways = []
    if System.bm25 in systems:
        ways.append(Way(system=System.bm25, generation=generation, index=None, depth=depth))
    for precision in precisions:
        at = _at(generation, precision)
        for system in (System.dense, System.hybrid):
            if system in systems:
                ways += [
                    Way(
                        system=system,
                        generation=_over(at, measured),
                        index=measured,
                        depth=depth,
                        precision=precision.name,
                    )
                    for measured in indexes
                ]
    reranked, missing = _reranked(config, systems, generation, indexes[0], precisions)
    return [*ways, *reranked], [*skipped, *missing]


def _precisions(config: CostSweepConfig, generation: Generation) -> tuple[list[Precision], list[Skipped]]:
    tower = generation.tower
    device = tower.device if isinstance(tower, DualEncoder) else "cpu"
    if Precision.bf16 not in config.precisions or has_bf16(device):
        return config.precisions, []
    rest: list[Precision] = [precision for precision in config.precisions if precision is not Precision.bf16]
    why = f"{device} has no bfloat16 instructions here: it would be right, and slower than fp32"
    return rest, [Skipped("precision bf16", why)]


def _at(generation: Generation, precision: Precision) -> Generation:
    tower = generation.tower
    if not isinstance(tower, DualEncoder):
        return generation
    other = tower.at_precision(precision)
    return replace(generation, tower=other, retriever=generation.retriever.using(encoder=other))


def _over(generation: Generation, measured: MeasuredIndex) -> Generation:
    return replace(generation, retriever=generation.retriever.using(dense=measured.index))


def _reranked(
    config: CostSweepConfig,
    systems: Sequence[System],
    generation: Generation,
    own: MeasuredIndex,
    precisions: Sequence[Precision],
) -> tuple[list[Way], list[Skipped]]:
    """Return the ways with a cross-encoder, over the bundle's own index."""
    whole = generation.reranker
    if config.depths and isinstance(whole, PassThrough):
        return [], [Skipped("hybrid_rerank", "the bundle has no reranker")]
    if not config.depths or System.hybrid_rerank not in systems:
        return [], []
    if not whole.fusion.asks:
        return [], [Skipped("hybrid_rerank", "the reranker weighs 0 in the final fusion: it is never asked")]
    if not isinstance(whole, CrossEncoderReranker):
        return [], [Skipped("hybrid_rerank", f"layers and precision of a {type(whole).__name__} cannot be varied")]
    layers, skipped = _layers(config, whole)
    ways = []
    for precision in precisions:
        at = _over(_at(generation, precision), own)
        for count in layers:
            cut = whole.variant(layers=count, precision=precision)
            ways += [
                Way(
                    system=System.hybrid_rerank,
                    generation=replace(at, reranker=cut, student=None),  # what one model costs at a depth
                    index=own,
                    depth=depth,
                    layers=count or whole.layers,
                    all_layers=whole.layers,
                    precision=precision.name,
                    dropped_bytes=whole.parameter_bytes - cut.parameter_bytes,
                )
                for depth in config.depths
            ]
    return ways, skipped


def _layers(config: CostSweepConfig, reranker: CrossEncoderReranker) -> tuple[list[int], list[Skipped]]:
    """Return the numbers of layers that can be had, each once, and those that cannot."""
    try:
        there = reranker.layers
    except ConfigError as error:
        return [0], [Skipped(f"layers {config.layers}", str(error))]
    wanted = sorted({count or there for count in config.layers})
    too_many = [Skipped(f"{count} layers", f"the cross-encoder has {there}") for count in wanted if count > there]
    return [count for count in wanted if count <= there], too_many


# --- what quality is measured on --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RememberingTower:
    """A query tower that encodes no text twice.

    Attributes:
        tower: Who encodes.
        known: Text -> vector, float32 [d].
    """

    tower: QueryTower
    known: dict[str, FloatVector] = field(default_factory=dict)

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return the vectors of ``texts``, those not seen before encoded as one batch."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.tower.encode_queries(new), strict=True))
        return np.stack([self.known[text] for text in texts])


def answers(
    ways: Sequence[Way], queries: Mapping[str, str], *, scored: Callable[[int], None]
) -> Iterator[tuple[Way, Run]]:
    """Answer all queries in every way, the deepest first, so that the shallower ones find their pairs scored.

    Args:
        ways: Each is answered once.
        queries: query_id -> normalised text.
        scored: Told of every batch of pairs that a cross-encoder scored.

    Yields:
        A way and its run.
    """
    towers: dict[int, RememberingTower] = {}
    rerankers: dict[int, RememberingReranker] = {}
    for way in sorted(ways, key=lambda way: -way.depth):
        generation = way.generation
        if generation.tower is not None:
            tower = towers.setdefault(id(generation.tower), RememberingTower(generation.tower))
            retriever = generation.retriever.using(encoder=tower)
            generation = replace(generation, tower=tower, retriever=retriever)
        if way.all_layers:
            reranker = generation.reranker
            remembering = rerankers.setdefault(id(reranker), RememberingReranker(reranker, scored))
            generation = replace(generation, reranker=remembering)
        rankings = way.answer(generation, list(queries.values()))
        yield way, {query_id: ranking for query_id, ranking in zip(queries, rankings, strict=True) if ranking}


def pairs_to_score(ways: Sequence[Way], queries: int) -> int:
    """Return how many pairs `answers` scores at most: for every cross-encoder, its deepest way."""
    deepest: dict[int, int] = {}
    for way in ways:
        if way.all_layers:
            key = id(way.generation.reranker)
            deepest[key] = max(deepest.get(key, 0), way.depth)
    return queries * sum(deepest.values())
