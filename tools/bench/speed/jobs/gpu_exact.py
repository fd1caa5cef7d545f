"""Exact search on a GPU; what it is held against is the time that the device needs to move as many bytes.

A query has to read every vector once. The peer is a copy that reads and writes as many bytes in all: no search that
reads the vectors from memory can be faster than the device moves them.
"""

from functools import partial
from typing import Any

import numpy as np

from retrieval.tiled_search import TiledSearch
from tools.bench.speed.jobs._cuda import ABSENT, device_name, finished
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "gpu_exact"
K, DIM, BATCH = 100, 384, 64
CHUNK = 1_000_000  # vectors made at a time
TARGET = Target(at_most=1.5)


def measure(options: Options) -> Measurement:
    """Measure on the first CUDA device; without one, say so in both rows."""
    device = device_name()
    count = options.number("gpu_exact.count", 10_000_000, quick=100_000)
    if not device:
        return Measurement(name=NAME, rows=rows_not_run(count))
    return measured(options, count, device="cuda", name=device)


def rows_not_run(count: int) -> tuple[Row, ...]:
    """Return what would have been measured."""
    one, many = _jobs(count)
    return (
        Row(job=one, compared=Compared.share, target=TARGET, not_run=ABSENT, against="moving as many bytes"),
        Row(job=many, compared=Compared.faster, not_run=ABSENT, against="torch, matmul in bf16 and topk"),
    )


def measured(options: Options, count: int, *, device: str, name: str) -> Measurement:
    """Search random vectors, one query and 64 at a time."""
    import torch

    vectors = _vectors(count, device, options.seed)
    search = TiledSearch(vectors)
    queries = np.random.default_rng(options.seed).standard_normal((BATCH, DIM), dtype=np.float32)
    half = torch.empty(count * DIM * 2 // 2, dtype=torch.uint8, device=device)  # copied: read once and written once
    target = torch.empty_like(half)
    watch = Stopwatch.of(options)
    floor = watch.contest(
        {
            "ours": partial(search.search, queries[:1], K),
            "peer": finished(lambda: target.copy_(half), device),
        }
    )
    batch = watch.contest(
        {
            "ours": partial(search.search, queries, K),
            "peer": finished(partial(plain_search, vectors.to(torch.bfloat16), queries), device),
        }
    )
    overlap = _overlap(search, vectors, queries)
    one, many = _jobs(count)
    rows = (
        Row(
            job=one,
            compared=Compared.share,
            ours=floor["ours"].side("Shortlist, bf16 in two levels, decided in fp32"),
            peer=floor["peer"].side(f"copying {count * DIM * 2 / 1e9:.2f} GB read and written in all"),
            target=TARGET,
            quality=(Quality(name=f"top-{K} overlap with fp32", value=overlap, at_least=0.999),),
        ),
        Row(
            job=many,
            compared=Compared.faster,
            ours=batch["ours"].side("Shortlist, the same"),
            peer=batch["peer"].side(f"torch {torch.__version__}, matmul in bf16 and topk over all scores"),
            work=BATCH,
            per="queries",
        ),
    )
    note = f"{count:,} random unit vectors, seed {options.seed}, resident in float32 and bfloat16."
    return Measurement(name=NAME, rows=rows, device=name, noise=watch.noise(), notes=(note,))


def plain_search(coarse: Any, queries: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401 - tensors
    """Return what one would write by hand: every score in bfloat16, then the best of all of them."""
    import torch

    given = torch.from_numpy(queries).to(coarse.device, torch.bfloat16)
    return (given @ coarse.T).topk(K, dim=1).indices.cpu()


def _jobs(count: int) -> tuple[str, str]:
    what = f"{count:,} x {DIM}, exact top {K}, GPU"
    return f"{what}, one query", f"{what}, {BATCH} queries at once"


def _vectors(count: int, device: str, seed: int) -> Any:  # noqa: ANN401 - a tensor
    """Return random unit vectors made on the device, float32 [count, DIM]."""
    import torch

    generator = torch.Generator(device).manual_seed(seed)
    vectors = torch.empty((count, DIM), device=device)
    for first in range(0, count, CHUNK):
        part = vectors[first : first + CHUNK]
        part.normal_(generator=generator)
        part /= torch.linalg.vector_norm(part, dim=1, keepdim=True)
    return vectors


def _overlap(search: TiledSearch, vectors: Any, queries: np.ndarray[Any, Any]) -> float:  # noqa: ANN401 - a tensor
    """Return the mean share of the float32 answer that was found, over a few queries."""
    import torch

    few = queries[:8]
    numbers = search.search(few, K)[1]
    exact = (torch.from_numpy(few).to(vectors.device) @ vectors.T).topk(K, dim=1).indices.cpu().numpy()
    return float(np.mean([len(set(one) & set(other)) / K for one, other in zip(numbers, exact, strict=True)]))
