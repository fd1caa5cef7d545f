"""Gradients made part by part equal those of one batch through the network, for every combination that is offered."""

import itertools

import numpy as np
import pytest
import torch

from retrieval import gradcache
from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.gradcache import Alone, Side, cached_backward
from retrieval.infonce import info_nce
from retrieval.learner import STEP_SEEDS, Learner
from retrieval.noise import QueryNoise, agreement
from retrieval.pairs import training_pairs
from retrieval.training_config import ContrastiveConfig, Weighting

COMBINATIONS = list(itertools.product(Weighting, (0.0, 0.5, 1.0), ([], [8, 16]), (0, 2), (0.0, 0.7), (False, True)))


@pytest.fixture
def tower(tiny_model_folder):
    """The tiny model in float64 and without dropout."""
    tower = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RuntimeConfig(device="cpu", threads=1))
    tower.model.double()
    for module in tower.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return tower


@pytest.fixture
def make(tower, tiny_products, tiny_queries, tiny_judgments):
    """A learner, its pairs and one batch for a configuration."""

    def build(**changes):
        config = ContrastiveConfig(precision=Precision.fp32, **changes)
        texts = {product.product_id: product.title for product in tiny_products}
        pairs = training_pairs(tiny_queries, tiny_judgments, texts, min_grade=2, weighting=config.weighting)
        (batch,) = pairs.epoch(
            np.random.default_rng(0), max_positives=2, batch_size=64, max_negatives=config.max_negatives
        )
        return Learner(tower, pairs, config=config, noise=QueryNoise()), pairs, batch, config

    return build


def gradients(learner):
    return [weight.grad.clone() if weight.grad is not None else None for weight in learner.parameters]


def full_batch(tower, pairs, batch, config, step):
    """The same loss with everything in one graph, written out here."""
    texts = [pairs.queries[row] for row in batch.queries]
    queries = tower.forward(tower.query_tokenizer, tower.query_tokenizer.rows(texts))
    products = tower.forward(
        tower.product_tokenizer, tower.product_tokenizer.rows([pairs.products[row] for row in batch.products])
    )
    loss = info_nce(
        queries,
        products,
        weights=torch.from_numpy(batch.weights.astype(np.float64)),
        negatives=torch.from_numpy(batch.negatives),
        temperature=config.temperature,
        reverse_share=config.reverse_share,
        dims=config.dims,
    )
    if config.noise_weight:
        twins = QueryNoise().twins(texts, seed=config.seed * STEP_SEEDS + step)
        noisy = tower.forward(tower.query_tokenizer, tower.query_tokenizer.rows(twins))
        loss = loss + config.noise_weight * agreement(queries, noisy, products, temperature=config.temperature)
    loss.backward()
    return loss.item()


@pytest.mark.parametrize(
    ("weighting", "reverse_share", "dims", "max_negatives", "noise_weight", "freeze_embeddings"), COMBINATIONS
)
def test_gradients_equal_those_of_one_batch(
    make, tower, weighting, reverse_share, dims, max_negatives, noise_weight, freeze_embeddings
):
    learner, pairs, batch, config = make(
        weighting=weighting,
        reverse_share=reverse_share,
        dims=dims,
        max_negatives=max_negatives,
        noise_weight=noise_weight,
        freeze_embeddings=freeze_embeddings,
        batch_tokens=40,
    )
    tower.model.train()
    cached, found = learner.backward(batch, step=3), gradients(learner)
    learner.optimiser.zero_grad()
    whole = full_batch(tower, pairs, batch, config, 3)
    assert cached == pytest.approx(whole, rel=1e-12)
    expected = gradients(learner)
    assert sum(gradient is not None for gradient in expected) > 10
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("part_tokens", "batch_tokens"), [(40, 40), (40, 100_000), (1024, 100_000)])
def test_small_parts_and_one_graph_give_what_one_batch_gives(make, tower, monkeypatch, part_tokens, batch_tokens):
    monkeypatch.setattr(gradcache, "PART_TOKENS", part_tokens)
    learner, pairs, batch, config = make(batch_tokens=batch_tokens, noise_weight=0.5)
    passes = []
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda role, rows: passes.append(len(rows)) or forward(role, rows))
    tower.model.train()
    loss, found = learner.backward(batch, step=1), gradients(learner)
    texts = len(batch.queries) * 2 + len(batch.products)
    assert sum(passes) == (2 * texts if batch_tokens == 40 else texts)  # a batch that memory holds runs once
    assert (len(passes) == 3) == (part_tokens == 1024)
    learner.optimiser.zero_grad()
    assert loss == pytest.approx(full_batch(tower, pairs, batch, config, 1), rel=1e-12)
    expected = gradients(learner)
    assert all(
        torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, expected, strict=True) if a is not None
    )


def test_dropout_is_the_same_in_both_runs_of_a_part():
    network = torch.nn.Linear(4, 4).double()
    seen = []

    def encode(rows):
        vectors = torch.nn.functional.dropout(network(torch.tensor(np.stack(rows), dtype=torch.float64)), 0.5)
        seen.append(vectors.detach().clone())
        return vectors

    rows = [np.arange(4) + number for number in range(6)]
    arguments = {"batch_tokens": 8, "dim": 4, "group": Alone(), "parameters": list(network.parameters())}
    cached_backward([Side(rows, encode)], torch.sum, seed=1, **arguments)
    assert len(seen) == 6
    assert all(torch.equal(first, second) for first, second in zip(seen[:3], seen[3:], strict=True))
    cached_backward([Side(rows, encode)], torch.sum, seed=2, **arguments)
    assert not torch.equal(seen[0], seen[6])


def test_vectors_reach_the_loss_in_the_order_of_the_rows():
    weight = torch.ones(1, requires_grad=True)
    rows = [np.full(length, number) for number, length in enumerate((1, 3, 2, 3, 1))]

    def encode(some):
        return weight * torch.tensor([[float(row[0])] for row in some])

    for budget in (3, 6, 100):
        seen = []

        def loss(vectors, seen=seen):
            seen.append(vectors.detach().flatten().tolist())
            return vectors.sum()

        arguments = {"dim": 1, "seed": 0, "group": Alone(), "parameters": [weight]}
        cached_backward([Side(rows, encode)], loss, batch_tokens=budget, **arguments)
        assert seen == [[0.0, 1.0, 2.0, 3.0, 4.0]]


def test_a_loss_that_is_not_finite_leaves_no_gradient():
    weight = torch.ones(1, requires_grad=True)
    rows = [np.zeros(2) for _ in range(3)]
    arguments = {"dim": 1, "seed": 0, "group": Alone(), "parameters": [weight]}
    for budget in (2, 100):
        loss = cached_backward(
            [Side(rows, lambda some: weight * torch.ones(len(some), 1))],
            lambda vectors: vectors.sum() / 0,
            batch_tokens=budget,
            **arguments,
        )
        assert loss == float("inf")
        assert weight.grad is None
