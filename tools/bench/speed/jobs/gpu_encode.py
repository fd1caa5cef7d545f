"""Encoding products and scoring pairs on a GPU in bfloat16, unpadded; the peer is sentence-transformers on it.

What the packed lane gains by itself is measured against the padded lane, which is torch's own network in our batches.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.bench.speed.growth import texts
from tools.bench.speed.jobs._cuda import ABSENT, device_name
from tools.bench.speed.jobs._parity import encoder_parity, shops
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Target
from tools.bench.speed.stopwatch import Stopwatch, Times

NAME = "gpu_encode"
RATE = 100_000
"""Products a second that are asked for."""

PADDED = "Shortlist's padded lane, bf16"
LEAST_COSINE = 0.999
"""To fp32; what a build asks of bf16 (`shortlist.building.precision.COSINE`)."""

PAIRS_PER_QUERY = 50


def measure(options: Options) -> Measurement:
    """Measure on the first CUDA device; without one, say so in every row."""
    device = device_name()
    count = options.number("gpu_encode.count", 100_000, quick=1_000)
    if not device:
        return Measurement(name=NAME, rows=rows_not_run(count), threads=options.threads)
    return measured(options, count, device="cuda", name=device)


def rows_not_run(count: int) -> tuple[Row, ...]:
    """Return what would have been measured."""
    encode, score = f"{count:,} products of 37 tokens, bf16, GPU", f"{_pairs(count):,} pairs of 44 tokens, bf16, GPU"
    jobs = (
        (f"encode {encode}", Compared.faster, Target(at_least=4.0), _peer("")),
        (f"time to encode {encode}", Compared.alone, Target(at_most=count / RATE * 1000), ""),
        (f"encode {encode}, unpadded", Compared.faster, None, PADDED),
        (f"score {score}", Compared.faster, None, _peer("")),
        (f"score {score}, unpadded", Compared.faster, None, PADDED),
    )
    return tuple(
        Row(job=job, compared=compared, target=target, not_run=ABSENT, against=against)
        for job, compared, target, against in jobs
    )


def measured(options: Options, count: int, *, device: str, name: str) -> Measurement:
    """Encode the same texts and score the same pairs with all three on one device; an absent lane is an error."""
    given = list(texts(count, seed=options.seed))
    watch = Stopwatch.of(options)
    encoded, quality = _encoded(watch, given, options, device)
    scored = _scored(watch, given, device)
    in_all, in_time, unpadded, score, score_unpadded = (row.job for row in rows_not_run(count))
    fast, quick = Compared.faster, Target(at_most=count / RATE * 1000)
    ours, peer = encoded["ours"].side("Shortlist, packed bf16"), encoded["peer"].side(_peer("encode"))
    rows = (
        Row(
            job=in_all, compared=fast, target=Target(at_least=4.0), ours=ours, peer=peer, work=count, per="products",
            quality=quality,
        ),
        Row(job=in_time, compared=Compared.alone, target=quick, ours=ours),
        Row(job=unpadded, compared=fast, ours=ours, peer=encoded["padded"].side(PADDED), work=count, per="products"),
        *(
            Row(
                job=job,
                compared=fast,
                ours=scored["ours"].side("Shortlist, packed bf16"),
                peer=scored[other].side(called),
                work=_pairs(count),
                per="pairs",
            )
            for job, other, called in ((score, "peer", _peer("predict")), (score_unpadded, "padded", PADDED))
        ),
    )  # fmt: skip
    notes = (
        f"{count:,} made-up texts as in `growth`, seed {options.seed}; tokenisation included on all sides.",
        "Pairs are scored by the encoder's network under an untrained head: a time, no ranking.",
    )
    return Measurement(name=NAME, rows=rows, threads=options.threads, device=name, noise=watch.noise(), notes=notes)


def _encoded(
    watch: Stopwatch, given: Sequence[str], options: Options, device: str
) -> tuple[dict[str, Times], tuple[Quality, ...]]:
    import torch
    from sentence_transformers import SentenceTransformer

    bf16 = RuntimeConfig(device=device, precision=Precision.bf16, backend=Backend.packed)
    packed = DualEncoder.open(EncoderConfig(), bf16)
    padded, reference = (
        DualEncoder.open(EncoderConfig(), RuntimeConfig(device=device, precision=precision, backend=Backend.torch))
        for precision in (Precision.bf16, Precision.fp32)
    )
    peer = SentenceTransformer(str(packed.folder), device=device, model_kwargs={"dtype": torch.bfloat16})
    times = watch.contest(
        {
            "ours": partial(packed.encode_products, given),
            "padded": partial(padded.encode_products, given),
            "peer": partial(peer.encode, given, show_progress_bar=False),
        }
    )
    sample = given[:2_000]
    cosines = np.vecdot(packed.encode_products(sample), reference.encode_products(sample))
    quality = [
        Quality(name=f"least cosine to fp32, {len(sample):,} texts", value=float(cosines.min()), at_least=LEAST_COSINE)
    ]
    for shop in shops(options, products=300 if options.quick else 0):
        quality += encoder_parity({"packed": packed}, reference, shop)["packed"]
    return dict(times), tuple(quality)


def _scored(watch: Stopwatch, given: Sequence[str], device: str) -> dict[str, Times]:
    import torch
    from sentence_transformers import CrossEncoder

    from rerank.model import new_cross_encoder

    pairs = [
        (" ".join(given[place - place % PAIRS_PER_QUERY].split()[:2]), given[place])
        for place in range(_pairs(len(given)))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "scorer"
        base = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu")).folder
        new_cross_encoder(base, layers=0, max_tokens=256).save_pretrained(str(folder))
        packed, padded = (
            CrossEncoderReranker.open(
                CrossEncoderConfig(model=str(folder), weight=1.0),
                RuntimeConfig(device=device, precision=Precision.bf16, backend=backend),
            )
            for backend in (Backend.packed, Backend.torch)
        )
        peer = CrossEncoder(str(folder), device=device, model_kwargs={"dtype": torch.bfloat16})
    return dict(
        watch.contest(
            {
                "ours": partial(packed.score_many, pairs),
                "padded": partial(padded.score_many, pairs),
                "peer": partial(peer.predict, pairs, show_progress_bar=False),
            }
        )
    )


def _pairs(count: int) -> int:
    """Return how many pairs are scored beside so many products."""
    return max(1, count // 5)


def _peer(call: str) -> str:
    version = f" {metadata.version('sentence-transformers')}, {call}" if call else ""
    return f"sentence-transformers{version}, bf16, else defaults"
