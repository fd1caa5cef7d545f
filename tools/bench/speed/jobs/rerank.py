"""Scoring the candidates of a query; the peer is sentence-transformers' ``CrossEncoder.predict`` with its defaults.

The cross-encoder is any folder that ``shortlist train-reranker`` wrote: ``--set rerank.model=FOLDER``. Without one, a
row says that it was not run.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.fusion import FloatVector
from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.bench.speed.jobs._parity import Shop, compared, rankings, shops
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "rerank"
MODEL = Path("rerank") / "model"
"""Where a cross-encoder is looked for below the scratch folder."""

PRECISIONS = (Precision.int8, Precision.bf16)
PAIRS = 50
TARGET = Target(at_least=4.5)


def measure(options: Options) -> Measurement:
    """Score the same candidates of the same queries with all, in turns."""
    folder = Path(options.settings.get("rerank.model", options.work / MODEL))
    found = shops(options, products=2_000 if options.quick else 0)
    if not found or not (folder / "modules.json").is_file():
        reason = "no trained cross-encoder (--set rerank.model=FOLDER)" if found else "no development data"
        return Measurement(name=NAME, rows=not_run(reason), threads=options.threads)
    from sentence_transformers import CrossEncoder

    config = CrossEncoderConfig(model=str(folder), weight=1.0)
    reference = CrossEncoderReranker.open(config, RuntimeConfig(device="cpu", threads=options.threads))
    scorers = {precision.name: reference.variant(precision=precision) for precision in PRECISIONS}
    peer = CrossEncoder(str(folder), device="cpu")
    encoder = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu", threads=options.threads))
    candidates = {shop.name: _candidates(encoder, shop, options) for shop in found}
    asked = list(candidates[found[0].name].values())[: options.number("rerank.queries", 8, quick=2)]
    watch = Stopwatch.of(options)
    times = watch.contest(
        {
            **{
                name: [partial(scorer.score, query, texts) for query, _, texts in asked]
                for name, scorer in scorers.items()
            },
            "peer": [
                partial(peer.predict, [(query, text) for text in texts], show_progress_bar=False)
                for query, _, texts in asked
            ],
        }
    )
    quality = _quality(found, candidates, reference, scorers)
    rows = tuple(
        Row(
            job=f"score {PAIRS} pairs of a query ({found[0].name}), p50 of {len(asked)}, {name}",
            compared=Compared.faster,
            ours=times[name].percentile(f"Shortlist, {name}", 50),
            peer=times["peer"].percentile(_peer(), 50),
            target=TARGET if name == Precision.int8.name else None,
            work=PAIRS,
            per="pairs",
            quality=quality[name],
        )
        for name in scorers
    )
    notes = (
        f"Candidates are the exact top {PAIRS} by vector. Quality is that of the cross-encoder's order alone, without "
        "the final fusion, which would hide a part of the difference. Tokenisation included on both sides.",
    )
    return Measurement(name=NAME, rows=rows, threads=options.threads, noise=watch.noise(), notes=notes)


def not_run(reason: str) -> tuple[Row, ...]:
    """Return what would have been measured."""
    return (
        Row(
            job=f"score {PAIRS} pairs of a query, int8",
            compared=Compared.faster,
            target=TARGET,
            not_run=reason,
            against=_peer(),
        ),
    )


Asked = tuple[str, list[str], list[str]]
"""Query text, product ids, product texts."""


def _candidates(encoder: DualEncoder, shop: Shop, options: Options) -> dict[str, Asked]:
    """Return what every query has scored; on a quick run the first two queries'."""
    texts = dict(zip(shop.product_ids, shop.texts, strict=True))
    lists = rankings(encoder.encode_products(shop.texts), encoder.encode_queries, shop, k=PAIRS)
    kept = list(lists.items())[: 2 if options.quick else options.number("rerank.quality_queries", 200)]
    return {query_id: (shop.queries[query_id], ids, [texts[each] for each in ids]) for query_id, ids in kept}


def _quality(
    found: Sequence[Shop],
    candidates: Mapping[str, Mapping[str, Asked]],
    reference: CrossEncoderReranker,
    scorers: Mapping[str, CrossEncoderReranker],
) -> dict[str, tuple[Quality, ...]]:
    quality: dict[str, tuple[Quality, ...]] = dict.fromkeys(scorers, ())
    for shop in found:
        own = candidates[shop.name]
        asked = Shop(shop.name, shop.product_ids, shop.texts, {each: shop.queries[each] for each in own}, shop.grades)
        expected = _orders(own, reference)
        for name, scorer in scorers.items():
            quality[name] += compared(asked, expected, _orders(own, scorer))
    return quality


def _orders(candidates: Mapping[str, Asked], scorer: CrossEncoderReranker) -> dict[str, list[str]]:
    return {query_id: _ordered(ids, scorer.score(query, texts)) for query_id, (query, ids, texts) in candidates.items()}


def _ordered(ids: Sequence[str], scores: FloatVector) -> list[str]:
    """Return ids by score, best first; equal ones by product_id."""
    return [each for _, each in sorted(zip(-scores, ids, strict=True))]


def _peer() -> str:
    return f"sentence-transformers {metadata.version('sentence-transformers')}, predict with defaults"
