"""The contrastive loss: a query must score its own products above the others of the batch, and vice versa."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NEVER = -1e9
"""Score of a place that may not be a negative: exp of it is 0, and its gradient too, where -inf would give NaN."""


def info_nce(
    queries: "torch.Tensor",
    products: "torch.Tensor",
    *,
    weights: "torch.Tensor",
    negatives: "torch.Tensor",
    temperature: float,
    reverse_share: float = 0.5,
    dims: Sequence[int] = (),
) -> "torch.Tensor":
    """Return the weighted mean of -log softmax of every positive's cosine, a scalar with its gradient.

    For a positive p of query q and the places N(q) that may be negatives of q, with s = cosine / temperature::

        loss(q, p) = -log( exp(s_qp) / (exp(s_qp) + sum over n in N(q) of exp(s_qn)) )

    Positives of one query do not compete with each other. The reverse direction ranks queries for a product in the same
    way: it also pushes a product away from the queries of other products, at no further forward pass.

    Args:
        queries: Unit vectors, float [q, d].
        products: Unit vectors, float [p, d].
        weights: How much each place counts as a positive, float [q, p]; 0 where it is none.
        negatives: Places that may be negatives, bool [q, p]; never one with a weight.
        temperature: Divides the cosines; smaller looks harder at the nearest negatives.
        reverse_share: Share of the direction from products to queries, in [0, 1].
        dims: Leading dimensions that must be good on their own besides all of them: the loss is the mean over vectors
            cut there and made of unit length again. Empty means all of them alone.

    Returns:
        0 when no place has a weight, or none may be a negative.

    Source: van den Oord et al., Representation learning with contrastive predictive coding, 2018, equation 4, per
    positive as in Khosla et al., Supervised contrastive learning, 2020, equation 2, but without the other positives
    below the fraction; both directions as in Radford et al., CLIP, 2021, figure 3; graded weights as in Zhu et al.,
    Generalized contrastive learning, 2024; leading dimensions as in Kusupati et al., Matryoshka, 2022, equation 1.
    """
    import torch

    widths = sorted({min(dim, queries.shape[1]) for dim in dims} | {queries.shape[1]})
    shares = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    losses = []
    for width in widths:
        left, right = _cut(queries, width), _cut(products, width)
        losses.append(_both_ways(left @ right.T / temperature, shares, negatives, reverse_share))
    return torch.stack(losses).mean()


def _cut(vectors: "torch.Tensor", width: int) -> "torch.Tensor":
    import torch

    return vectors if width == vectors.shape[1] else torch.nn.functional.normalize(vectors[:, :width], dim=1)


def _both_ways(
    scores: "torch.Tensor", shares: "torch.Tensor", negatives: "torch.Tensor", reverse_share: float
) -> "torch.Tensor":
    import torch

    against = scores.masked_fill(~negatives, NEVER)
    loss = scores.new_zeros(())
    for axis, share in ((1, 1 - reverse_share), (0, reverse_share)):
        if share:
            # -log(e^s / (e^s + sum e^n)) = softplus(log sum e^n - s), which neither overflows nor loses digits.
            margin = torch.logsumexp(against, dim=axis, keepdim=True) - scores
            loss = loss + share * (shares * torch.nn.functional.softplus(margin)).sum()
    return loss
