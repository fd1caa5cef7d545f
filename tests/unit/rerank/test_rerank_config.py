import pytest

import rerank
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig


def test_the_package_exports_these_names_and_no_others():
    assert sorted(rerank.__all__) == [
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
    assert all(hasattr(rerank, name) for name in rerank.__all__)


def test_a_weight_above_1_is_refused_and_one_below_0_means_the_stored_one():
    with pytest.raises(ValueError, match=r"reranker\.weight must be in \[0, 1\], .* got 1\.5"):
        CrossEncoderConfig(model="m", weight=1.5)
    assert CrossEncoderConfig(model="m").weight < 0


@pytest.mark.parametrize("name", ["epochs", "batch_size", "max_tokens", "max_per_grade", "patience", "evaluations"])
def test_counts_below_1_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"trainer.{name} must be at least 1, got 0"):
        CrossEncoderTrainerConfig(**{name: 0})


@pytest.mark.parametrize("name", ["layers", "random_negatives", "negatives_from_first_stage"])
def test_counts_below_0_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"trainer.{name} must be 0 or more, got -1"):
        CrossEncoderTrainerConfig(**{name: -1})


@pytest.mark.parametrize("rate", [0.0, -1e-5])
def test_a_learning_rate_that_does_not_learn_is_refused(rate):
    with pytest.raises(ValueError, match=f"learning_rate must be above 0, got {rate}"):
        CrossEncoderTrainerConfig(learning_rate=rate)


@pytest.mark.parametrize("shares", [{"warmup_share": 1.5}, {"dev_share": 1.0}, {"dev_share": -0.1}])
def test_shares_outside_their_range_are_refused(shares):
    with pytest.raises(ValueError, match=r"dev_share in \[0, 1\), got"):
        CrossEncoderTrainerConfig(**shares)
