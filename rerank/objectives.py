"""What a cross-encoder's score is fitted to: a share of the highest grade, the steps of the scale, or an order.

All three leave one score per pair, so that the folder they make is the same to whoever opens it. The ordinal one needs
no outputs more for it: with one threshold per step of the scale, the expected grade rises with the score and with
nothing else, so ordering by the score *is* ordering by the expected grade, and the thresholds are not needed to serve.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from indexing.errors import SourceDataError
from indexing.types import IntVector
from rerank.config import CrossEncoderTrainerConfig, Loss
from rerank.examples import Example
from rerank.fusion import FloatVector

BATCHES_PER_POOL = 50
"""Batches are cut from so many batches' worth of shuffled pairs sorted by length: little padding, and still little
order."""


class Objective(Protocol):
    """Batches to learn from, and the loss of each."""

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is learned beside the network."""

    def batches(self, lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
        """Yield every position once."""

    def loss(self, scores: torch.Tensor, batch: IntVector) -> torch.Tensor:
        """Return the mean loss of the raw scores [b] of the examples at ``batch``."""


def make_objective(
    config: CrossEncoderTrainerConfig,
    examples: Sequence[Example],
    *,
    device: str,
    teacher: FloatVector | None = None,
) -> Objective:
    """Return what the configuration asks for.

    Args:
        config: Loss and scale.
        examples: What is learned from, at least one.
        device: Where the network is.
        teacher: Another cross-encoder's scores of the examples, float32 [n], to be learned in place of the grades.

    Raises:
        SourceDataError: If a grade exceeds ``config.top_grade``.
    """
    grades = np.array([example.grade for example in examples], dtype=np.int64)
    top = config.top_grade or int(grades.max())
    if grades.max() > top:
        worst = examples[int(grades.argmax())]
        raise SourceDataError(
            f"{int((grades > top).sum())} of {len(grades)} pairs have a grade above trainer.top_grade={top}, such as "
            f"query {worst.query_id!r} and product {worst.product_id!r} with {worst.grade}; correct the judgments or "
            "raise trainer.top_grade"
        )
    query_ids = [example.query_id for example in examples]
    if teacher is not None:
        return Distilled(teacher, query_ids, device=device)
    match config.loss:
        case Loss.ordinal:
            return Ordinal(grades, top=top, device=device)
        case Loss.listwise:
            return Listwise(grades, query_ids, device=device)
        case _:
            return Binary(grades, top=top, device=device)


class Binary:
    """Binary cross-entropy between the sigmoid of the score and the grade as a share of the highest.

    Its minimum for a pair is the mean label, so that with labels in proportion to gains the score rises with the
    expected gain, which is what nDCG is paid in.

    Source:
        sentence-transformers 6.2, "Training Overview" of the cross-encoders (BinaryCrossEntropyLoss, "very challenging
        to outperform").
    """

    def __init__(self, grades: IntVector, *, top: int, device: str) -> None:
        """Take grades from 0 to ``top``, int64 [n]."""
        self._labels = torch.from_numpy((grades / top).astype(np.float32)).to(device)
        self.parameters: list[torch.nn.Parameter] = []

    def batches(self, lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
        """Yield batches of like length."""
        return shuffled_batches(lengths, batch_size, rng)

    def loss(self, scores: torch.Tensor, batch: IntVector) -> torch.Tensor:
        """Return the mean over the batch."""
        return torch.nn.functional.binary_cross_entropy_with_logits(scores, self._labels[batch].to(scores.dtype))


class Ordinal:
    """Proportional odds: ``P(grade >= k) = sigmoid(score - threshold_k)``, thresholds learned and rising.

    Unlike a share of the highest grade, it does not say that the steps of the scale are equally wide: where people mean
    much by 3 and little by 2, the thresholds move apart.

    Source:
        McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical Society B 42(2), 1980; as a
        loss of neural rankers: Rennie, Srebro, "Loss Functions for Preference Levels", IJCAI 2005 workshop.
    """

    def __init__(self, grades: IntVector, *, top: int, device: str) -> None:
        """Take grades from 0 to ``top``, int64 [n]; thresholds begin where the grades' own shares put them."""
        self._grades = torch.from_numpy(grades).to(device)
        self._top = top
        reached = np.array([(grades >= step).mean() for step in range(1, top + 1)]).clip(1e-3, 1 - 1e-3)
        starts = -np.log(reached / (1 - reached))
        gaps = np.maximum(np.diff(starts), 0.1)
        first = torch.tensor([starts[0]], dtype=torch.float32)
        # softplus(g) is the gap to the threshold before: rising whatever is learned
        raw = torch.tensor([math.log(math.expm1(gap)) for gap in gaps], dtype=torch.float32)
        self._first, self._gaps = (torch.nn.Parameter(of.to(device)) for of in (first, raw))
        self.parameters = [self._first, self._gaps]

    @property
    def thresholds(self) -> torch.Tensor:
        """The score at which each grade from 1 on is as likely reached as not, rising, [top]."""
        return torch.cat([self._first, self._first + torch.nn.functional.softplus(self._gaps).cumsum(0)])

    def batches(self, lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
        """Yield batches of like length."""
        return shuffled_batches(lengths, batch_size, rng)

    def loss(self, scores: torch.Tensor, batch: IntVector) -> torch.Tensor:
        """Return the mean negative log-likelihood over the batch."""
        return ordinal_loss(scores, self._grades[batch], self.thresholds.to(scores.dtype))


def ordinal_loss(scores: torch.Tensor, grades: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``-log(P(grade >= g) - P(grade >= g + 1))`` under proportional odds.

    With a = score - threshold_g and b = score - threshold_(g+1) the difference of the two sigmoids is
    ``sigmoid(a) * sigmoid(-b) * (1 - exp(b - a))``, whose logarithm is finite however far the score lies out.

    Args:
        scores: [b].
        grades: int64 [b], from 0 to the number of thresholds.
        thresholds: Rising, [top].
    """
    top = len(thresholds)
    below = scores - thresholds[(grades - 1).clamp(min=0)]
    above = scores - thresholds[grades.clamp(max=top - 1)]
    logsigmoid = torch.nn.functional.logsigmoid
    least, most = grades == 0, grades == top
    zero = torch.zeros_like(scores)
    reached = torch.where(least, zero, logsigmoid(below))
    not_passed = torch.where(most, zero, logsigmoid(-above))
    inside = torch.where(least | most, -torch.ones_like(scores), above - below)  # below 0: thresholds rise
    between = torch.where(least | most, zero, torch.log(-torch.expm1(inside)))
    return -(reached + not_passed + between).mean()


class Listwise:
    """Softmax cross-entropy over the products of a query, each to have a share in proportion to its grade.

    Only the order within a query is learned, which is what a ranking needs; a list without a grade above 0 teaches
    nothing and is left out.

    Source:
        Cao, Qin, Liu, Tsai, Li, "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007 (ListNet,
        top one); with gains as targets: Bruch, Wang, Bendersky, Najork, ICTIR 2019, equation 5.
    """

    def __init__(self, grades: IntVector, query_ids: Sequence[str], *, device: str) -> None:
        """Take grades int64 [n] and the query of each."""
        self._query, self._grades, self._device = _numbered(query_ids), grades, device
        self.parameters: list[torch.nn.Parameter] = []

    def batches(self, lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
        """Yield whole queries in random order, as many as fit, at least one."""
        return whole_lists([members for members in _lists(self._query) if self._grades[members].any()], batch_size, rng)

    def loss(self, scores: torch.Tensor, batch: IntVector) -> torch.Tensor:
        """Return the mean over the queries of the batch."""
        queries = _places(self._query[batch]).to(self._device)
        grades = torch.from_numpy(self._grades[batch]).to(self._device)
        return listwise_loss(scores, grades, queries)


def listwise_loss(scores: torch.Tensor, grades: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Return the mean over queries of ``-sum(share * log softmax(scores))``, shares in proportion to grades.

    Args:
        scores: [b].
        grades: int64 [b]; every query has one above 0.
        queries: Query of each, int64 [b], numbered from 0 without gaps.
    """
    count = int(queries.max()) + 1
    highest = torch.full((count,), -torch.inf, dtype=scores.dtype, device=scores.device)
    highest = highest.scatter_reduce(0, queries, scores.detach(), "amax")
    total = torch.zeros(count, dtype=scores.dtype, device=scores.device)
    total = total.index_add(0, queries, torch.exp(scores - highest[queries]))
    gains = grades.to(scores.dtype)
    whole = torch.zeros_like(total.detach()).index_add(0, queries, gains)
    log_shares = scores - highest[queries] - torch.log(total)[queries]
    return -(gains / whole[queries] * log_shares).sum() / count


class Distilled:
    """The squared difference between how two products of a query are parted by the model and by a teacher.

    Only differences count: where a score of 0 lies is the teacher's own affair. The mean over all pairs of a list is
    twice the variance of the differences between both models' scores, so no pair need be looked at.

    Source:
        Hofstätter, Althammer, Schröder, Sertkan, Hanbury, "Improving Efficient Neural Ranking Models with
        Cross-Architecture Knowledge Distillation", arXiv 2010.02666, equation 3 (MarginMSE).
    """

    def __init__(self, teacher: FloatVector, query_ids: Sequence[str], *, device: str) -> None:
        """Take the teacher's scores float32 [n] and the query of each."""
        self._query, self._device = _numbered(query_ids), device
        self._teacher = torch.from_numpy(teacher).to(device)
        self.parameters: list[torch.nn.Parameter] = []

    def batches(self, lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
        """Yield whole queries with two products or more in random order, as many as fit, at least one."""
        return whole_lists([members for members in _lists(self._query) if len(members) > 1], batch_size, rng)

    def loss(self, scores: torch.Tensor, batch: IntVector) -> torch.Tensor:
        """Return the mean over the queries of the batch."""
        queries = _places(self._query[batch]).to(self._device)
        return margin_loss(scores, self._teacher[batch].to(scores.dtype), queries)


def margin_loss(scores: torch.Tensor, teacher: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Return the mean over queries of the mean over pairs of ``((s_i - s_j) - (t_i - t_j))^2``, i = j among them.

    Args:
        scores: [b].
        teacher: [b].
        queries: Query of each, int64 [b], numbered from 0 without gaps.
    """
    count = int(queries.max()) + 1
    sizes = torch.bincount(queries, minlength=count).to(scores.dtype)
    apart = scores - teacher
    means = torch.zeros(count, dtype=scores.dtype, device=scores.device).index_add(0, queries, apart) / sizes
    return (2 * (apart - means[queries]) ** 2 / sizes[queries]).sum() / count


def _numbered(query_ids: Sequence[str]) -> IntVector:
    number: dict[str, int] = {}
    return np.array([number.setdefault(query_id, len(number)) for query_id in query_ids], np.int64)


def _lists(query: IntVector) -> list[IntVector]:
    """Return the positions of each query, in the order of their numbers."""
    order = np.argsort(query, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(query[order])) + 1)


def _places(query: IntVector) -> torch.Tensor:
    """Number the queries of a batch from 0 without gaps."""
    return torch.from_numpy(np.unique(query, return_inverse=True)[1])


def whole_lists(lists: Sequence[IntVector], batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
    """Yield lists in random order, as many whole ones at a time as hold ``batch_size`` positions, at least one."""
    batch: list[IntVector] = []
    for place in rng.permutation(len(lists)):
        if batch and sum(map(len, batch)) + len(lists[place]) > batch_size:
            yield np.concatenate(batch)
            batch = []
        batch.append(lists[place])
    if batch:
        yield np.concatenate(batch)


def shuffled_batches(lengths: IntVector, batch_size: int, rng: np.random.Generator) -> Iterator[IntVector]:
    """Yield every position once in batches of like length, in random order; all but the shortest pool's last are full.

    Args:
        lengths: Tokens per pair, int64 [n].
        batch_size: Positions per batch.
        rng: Shuffles; every call draws anew.
    """
    order = rng.permutation(len(lengths))
    pool = batch_size * BATCHES_PER_POOL
    batches = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    for i in rng.permutation(len(batches)):
        yield batches[i]
