"""The GPU measurements where there is no GPU: what they say, and that their code runs, on the CPU and small."""

from functools import partial

import numpy as np
import pytest
import torch

from retrieval.config import EncoderConfig
from tools.bench.speed.jobs import _cuda, gpu_encode, gpu_exact
from tools.bench.speed.records import Options
from tools.bench.speed.table import cells


@pytest.mark.parametrize(("job", "rows"), [(gpu_encode, 5), (gpu_exact, 2)])
def test_without_a_device_every_row_says_that_it_was_not_run(job, rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = job.measure(Options())
    assert len(made.rows) == rows
    assert all(cells(row)[2] == "not run: no CUDA device" for row in made.rows)
    assert any(row.target is not None for row in made.rows)
    assert made.noise == {}


def test_the_targets_of_the_gpu_rows_are_those_that_were_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    faster, in_time, *_ = gpu_encode.measure(Options()).rows
    assert faster.target.at_least == 4.0
    assert in_time.target.at_most == 1000.0  # 100,000 products in a second
    assert gpu_exact.measure(Options()).rows[0].target.at_most == 1.5
    assert "10,000,000 x 384" in gpu_exact.measure(Options()).rows[0].job


def test_encoding_is_measured_against_the_peer_and_the_padded_lane_with_its_quality(monkeypatch, tiny_model_folder):
    monkeypatch.setattr(gpu_encode, "EncoderConfig", partial(EncoderConfig, model=str(tiny_model_folder)))
    monkeypatch.setattr(gpu_encode, "shops", lambda *_, **__: [])
    monkeypatch.setattr(gpu_encode, "texts", lambda count, seed: [f"acme {number} sofa" for number in range(count)])
    made = gpu_encode.measured(Options(rounds=5), 20, device="cpu", name="this processor")
    assert [row.job for row in made.rows] == [row.job for row in gpu_encode.rows_not_run(20)]
    in_all, _, unpadded, score, score_unpadded = made.rows
    assert {row.ours.name for row in made.rows} == {"Shortlist, packed bf16"}
    assert in_all.peer.name.startswith("sentence-transformers 6.")
    assert score.peer.name.startswith("sentence-transformers 6.")
    assert unpadded.peer.name == score_unpadded.peer.name == "Shortlist's padded lane, bf16"
    assert (in_all.work, score.work) == (20, 4)
    assert [each.name for each in in_all.quality] == ["least cosine to fp32, 20 texts"]
    assert 0.99 < in_all.quality[0].value < 1


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
