"""The choice of an index: what fits, best first, with the reason in words."""

import re

import pytest

from indexing.auto import choose_index
from indexing.config import AutoConfig, FlatConfig, HnswConfig, IvfPqConfig, IvfSq8Config
from indexing.errors import ConfigError

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("count", "memory_gb", "kind", "reason"),
    [
        (
            1,
            1.0,
            FlatConfig,
            r"^flat for 1 vectors of dimension 384: up to 100,000 vectors an exact scan is fast enough",
        ),
        (100_000, 1.0, FlatConfig, r"\(146\.5 MiB of 1,024\.0 MiB allowed\)"),
        (100_001, 1.0, HnswConfig, r"^hnsw for 100,001 .* the exact vectors and a graph fit"),
        (MILLION, 1.8, HnswConfig, r"\(1,724\.2 MiB of 1,843\.2 MiB allowed\)"),
        (MILLION, 1.6, IvfSq8Config, r"^ivf_sq8 .* 8-bit codes fit, the exact vectors would not \(373\.8 MiB"),
        (MILLION, 0.3, IvfPqConfig, r"^ivf_pq .* product-quantised codes fit, 8-bit codes would not \(53\.4 MiB"),
        (100_000, 0.1, IvfSq8Config, r"^ivf_sq8 for 100,000"),
    ],
)
def test_the_best_kind_that_fits_is_chosen_and_explained(count, memory_gb, kind, reason):
    choice = choose_index(AutoConfig(memory_gb=memory_gb), count=count, dim=384)
    assert type(choice.config) is kind
    assert re.search(reason, choice.reason), choice.reason


def test_what_does_not_fit_at_all_is_a_configuration_error():
    message = r"no index over 1,000,000 vectors of dimension 384 fits into 10\.2 MiB: the smallest takes 53\.4 MiB"
    with pytest.raises(ConfigError, match=message):
        choose_index(AutoConfig(memory_gb=0.01), count=MILLION, dim=384)


def test_gate_and_seed_are_handed_on():
    config = AutoConfig(memory_gb=1, recall_target=0.5, recall_k=7, recall_queries=9, seed=3)
    chosen = choose_index(config, count=10, dim=4).config
    assert (chosen.recall_target, chosen.recall_k, chosen.recall_queries, chosen.seed) == (0.5, 7, 9, 3)


def test_without_a_limit_half_of_the_free_memory_counts(monkeypatch):
    monkeypatch.setattr("indexing.auto._free_bytes", lambda: 2 * 384 * 4 * 10)
    assert choose_index(AutoConfig(), count=10, dim=384).reason.endswith("(0.0 MiB of 0.0 MiB allowed)")
    monkeypatch.setattr("indexing.auto._free_bytes", lambda: 2 * 384 * 4 * 10 - 2)
    assert type(choose_index(AutoConfig(), count=10, dim=384).config) is IvfSq8Config


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
        (lambda: HnswConfig(ef_search=0), r"index\.ef_search must be at least 1, got 0"),
        (lambda: IvfSq8Config(lists=-1), r"must be 0 \(choose for me\) or more, got -1 and 0"),
        (lambda: IvfSq8Config(lists=4, probes=5), r"index\.probes=5 is more than index\.lists=4"),
        (lambda: IvfPqConfig(refine_factor=0.5), r"index\.refine_factor must be at least 1, got 0\.5"),
        (lambda: AutoConfig(memory_gb=-1), r"index\.memory_gb must be 0 \(half of what is free\) or more, got -1"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
