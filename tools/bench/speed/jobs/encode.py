"""Encoding product texts, and one query at a time; the peer is sentence-transformers' own encode with its defaults."""

from collections.abc import Mapping
from functools import partial
from importlib import metadata

from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.bench.speed.jobs._inputs import product_texts
from tools.bench.speed.jobs._parity import encoder_parity, shops
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Target
from tools.bench.speed.stopwatch import Stopwatch, Times

NAME = "encode"
PRECISIONS = (Precision.int8, Precision.bf16)
LIMIT = (
    "a query of some eight tokens has nothing to share the reading of the weights with (21 MB in bf16, 11 in int8) and "
    "passes every operator on one thread; two threads took longer, since they have to meet after every product; a "
    "graph of one shape for short texts took off what preparing each operator for a new shape cost"
)


def measure(options: Options) -> Measurement:
    """Encode the same texts with all, in turns; then everything there is, for the quality beside it."""
    from sentence_transformers import SentenceTransformer

    texts, source = product_texts(options, count=options.number("encode.count", 1_000, quick=64))
    reference = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu", threads=options.threads))
    encoders = {precision.name: reference.at_precision(precision) for precision in PRECISIONS}
    peer = SentenceTransformer(str(reference.folder), device="cpu")
    watch = Stopwatch.of(options)
    many = watch.contest(
        {
            **{name: partial(encoder.encode_products, texts) for name, encoder in encoders.items()},
            "peer": partial(peer.encode, texts, show_progress_bar=False),
        }
    )
    found = shops(options, products=300 if options.quick else 0)
    queries = list(found[0].queries.values()) if found else texts
    queries = queries[: options.number("encode.queries", 64, quick=8)]
    single = watch.contest(
        {
            **{
                name: [partial(encoder.encode_queries, [query]) for query in queries]
                for name, encoder in encoders.items()
            },
            "peer": [partial(peer.encode_query, query, show_progress_bar=False) for query in queries],
        }
    )
    quality: dict[str, tuple[Quality, ...]] = dict.fromkeys(encoders, ())
    for shop in found:
        for name, each in encoder_parity(encoders, reference, shop).items():
            quality[name] += each
    rows = [
        *_product_rows(many, quality, count=len(texts), source=source),
        *_query_rows(single, quality, count=len(queries)),
    ]
    notes = (
        "Both sides tokenise. int8 and bf16 are OpenVINO's; quality is that of products and queries both encoded so.",
        "Queries are encoded one at a time, each on one thread; a round is all of them once.",
    )
    return Measurement(name=NAME, rows=tuple(rows), threads=options.threads, noise=watch.noise(), notes=notes)


def _product_rows(
    times: Mapping[str, Times], quality: Mapping[str, tuple[Quality, ...]], *, count: int, source: str
) -> list[Row]:
    return [
        Row(
            job=f"encode {count:,} products ({source}), {name}",
            compared=Compared.faster,
            ours=times[name].side(f"Shortlist, {name}"),
            peer=times["peer"].side(_peer("encode")),
            target=Target(at_least=5.0),
            work=count,
            per="products",
            quality=quality[name],
        )
        for name in quality
    ]


def _query_rows(times: Mapping[str, Times], quality: Mapping[str, tuple[Quality, ...]], *, count: int) -> list[Row]:
    rows = []
    for name in quality:
        middle = times[name].percentile(f"Shortlist, {name}", 50)
        rows += [
            Row(
                job=f"encode one query, p50 of {count}, {name}",
                compared=Compared.faster,
                ours=middle,
                peer=times["peer"].percentile(_peer("encode_query"), 50),
                target=Target(at_least=4.0),
                quality=quality[name],
                limited_by=LIMIT,
            ),
            Row(
                job=f"encode one query, p99 of {count} over the own p50, {name}",
                compared=Compared.share,
                ours=times[name].percentile(f"Shortlist, {name}, p99", 99),
                peer=middle,
                target=Target(at_most=2.0),
            ),
        ]
    return rows


def _peer(call: str) -> str:
    return f"sentence-transformers {metadata.version('sentence-transformers')}, {call} with defaults"
