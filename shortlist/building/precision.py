"""Which arithmetic a build encodes in when none is asked for: the fastest whose rankings are those of fp32.

The candidates are tried on a sample of the catalogue's own texts and queries. What decides is quality alone, so that
the same catalogue and processor always lead to the same arithmetic and an interrupted build goes on as it began; the
rates are measured to be told, and to leave out what would be slower than fp32 here.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from indexing.errors import ConfigError, EnvironmentProblem
from indexing.types import FloatMatrix
from retrieval.catalog import Catalog
from retrieval.config import Precision
from retrieval.encoder import DualEncoder
from retrieval.products import ProductTable
from retrieval.text import TextTemplate
from shortlist.building.sample import sample_queries
from shortlist.config import BuildConfig
from shortlist.progress import say

FASTEST_FIRST = (Precision.int8, Precision.bf16)
"""On every processor that has both; fp32 is what is left."""

SAMPLE_PRODUCTS, SAMPLE_QUERIES = 512, 64

OVERLAP = 0.98
"""Least share of the ten products that fp32 finds first for a query among the sample, on average. Over a catalogue .97
is wanted, where neighbours lie closer: int8 had .977 over 400 products of Icecat and .969 over 2,426 (ADR 0014)."""

COSINE = {Precision.int8: 0.995, Precision.bf16: 0.999}
"""Smallest cosine to fp32 over the sample; also what the canary of such a bundle allows. Another tower's is about 0.
int8 with all-MiniLM-L6-v2: .9989 over 201 product texts, .9988 over 88 queries (Icecat)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One arithmetic on the sample.

    Attributes:
        precision: Its name.
        runs: What ran, in words.
        texts_per_s: Product texts a second, of one pass over the sample.
        cosine: Smallest cosine to fp32, of products and queries.
        overlap: Mean share of fp32's first ten products that it finds first as well.
        problem: Why it is not taken; empty when it could be.
    """

    precision: str
    runs: str = ""
    texts_per_s: float = 0.0
    cosine: float = 1.0
    overlap: float = 1.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """What a build encodes in, and why."""

    precision: Precision
    reason: str
    trials: tuple[Trial, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for manifest and report."""
        return {"kind": self.precision.name, "reason": self.reason, "trials": [asdict(trial) for trial in self.trials]}


def open_encoder(
    config: BuildConfig, catalog: Catalog, table: Path, template: TextTemplate
) -> tuple[DualEncoder, PrecisionChoice]:
    """Open the encoder of a build in the arithmetic that is asked for, or, with ``auto``, in one that it chooses aloud.

    Args:
        config: Of the build.
        catalog: For its queries.
        table: The file of its products.
        template: Renders a product.

    Raises:
        ConfigError, ArtifactError, EnvironmentProblem: As :meth:`retrieval.encoder.DualEncoder.open`.
    """
    asked = config.runtime.precision
    if asked is not Precision.auto:
        return DualEncoder.open(config.encoder, config.runtime), PrecisionChoice(asked, "asked for")
    reference = DualEncoder.open(config.encoder, replace(config.runtime, precision=Precision.fp32))
    products = ProductTable.open(table)
    step = max(1, products.count // SAMPLE_PRODUCTS)
    texts = [template.render(products.get(row)) for row in range(0, products.count, step)[:SAMPLE_PRODUCTS]]
    queries = sample_queries(catalog, products, count=SAMPLE_QUERIES).texts
    choice = choose_precision(reference, texts, queries)
    say(f"precision: {choice.precision.name} ({choice.reason})")
    return reference.at_precision(choice.precision), choice


def choose_precision(reference: DualEncoder, texts: Sequence[str], queries: Sequence[str]) -> PrecisionChoice:
    """Return the fastest arithmetic that keeps the rankings of ``reference``, which computes in fp32.

    Args:
        reference: The tower.
        texts: Product texts, at least one.
        queries: Query texts, at least one.
    """
    products, rate = _timed(reference, texts)
    asked = reference.encode_queries(queries)
    trials = [Trial(Precision.fp32.name, reference.lane.description, rate)]
    for precision in FASTEST_FIRST:
        trial = _tried(reference, precision, texts, queries, products, asked, slowest=rate)
        trials.append(trial)
        if not trial.problem:
            reason = (
                f"on {len(texts)} products and {len(queries)} queries: cosine to fp32 at least {trial.cosine:.4f}, "
                f"top-10 overlap {trial.overlap:.3f}, {trial.texts_per_s:.0f} texts/s instead of {rate:.0f}"
            )
            return PrecisionChoice(precision, reason, tuple(trials))
    reason = "; ".join(f"{trial.precision}: {trial.problem}" for trial in trials[1:])
    return PrecisionChoice(Precision.fp32, reason, tuple(trials))


def canary_cosine(config: BuildConfig, precision: Precision) -> float:
    """Return the smallest cosine that the canary of a build allows: that of the arithmetic, when that is less."""
    return min(config.canary_cosine, COSINE.get(precision, 1.0))


def _tried(
    reference: DualEncoder,
    precision: Precision,
    texts: Sequence[str],
    queries: Sequence[str],
    products: FloatMatrix,
    asked: FloatMatrix,
    *,
    slowest: float,
) -> Trial:
    try:
        tower = reference.at_precision(precision)
    except (EnvironmentProblem, ConfigError, ValueError) as error:  # ValueError: int8 on CUDA cannot be configured
        return Trial(precision.name, problem=str(error))
    found, rate = _timed(tower, texts)
    vectors = tower.encode_queries(queries)
    cosine = float(min(np.min(np.vecdot(found, products)), np.min(np.vecdot(vectors, asked))))
    overlap = top_overlap(asked @ products.T, vectors @ found.T)
    problem = ""
    if cosine < COSINE[precision]:
        problem = f"cosine to fp32 {cosine:.4f}, at least {COSINE[precision]} expected"
    elif overlap < OVERLAP:
        problem = f"top-10 overlap with fp32 {overlap:.3f}, at least {OVERLAP} expected"
    elif rate < slowest:
        problem = f"{rate:.0f} texts/s, fp32 {slowest:.0f}"
    return Trial(precision.name, tower.lane.description, round(rate, 1), cosine, overlap, problem)


def top_overlap(expected: FloatMatrix, found: FloatMatrix, *, k: int = 10) -> float:
    """Return the mean share of each row's ``k`` largest places that two matrices of scores [q, n] have in common."""
    width = min(k, expected.shape[1])
    best = [np.argsort(-scores, axis=1, kind="stable")[:, :width] for scores in (expected, found)]
    pairs = zip(*(ranks.tolist() for ranks in best), strict=True)
    return float(np.mean([len(set(one) & set(two)) / width for one, two in pairs]))


def _timed(tower: DualEncoder, texts: Sequence[str]) -> tuple[FloatMatrix, float]:
    tower.encode_products(texts[:32])  # the first call allocates
    start = time.perf_counter()
    vectors = tower.encode_products(texts)
    return vectors, len(texts) / max(time.perf_counter() - start, 1e-9)
