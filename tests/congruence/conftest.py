"""Networks that several twins are held against."""

import pytest


@pytest.fixture
def tiny_roberta():
    """A random RoBERTa of two layers, whose positions count from two."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        config = transformers.RobertaConfig(
            vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=66, initializer_range=0.3, type_vocab_size=1,
        )  # fmt: skip
        return transformers.RobertaModel(config).eval()
