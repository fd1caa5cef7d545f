"""Noise changes how a query is written and not what it asks for."""

import re

import numpy as np
import pytest
import torch

from retrieval.noise import QueryNoise, agreement, misspell, rewrite_unit

QUERIES = ["stainless steel sink", "mdx7000 drill", "2x4 lumber", "hammer", "led", "delta faucet 33 gallon"]


def distance(one, other):
    """Damerau-Levenshtein distance with adjacent swaps, by the plain recurrence."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    table[:, 0], table[0, :] = range(len(one) + 1), range(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            cost = int(one[i - 1] != other[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + cost)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


@pytest.mark.parametrize("seed", range(40))
def test_one_edit_is_at_most_one_letter_away_and_two_are_at_most_two(seed):
    for query in QUERIES:
        rng = np.random.default_rng(seed)
        assert distance(query, misspell(query, rng)) <= 1
        assert distance(query, misspell(query, rng, edits=2)) <= 2


@pytest.mark.parametrize("seed", range(40))
def test_numbers_model_numbers_short_words_and_first_letters_stay(seed):
    rng = np.random.default_rng(seed)
    assert misspell("mdx7000", rng) == "mdx7000"
    assert misspell("led 12", rng) == "led 12"
    assert misspell("wxyz7000 7000wxyz", rng) == "wxyz7000 7000wxyz"
    changed = misspell("mdx7000 drill", rng)
    assert changed.startswith("mdx7000 d")
    assert re.sub(r"\D", "", misspell("delta faucet 33 gallon 7", rng)) == "337"


def test_most_words_come_out_misspelt():
    rng = np.random.default_rng(0)
    assert sum(misspell("hammer", rng) != "hammer" for _ in range(200)) > 150  # a swap of equal letters changes nothing


def test_no_edits_change_nothing():
    assert misspell("hammer", np.random.default_rng(0), edits=0) == "hammer"


@pytest.mark.parametrize(
    ("query", "number", "forms"),
    [
        ("5 in. pipe", "5", {"in", "in.", "inch", "inches", '"'}),
        ("ladder 12ft", "12", {"ft", "ft.", "foot", "feet", "'"}),
        ("500gb drive", "500", {"gb", "gigabyte"}),
        ("100-watt bulb", "100", {"w", "watt", "watts"}),
        ('3/4" pvc', "3/4", {"in", "in.", "inch", "inches", '"'}),
    ],
)
def test_a_unit_takes_another_form_beside_the_same_number(query, number, forms):
    for seed in range(20):
        changed = rewrite_unit(query, np.random.default_rng(seed))
        assert changed != query
        found = re.search(re.escape(number) + r"[\s-]?([^\s\d]+)", changed)
        assert found is not None
        assert found.group(1) in forms


def test_a_word_that_starts_like_a_unit_is_no_unit():
    for query in ("2 inserts", "4 vents", "steel sink", "12 women"):
        assert rewrite_unit(query, np.random.default_rng(0)) == query


def test_twins_follow_from_the_seed_and_the_place_in_the_batch():
    noise = QueryNoise()
    assert noise.twins(QUERIES, seed=3) == noise.twins(QUERIES, seed=3)
    assert any(noise.twins(QUERIES, seed=seed) != noise.twins(QUERIES, seed=3) for seed in range(4, 8))
    assert noise.twins(["led"], seed=1) == ["led"]


def test_agreement_is_the_kl_divergence_from_clean_to_noisy():
    rng = np.random.default_rng(0)
    clean, noisy, products = (
        torch.nn.functional.normalize(torch.tensor(rng.normal(size=(n, 8))), dim=1) for n in (3, 3, 5)
    )
    expected = 0.0
    for left, right in zip(clean.numpy(), noisy.numpy(), strict=True):
        p, q = (np.exp(products.numpy() @ side / 0.1) for side in (left, right))
        p, q = p / p.sum(), q / q.sum()
        expected += float((p * np.log(p / q)).sum()) / 3
    assert agreement(clean, noisy, products, temperature=0.1).item() == pytest.approx(expected, rel=1e-12)
    assert agreement(clean, clean, products, temperature=0.1).item() == pytest.approx(0.0, abs=1e-12)


def test_clean_queries_are_not_pulled_towards_the_noisy_ones():
    clean, noisy, products = (torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    agreement(clean, noisy, products, temperature=0.1).backward()
    assert clean.grad is None
    assert noisy.grad.abs().max() > 0
