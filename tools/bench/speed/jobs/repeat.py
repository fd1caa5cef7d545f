"""A query that was asked before: its whole answer from the cache, and its vector alone."""

from functools import partial

from shortlist import CacheConfig
from tools.bench.speed.jobs._shop import more_queries, open_shop
from tools.bench.speed.records import Compared, Measurement, Options, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "repeat"


def measure(options: Options) -> Measurement:
    """Ask queries again, of an engine that remembers answers, one that remembers vectors, and one that forgets."""
    shop = open_shop(options)
    answers = shop.open(rerank=False, cache=CacheConfig(answers=10_000))
    vectors, forgets = shop.open(rerank=False, cache=CacheConfig()), shop.open(rerank=False)
    queries = more_queries(answers, options.number("repeat.queries", 100, quick=8), seed=options.seed)
    watch = Stopwatch.of(options)
    engines = {"answers": answers, "vectors": vectors, "forgets": forgets}
    times = watch.contest(
        {name: [partial(engine.search, query, rerank=False) for query in queries] for name, engine in engines.items()}
    )
    states = answers.cache_states
    rows = (
        Row(
            job=f"a query asked before, k=10, p50 of {len(queries)} queries ({shop.name})",
            compared=Compared.alone,
            ours=times["answers"].percentile("Shortlist, its answer remembered", 50),
            target=Target(at_most=0.3),
        ),
        Row(
            job="the slowest in a hundred of them (p99)",
            compared=Compared.alone,
            ours=times["answers"].percentile("Shortlist, its answer remembered", 99),
        ),
        Row(
            job="a query asked before, only its vector remembered",
            compared=Compared.faster,
            ours=times["vectors"].percentile("Shortlist, query vectors remembered", 50),
            peer=times["forgets"].percentile("Shortlist, nothing remembered", 50),
        ),
    )
    facts = {"answers": states.answers.entries, "answer_bytes": states.answers.size_bytes}
    return Measurement(name=NAME, rows=rows, threads=options.threads, noise=watch.noise(), facts=facts)
