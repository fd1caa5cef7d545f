"""Encoding products on a GPU in bfloat16; the peer is sentence-transformers in bfloat16 on the same device."""

from importlib import metadata

from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.bench.speed.growth import texts
from tools.bench.speed.jobs._cuda import ABSENT, device_name
from tools.bench.speed.records import Compared, Measurement, Options, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "gpu_encode"
RATE = 100_000
"""Products a second that are asked for."""


def measure(options: Options) -> Measurement:
    """Measure on the first CUDA device; without one, say so in both rows."""
    device = device_name()
    count = options.number("gpu_encode.count", 100_000, quick=1_000)
    if not device:
        return Measurement(name=NAME, rows=rows_not_run(count), threads=options.threads)
    return measured(options, count, device="cuda", name=device)


def rows_not_run(count: int) -> tuple[Row, ...]:
    """Return what would have been measured."""
    peer = "sentence-transformers, bf16, else defaults"
    jobs = (
        ("encode", Compared.faster, Target(at_least=4.0), peer),
        ("time to encode", Compared.alone, _in_time(count), ""),
    )
    return tuple(
        Row(
            job=f"{job} {count:,} products of 37 tokens, bf16, GPU",
            compared=compared,
            target=target,
            not_run=ABSENT,
            against=against,
        )
        for job, compared, target, against in jobs
    )


def measured(options: Options, count: int, *, device: str, name: str) -> Measurement:
    """Encode the same texts with both on one device."""
    import torch
    from sentence_transformers import SentenceTransformer

    given = list(texts(count, seed=options.seed))
    encoder = DualEncoder.open(EncoderConfig(), RuntimeConfig(device=device, precision=Precision.bf16))
    peer = SentenceTransformer(str(encoder.folder), device=device, model_kwargs={"dtype": torch.bfloat16})
    watch = Stopwatch.of(options)
    times = watch.contest(
        {
            "ours": lambda: encoder.encode_products(given),
            "peer": lambda: peer.encode(given, show_progress_bar=False),
        }
    )
    ours = times["ours"].side("Shortlist, bf16")
    version = metadata.version("sentence-transformers")
    theirs = times["peer"].side(f"sentence-transformers {version}, bf16, else defaults")
    one, two = rows_not_run(count)
    rows = (
        Row(job=one.job, compared=one.compared, target=one.target, ours=ours, peer=theirs, work=count, per="products"),
        Row(job=two.job, compared=two.compared, target=two.target, ours=ours),
    )
    note = f"{count:,} made-up texts as in `growth`, seed {options.seed}; tokenisation included."
    return Measurement(name=NAME, rows=rows, threads=options.threads, device=name, noise=watch.noise(), notes=(note,))


def _in_time(count: int) -> Target:
    """Return the milliseconds in which so many products must be done."""
    return Target(at_most=count / RATE * 1000)
