"""Candidates in, hits out: the cross-encoder, its training, and the final fusion of both stages' scores.

Nothing here imports torch until a cross-encoder is opened or trained (``rerank.cross_encoder``, ``rerank.training``).
"""

from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig, RerankerConfig
from rerank.fusion import best_weight, final_scores
from rerank.reranker import PassThrough, Ranked, Reranker, open_reranker, rerank

__all__ = [
    "CrossEncoderConfig",
    "CrossEncoderTrainerConfig",
    "PassThrough",
    "Ranked",
    "Reranker",
    "RerankerConfig",
    "best_weight",
    "final_scores",
    "open_reranker",
    "rerank",
]
