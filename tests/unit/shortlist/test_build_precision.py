"""The arithmetic of a build: the fastest that ranks as fp32 does, chosen aloud, by quality before speed."""

from types import SimpleNamespace

import numpy as np
import pytest

from indexing.errors import EnvironmentProblem
from retrieval.config import Backend, Precision, RuntimeConfig
from shortlist import loading
from shortlist.building import precision as module
from shortlist.building.precision import canary_cosine, choose_precision, top_overlap

TEXTS = [f"product {number}" for number in range(40)]
QUERIES = [f"query {number}" for number in range(8)]


class FakeTower:
    """Random unit vectors by text, with so much noise; ``noise=None`` stands for an arithmetic that is not there."""

    def __init__(self, noise, name="fp32", others=None):
        self.noise, self.others = noise, others or {}
        self.lane = SimpleNamespace(description=f"fake {name}")

    def at_precision(self, precision):
        if self.others[precision] is None:
            raise EnvironmentProblem(f"no {precision.name} here")
        return FakeTower(self.others[precision], precision.name)

    def encode_products(self, texts):
        return np.stack([self._vector(text) for text in texts])

    encode_queries = encode_products

    def _vector(self, text):
        exact = np.random.default_rng(list(text.encode())).standard_normal(16)
        noisy = exact + self.noise * np.random.default_rng([*list(text.encode()), 1]).standard_normal(16)
        return (noisy / np.linalg.norm(noisy)).astype(np.float32)


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """Let no clock decide: a tower is as fast as its name says."""
    rates = {"fake fp32": 100.0, "fake bf16": 200.0, "fake int8": 300.0}
    monkeypatch.setattr(
        module, "_timed", lambda tower, texts: (tower.encode_products(texts), rates[tower.lane.description])
    )
    return rates


def choice(*, int8, bf16):
    return choose_precision(FakeTower(0.0, others={Precision.int8: int8, Precision.bf16: bf16}), TEXTS, QUERIES)


def test_an_arithmetic_that_cannot_be_configured_on_the_device_is_passed_over():
    class OnCuda(FakeTower):
        def at_precision(self, precision):
            RuntimeConfig(device="cuda", precision=precision)
            return super().at_precision(precision)

    found = choose_precision(OnCuda(0.0, others={Precision.bf16: 0.0}), TEXTS, QUERIES)
    assert found.precision is Precision.bf16
    assert "runtime.precision=int8 runs on processors with openvino" in found.trials[1].problem


def test_the_fastest_that_agrees_is_taken_and_the_reason_has_the_figures():
    found = choice(int8=0.001, bf16=0.0)
    assert found.precision is Precision.int8
    assert "cosine to fp32 at least 1.0000, top-10 overlap" in found.reason
    assert "300 texts/s instead of 100" in found.reason
    assert [trial.precision for trial in found.trials] == ["fp32", "int8"]


def test_one_that_moves_vectors_too_far_is_left_out_and_the_next_one_is_taken():
    found = choice(int8=0.5, bf16=0.001)
    assert found.precision is Precision.bf16
    assert "at least 0.995 expected" in found.trials[1].problem


def test_one_that_orders_otherwise_is_left_out_whatever_its_cosine(monkeypatch):
    monkeypatch.setattr(module, "COSINE", {Precision.int8: 0.0, Precision.bf16: 0.0})
    found = choice(int8=0.7, bf16=0.001)
    assert found.precision is Precision.bf16
    assert "top-10 overlap with fp32 0." in found.trials[1].problem
    assert found.trials[1].overlap < 0.97 <= found.trials[2].overlap


def test_what_is_not_there_or_slower_is_left_out_and_fp32_is_what_remains(rates):
    rates["fake bf16"] = 90.0
    found = choice(int8=None, bf16=0.0)
    assert found.precision is Precision.fp32
    assert found.reason == "int8: no int8 here; bf16: 90 texts/s, fp32 100"
    assert found.to_json()["kind"] == "fp32"
    assert len(found.to_json()["trials"]) == 3


def test_overlap_counts_shared_places_and_a_short_list_is_compared_whole():
    expected = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5]], np.float32)
    found = np.array([[5, 4, 1, 2, 3], [1, 2, 3, 4, 5]], np.float32)
    assert top_overlap(expected, found, k=3) == pytest.approx((2 / 3 + 1) / 2)
    assert top_overlap(expected, found, k=10) == 1.0


def test_the_canary_allows_what_the_arithmetic_loses_and_never_less_than_was_asked_for():
    config = SimpleNamespace(canary_cosine=0.999)
    assert canary_cosine(config, Precision.fp32) == 0.999
    assert canary_cosine(config, Precision.int8) == 0.995
    assert canary_cosine(SimpleNamespace(canary_cosine=0.9), Precision.int8) == 0.9


# --- opening ----------------------------------------------------------------------------------------------------------

AUTO = RuntimeConfig(device="cpu", precision=Precision.auto)


def manifest(**created):
    return SimpleNamespace(version="v1", created=created)


def test_auto_opens_in_what_a_version_was_built_in(monkeypatch):
    monkeypatch.setattr(loading, "choose_backend", lambda runtime, device: Backend.openvino)
    built = manifest(precision={"kind": "int8"})
    assert loading.settled(built, AUTO).precision is Precision.int8
    assert loading.settled(built, RuntimeConfig(device="cpu")).precision is Precision.fp32  # asked for is asked for
    for silent in (
        manifest(),
        manifest(precision={"kind": "int3"}),
        manifest(precision="int8"),
        manifest(precision={}),
    ):
        assert loading.settled(silent, AUTO) is AUTO


def test_auto_says_so_when_the_arithmetic_of_a_version_cannot_be_had(monkeypatch, caplog):
    def refuse(runtime, device):
        raise EnvironmentProblem("no int8 here")

    monkeypatch.setattr(loading, "choose_backend", refuse)
    assert loading.settled(manifest(precision={"kind": "int8"}), AUTO) is AUTO
    assert "v1 was built in int8, which cannot be had here: no int8 here" in caplog.text
