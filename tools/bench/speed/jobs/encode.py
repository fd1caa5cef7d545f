"""Encoding product texts; the peer is sentence-transformers' own encode with its defaults."""

from importlib import metadata

from retrieval.config import EncoderConfig, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.bench.speed.jobs._inputs import product_texts
from tools.bench.speed.records import Compared, Measurement, Options, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "encode"


def measure(options: Options) -> Measurement:
    """Encode the same texts with both."""
    from sentence_transformers import SentenceTransformer

    texts, source = product_texts(options, count=options.number("encode.count", 1_000, quick=64))
    encoder = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu", threads=options.threads))
    peer = SentenceTransformer(str(encoder.folder), device="cpu")
    watch = Stopwatch.of(options)
    times = watch.contest(
        {
            "ours": lambda: encoder.encode_products(texts),
            "peer": lambda: peer.encode(texts, show_progress_bar=False),
        }
    )
    row = Row(
        job=f"encode {len(texts):,} products ({source})",
        compared=Compared.faster,
        ours=times["ours"].side("Shortlist, fp32"),
        peer=times["peer"].side(f"sentence-transformers {metadata.version('sentence-transformers')}, defaults"),
        target=Target(at_least=5.0),
        work=len(texts),
        per="products",
    )
    return Measurement(name=NAME, rows=(row,), threads=options.threads, noise=watch.noise())
