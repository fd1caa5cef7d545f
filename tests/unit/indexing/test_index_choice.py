"""The choice of an index: the fastest that fits, with the reason in words."""

import re

import pytest

from indexing.auto import choose_index, expected_plan
from indexing.config import (
    AutoConfig,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.errors import ConfigError
from indexing.filter_plan import plan_filter, unfiltered_us

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("count", "dim", "options", "kind", "reason"),
    [
        (
            1,
            384,
            {"memory_gb": 1},
            FlatConfig,
            r"^flat for 1 vectors .*: up to 100,000 vectors an exact scan is fast enough",
        ),
        (100_000, 384, {"memory_gb": 1}, FlatConfig, r"\(183\.1 MiB of 1,024\.0 MiB allowed\)"),
        (
            100_001,
            384,
            {"memory_gb": 1},
            HnswSq8Config,
            r"^hnsw_sq8 for 100,001 .* about \d+\.\d\d ms a query with 25% of",
        ),
        (
            MILLION,
            384,
            {"memory_gb": 4},
            HnswSq8Config,
            r", against flat \d+\.\d\d, hnsw \d+\.\d\d, .*\(503\.5 MiB of 4,096",
        ),
        (MILLION, 384, {"memory_gb": 0.6}, HnswSq8Config, r"; flat, hnsw would not fit \(503\.5 MiB of 614\.4 MiB"),
        (MILLION, 384, {"memory_gb": 0.4}, IndexConfig, r"^ivf_.*; flat, hnsw, hnsw_sq8 would not fit"),
        (MILLION, 384, {"memory_gb": 0.06}, IvfPqConfig, r"^ivf_pq .* hnsw_sq8, ivf_sq8, ivf_rabitq would not fit"),
        (100_000, 384, {"memory_gb": 0.06}, HnswSq8Config, r"^hnsw_sq8 for 100,000 .*; flat, hnsw would not fit"),
    ],
)
def test_the_fastest_kind_that_fits_is_chosen_and_explained(count, dim, options, kind, reason):
    choice = choose_index(AutoConfig(**options), count=count, dim=dim)
    assert isinstance(choice.config, kind)
    assert re.search(reason, choice.reason), choice.reason


@pytest.mark.parametrize("filtered_share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [150_000, MILLION, 20 * MILLION])
def test_the_choice_is_the_kind_of_least_expected_time(count, filtered_share):
    """Held against the costs themselves, which the choice is made of."""
    config, dim, k = AutoConfig(memory_gb=1_000, filtered_share=filtered_share), 128, 100

    def expected(kind):
        planned = expected_plan(kind(), count=count, dim=dim, k=k)
        filtered = [
            plan_filter(planned, count=count, eligible=round(share * count), dim=dim, k=k).cost_us
            for share in (0.5, 0.1, 0.01, 0.001)
        ]
        plain = unfiltered_us(planned, count=count, dim=dim, k=k)
        return (1 - filtered_share) * plain + filtered_share * sum(filtered) / 4

    kinds = (FlatConfig, HnswConfig, HnswSq8Config, IvfSq8Config, IvfPqConfig, IvfRabitqConfig)
    assert type(choose_index(config, count=count, dim=dim).config) is min(kinds, key=expected)


def test_what_does_not_fit_at_all_is_a_configuration_error():
    message = r"no index over 1,000,000 vectors of dimension 384 fits into 10\.2 MiB: the smallest takes 53\.4 MiB"
    with pytest.raises(ConfigError, match=message):
        choose_index(AutoConfig(memory_gb=0.01), count=MILLION, dim=384)


def test_a_catalogue_too_small_for_trained_codes_is_never_given_any():
    with pytest.raises(ConfigError, match=r"the smallest takes 0\.0 MiB"):
        choose_index(AutoConfig(memory_gb=1e-6), count=200, dim=384)


def test_gate_and_seed_are_handed_on():
    config = AutoConfig(memory_gb=1, recall_target=0.5, recall_k=7, recall_queries=9, seed=3)
    chosen = choose_index(config, count=10, dim=4).config
    assert (chosen.recall_target, chosen.recall_k, chosen.recall_queries, chosen.seed) == (0.5, 7, 9, 3)


def test_without_a_limit_half_of_the_free_memory_counts(monkeypatch):
    monkeypatch.setattr("indexing.auto._free_bytes", lambda: 2 * 384 * 4 * 10)
    assert choose_index(AutoConfig(), count=10, dim=384).reason.endswith("(0.0 MiB of 0.0 MiB allowed)")
    monkeypatch.setattr("indexing.auto._free_bytes", lambda: 2 * 384 * 4 * 10 - 2)
    assert choose_index(AutoConfig(), count=10, dim=384).reason.startswith("hnsw_sq8")


def test_the_free_memory_of_this_machine_can_be_read():
    from indexing.auto import _free_bytes

    assert _free_bytes() > 2**20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlatConfig(recall_target=1.5), r"index\.recall_target must be in \[0, 1\], got 1\.5"),
        (lambda: FlatConfig(recall_k=0), r"index\.recall_k must be at least 1, got 0"),
        (lambda: FlatConfig(recall_queries=-1), r"index\.recall_queries must be at least 1, got -1"),
        (lambda: HnswConfig(links=0), r"index\.links must be at least 1, got 0"),
        (lambda: HnswConfig(ef_search=-1), r"index\.ef_search must be 0 \(choose for me\) or more, got -1"),
        (lambda: HnswSq8Config(refine_factor=0.5), r"index\.refine_factor must be at least 1, got 0\.5"),
        (lambda: HnswSq8Config(ef_construction=0), r"index\.ef_construction must be at least 1, got 0"),
        (lambda: IvfRabitqConfig(bits=10), r"index\.bits must be from 1 to 9, got 10"),
        (lambda: AutoConfig(filtered_share=1.5), r"index\.filtered_share must be in \[0, 1\], got 1\.5"),
        (lambda: IvfSq8Config(lists=-1), r"must be 0 \(choose for me\) or more, got -1 and 0"),
        (lambda: IvfSq8Config(lists=4, probes=5), r"index\.probes=5 is more than index\.lists=4"),
        (lambda: IvfPqConfig(refine_factor=0.5), r"index\.refine_factor must be at least 1, got 0\.5"),
        (lambda: AutoConfig(memory_gb=-1), r"index\.memory_gb must be 0 \(half of what is free\) or more, got -1"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
