"""The GPU measurements where there is no GPU: what they say, and that their code runs, on the CPU and small."""

import numpy as np
import pytest
import torch

from tools.bench.speed.jobs import _cuda, gpu_encode, gpu_exact
from tools.bench.speed.records import Options
from tools.bench.speed.table import cells


@pytest.mark.parametrize("job", [gpu_encode, gpu_exact])
def test_without_a_device_every_row_says_that_it_was_not_run(job, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = job.measure(Options())
    assert len(made.rows) == 2
    assert all(cells(row)[2] == "not run: no CUDA device" for row in made.rows)
    assert any(row.target is not None for row in made.rows)
    assert made.noise == {}


def test_the_targets_of_the_gpu_rows_are_those_that_were_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    faster, in_time = gpu_encode.measure(Options()).rows
    assert faster.target.at_least == 4.0
    assert in_time.target.at_most == 1000.0  # 100,000 products in a second
    assert gpu_exact.measure(Options()).rows[0].target.at_most == 1.5
    assert "10,000,000 x 384" in gpu_exact.measure(Options()).rows[0].job


def test_exact_search_is_measured_against_copying_as_many_bytes_and_finds_what_float32_finds(monkeypatch):
    monkeypatch.setattr(gpu_exact, "CHUNK", 1000)
    made = gpu_exact.measured(Options(rounds=5), 3_000, device="cpu", name="this processor")
    one, many = made.rows
    assert one.peer.name == "copying 0.00 GB read and written in all"
    assert len(one.ours.values) == len(one.peer.values) == len(many.peer.values) == 5
    assert one.quality[0].value == 1.0
    assert made.device == "this processor"
    assert made.noise["points"] == 4


def test_the_peer_searches_the_same_vectors():
    vectors = gpu_exact._vectors(500, "cpu", 7)
    queries = np.random.default_rng(1).standard_normal((3, gpu_exact.DIM), dtype=np.float32)
    best = (queries @ vectors.numpy().T).argmax(axis=1)
    assert gpu_exact.plain_search(vectors.to(torch.bfloat16), queries)[:, 0].tolist() == best.tolist()
    assert torch.linalg.vector_norm(vectors, dim=1).sub(1).abs().max() < 1e-5


def test_a_call_on_a_device_is_over_when_the_device_is_done(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("waited"))
    assert _cuda.finished(lambda: order.append("asked") or 3, "cuda")() == 3
    assert order == ["asked", "waited"]
    assert _cuda.finished(lambda: 4, "cpu")() == 4
    assert order == ["asked", "waited"]
