"""One search end to end without reranking; the peer is the same steps by hand: sentence-transformers, faiss, bm25s."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from indexing.errors import ShortlistError
from retrieval.metrics import ndcg
from retrieval.query_lane import QueryLane
from shortlist import CacheConfig, SearchEngine
from tools.bench.speed.jobs._shop import Shop, more_queries, open_shop
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Side, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "search"

SOURCE_DEPTH = 1000
"""What Shortlist asks of each source by default (`retrieval.config.FusionConfig`); by hand the same."""

RRF = 60
FASTEST = "bf16"
"""What ``auto`` takes where the hardware has it; int8 has to be asked for."""

CALLERS = 8
LIMIT = (
    "encoding the query on one thread, whose time is that of reading the weights (21 MB in bf16), and an exact scan "
    "for 1,000 products; together three quarters of the time (the stages stand below)"
)


def measure(options: Options) -> Measurement:
    """Measure single searches in every arithmetic, searches of many callers at once, and the first after opening."""
    shop = open_shop(options)
    engines, refused = _engines(shop)
    plain = engines["fp32"]
    queries = [*shop.queries, *more_queries(plain, options.number("search.queries", 100, quick=8), seed=options.seed)]
    by_hand = ByHand(plain, shop)
    watch = Stopwatch.of(options)
    contestants = {
        name: [partial(engine.search, query, rerank=False) for query in queries] for name, engine in engines.items()
    }
    times = watch.contest(contestants | {"peer": [partial(by_hand.search, query) for query in queries]})
    rows = []
    for name, engine in engines.items():
        rows += [
            Row(
                job=f"search without reranking, {shop.name}, k=10, p{percent} of {len(queries)} queries, {name}",
                compared=Compared.faster,
                ours=times[name].percentile(f"Shortlist, hybrid, {name}", percent),
                peer=times["peer"].percentile(by_hand.name, percent),
                target=Target(at_least=3.0) if percent == 50 and name == FASTEST else None,
                quality=_quality(engine, plain, by_hand, shop, queries) if percent == 50 else (),
                limited_by=LIMIT if percent == 50 else "",
            )
            for percent in (50, 99)
        ]
    best = engines.get(FASTEST, plain)
    rows += [_together(plain, queries, watch), _first(shop, queries, options)]
    stages = {name: _stages(engine, queries) for name, engine in engines.items()}
    return Measurement(
        name=NAME,
        rows=tuple(rows),
        threads=options.threads,
        noise=watch.noise(),
        notes=(
            "By hand: encode with defaults, IndexFlatIP for 1,000, bm25s for 1,000, reciprocal ranks in a dictionary, "
            "the products of the best ten out of a list. Nothing is remembered on either side.",
            f"Median milliseconds of Shortlist's stages, {FASTEST if FASTEST in engines else 'fp32'}: "
            + ", ".join(f"{name} {taken:.2f}" for name, taken in _stages(best, queries).items())
            + ".",
            *(f"Not measured: {name} ({reason})." for name, reason in refused.items()),
        ),
        facts={"queries": len(queries), "products": plain.product_count, "stages_ms": stages},
    )


def _engines(shop: Shop) -> tuple[dict[str, SearchEngine], dict[str, str]]:
    """Open the bundle in every arithmetic that this machine has, the reference first; and say which it has not."""
    opened, refused = {}, {}
    for precision in ("fp32", "bf16", "int8"):
        try:
            opened[precision] = shop.open(rerank=False, precision=precision)
        except ShortlistError as error:
            refused[precision] = str(error)
    return opened, refused


def _quality(
    engine: SearchEngine, plain: SearchEngine, by_hand: "ByHand", shop: Shop, queries: Sequence[str]
) -> tuple[Quality, ...]:
    """Hold an engine's answers against the reference's and against those made by hand."""

    def ids(of: SearchEngine, query: str) -> list[str]:
        return [hit.product_id for hit in of.search(query, rerank=False).hits]

    overlap = [len({*ids(engine, query)} & {*ids(plain, query)}) / len(ids(plain, query)) for query in queries]
    ours = [ndcg(ids(engine, query), grades, k=10) for query, grades in shop.queries.items()]
    theirs = [ndcg(by_hand.search(query), grades, k=10) for query, grades in shop.queries.items()]
    count = len(ours)
    return (
        Quality(name="top-10 overlap with fp32", value=sum(overlap) / len(overlap), at_least=0.97),
        Quality(name=f"nDCG@10 on {count} judged queries", value=sum(ours) / count),
        Quality(name="nDCG@10 by hand", value=sum(theirs) / count),
    )


class ByHand:
    """What a user would write with three libraries."""

    def __init__(self, engine: SearchEngine, shop: Shop) -> None:
        """Take the texts, vectors and model of the bundle."""
        import bm25s
        import faiss
        from sentence_transformers import SentenceTransformer

        generation = engine._generation
        self.products = [generation.products.get(row) for row in range(generation.products.count)]
        texts = [generation.template.render(product) for product in self.products]
        self.encoder = SentenceTransformer(str(generation.bundle.folder / "encoder"), device="cpu")
        vectors = generation.vectors.take(generation.products.there)
        self.flat: Any = faiss.IndexFlatIP(vectors.shape[1])
        self.flat.add(vectors)
        self.tokenize: Callable[..., Any] = partial(bm25s.tokenize, show_progress=False)
        self.words: Any = bm25s.BM25()
        self.words.index(self.tokenize(texts), show_progress=False)
        names = ("sentence-transformers", "faiss-cpu", "bm25s")
        self.name = ", ".join(f"{name} {metadata.version(name)}" for name in names)

    def search(self, query: str, k: int = 10) -> list[str]:
        """Answer one query with the ids of the best ``k``, their products looked up."""
        depth = min(SOURCE_DEPTH, len(self.products))
        vector = self.encoder.encode([query], normalize_embeddings=True, show_progress_bar=False)
        _, dense = self.flat.search(vector, depth)
        words, scores = self.words.retrieve(self.tokenize([query]), k=depth, show_progress=False)
        shared = [row for row, score in zip(words[0], scores[0], strict=True) if score > 0]
        fused: dict[int, float] = {}
        for rows in (dense[0], shared):
            for rank, row in enumerate(rows, start=1):
                fused[int(row)] = fused.get(int(row), 0.0) + 1 / (RRF + rank)
        best = sorted(fused, key=fused.__getitem__, reverse=True)[:k]
        return [self.products[row].product_id for row in best]


def _together(engine: SearchEngine, queries: Sequence[str], watch: Stopwatch) -> Row:
    """Many callers at once, against the same engine with its queries taking turns at the tower."""
    generation = engine._generation
    tower, lane = generation.tower, generation.lane
    if tower is None or lane is None:
        raise ValueError("the bundle has no query tower")
    turns = QueryLane(tower, joining=False, cache=CacheConfig.off().query_vectors())

    def ask_all(encoder: QueryLane) -> None:
        retriever = generation.retriever.using(encoder=encoder)

        def caller(number: int) -> None:
            for query in queries[number::CALLERS]:
                retriever.retrieve([query], depth=100, kept=10)

        callers = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()

    times = watch.contest({"joined": lambda: ask_all(lane), "turns": lambda: ask_all(turns)})
    return Row(
        job=f"first stage of {len(queries)} queries, {CALLERS} callers at once",
        compared=Compared.faster,
        ours=times["joined"].side("queries that wait are encoded together" if lane.joining else "joining is off here"),
        peer=times["turns"].side("each by itself"),
        work=len(queries),
        per="queries",
    )


def _first(shop: Shop, queries: Sequence[str], options: Options) -> Row:
    """The first search of a process that has just opened the bundle, against its later ones."""
    code = "from tools.bench.speed.jobs.search import first_and_later; first_and_later()"
    asked = json.dumps({"bundle": str(shop.bundle), "queries": list(queries)[:30]})
    pairs = []
    for _ in range(options.rounds):
        done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True)
        pairs.append(json.loads(done.stdout.splitlines()[-1]))
    return Row(
        job="first search after opening, as a share of a later one",
        compared=Compared.share,
        ours=Side(name="the first", values=tuple(pair["first_ms"] for pair in pairs)),
        peer=Side(name="median of those after it", values=tuple(pair["later_ms"] for pair in pairs)),
        target=Target(at_most=1.5),
    )


def first_and_later() -> None:
    """Open a bundle, search, and print the milliseconds of the first search and the median of the others."""
    import statistics
    import time

    asked = json.loads(sys.stdin.read())
    engine = SearchEngine.open(Path(asked["bundle"]), rerank=False, cache=CacheConfig.off(), precision="auto")
    taken = []
    for query in asked["queries"]:
        start = time.perf_counter()
        engine.search(query, rerank=False)
        taken.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"first_ms": taken[0], "later_ms": statistics.median(taken[1:])}))


def _stages(engine: SearchEngine, queries: Sequence[str]) -> Mapping[str, float]:
    import statistics

    timings = [engine.search(query, rerank=False).timings_ms for query in queries]
    names = dict.fromkeys(chain.from_iterable(timings))
    return {name: round(statistics.median(taken[name] for taken in timings if name in taken), 3) for name in names}
