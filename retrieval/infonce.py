"""The contrastive loss: a query must score its own product above the other products of the batch, and vice versa."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(
    queries: "torch.Tensor", products: "torch.Tensor", known: "torch.Tensor", *, temperature: float
) -> "torch.Tensor":
    """Return the mean of -log softmax of every pair's cosine over both directions, a scalar with its gradient.

    For pair i with query vector q_i and product vector p_i, over i itself and its possible negatives j:
    ``-log(exp(q_i.p_i / t) / sum_j exp(q_i.p_j / t))``, averaged over i, and half of it from exchanged roles.
    Both directions, because the second also pushes a product away from the queries of other products, at no further
    forward pass.

    Args:
        queries: Unit vectors, float [b, d].
        products: Unit vectors of the positives, float [b, d]; row i belongs to query row i.
        known: bool [b, b]; True where product j has a grade above 0 for query i, the diagonal included. Such a place
            never serves as a negative: a second positive of the query, a product of a lower grade, or the same product
            or query again.
        temperature: Divides the cosines; smaller looks harder at the nearest negatives.

    Returns:
        0 when no place may be a negative (a batch of one pair, or of one query's positives).

    Source: van den Oord et al., Representation learning with contrastive predictive coding, 2018, equation 4; both
    directions as in Radford et al., CLIP, 2021, figure 3; the mask follows what RocketQA (Qu et al., 2021) found about
    false negatives.
    """
    import torch

    pairs = len(queries)
    own = torch.eye(pairs, dtype=torch.bool, device=queries.device)
    scores = (queries @ products.T / temperature).masked_fill(known & ~own, -torch.inf)
    target = torch.arange(pairs, device=queries.device)
    to_products = torch.nn.functional.cross_entropy(scores, target)
    to_queries = torch.nn.functional.cross_entropy(scores.T, target)
    return (to_products + to_queries) / 2
