"""Exchange versions under load, good ones and bad ones: every answer is whole, every bad one refused, nothing is left.

Four versions of one bundle have the same product ids over other products, other encoders and other cross-encoders, so
that an answer mixed of two of them is wrong by value. Threads ask without a pause meanwhile, and each answer is held
against what its version answers when nothing disturbs it.
"""

import gc
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from indexing.errors import ReloadRejected, ShortlistError
from shortlist import SearchEngine
from tools.reliability.harness.bad_candidates import BAD_CANDIDATES
from tools.reliability.harness.bad_candidates.kind import BadCandidate, offered
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.generations import Value, Version, expected_answers, publish_family
from tools.reliability.harness.load import Load
from tools.reliability.harness.shop import scratch

THREADS = 8
GROWTH_MIB = 8
"""What the process may grow by in all reloads after the first. Measured: 200 reloads, 1 MiB; forty generations kept, 25
MiB, 273 descriptors (of mapped files) and 235 mappings. So a single one that is kept shows by its descriptors."""

Expected = Mapping[str, Mapping[str, Value]]


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the swaps, the bad candidates, and what many reloads leave behind."""
    with scratch() as folder:
        versions = publish_family(folder)
        expected = expected_answers(versions, threads=1)
        yield swaps(versions, expected, count=4 if quick else 100, threads=3 if quick else THREADS)
        kinds = [*BAD_CANDIDATES[:12:6], BAD_CANDIDATES[-1]] if quick else BAD_CANDIDATES
        yield refusals(versions[0], expected, kinds, threads=3 if quick else THREADS)
        yield leftovers(versions, count=4 if quick else 200)


def swaps(versions: Sequence[Version], expected: Expected, *, count: int, threads: int) -> Figure:
    """Make one version after the other live and reload, while threads ask."""
    versions[0].make_live()
    refused, taken = list[str](), list[weakref.ref[object]]()
    with SearchEngine.open(versions[0].root, threads=1, joining=False) as engine:
        with Load(engine, expected, threads=threads) as load:
            for number in range(1, count + 1):
                load.every_thread_answers()
                version = versions[number % len(versions)]
                version.make_live()
                taken.append(weakref.ref(engine._generation))
                if engine.reload() != version.name or engine.generation != version.name:
                    refused.append(f"swap {number}: {version.name} does not answer")
            load.every_thread_answers()
        gc.collect()
        left = sum(generation() is not None for generation in taken)
    if left:
        refused.append(f"{left} old generations are still there")
    counts = {
        "threads": threads,
        "swaps": count,
        "generations": len(load.generations),
        "answers": sum(load.answers),
        "failed": len(load.failed),
        "mixed": len(load.mixed),
        "left": left,
    }
    floors = {"answers": threads * count, "generations": len(versions)}
    return Figure("hot swap under load", counts, (*refused, *load.failed, *load.mixed), floors)


def refusals(good: Version, expected: Expected, kinds: Sequence[BadCandidate], *, threads: int) -> Figure:
    """Offer every kind of bad candidate for reload, while threads ask."""
    good.make_live()
    taken = []
    with (
        SearchEngine.open(good.root, threads=1, joining=False) as engine,
        Load(engine, expected, threads=threads) as load,
    ):
        for kind in kinds:
            with offered(good.root, kind):
                said = refusal(engine)
                load.every_thread_answers()
            if said != kind.code or engine.generation != good.name:
                taken.append(f"{kind.name}: {said!r} instead of a refusal with {kind.code}")
    counts = {
        "threads": threads,
        "kinds": len(kinds),
        "refused": len(kinds) - len(taken),
        "answers": sum(load.answers),
        "failed": len(load.failed),
        "mixed": len(load.mixed),
    }
    if load.generations != {good.name}:
        taken.append(f"{sorted(load.generations)} answered, {good.name} alone expected")
    return Figure("bad candidates under load", counts, (*taken, *load.failed, *load.mixed))


def refusal(engine: SearchEngine) -> str:
    """Reload and return the code of the error that refused the version."""
    try:
        return f"served {engine.reload()}"
    except ReloadRejected as error:
        return error.__cause__.code if isinstance(error.__cause__, ShortlistError) else repr(error.__cause__)


def leftovers(versions: Sequence[Version], *, count: int) -> Figure:
    """Reload many times, every fourth time in vain, and see what the process holds afterwards."""
    versions[0].make_live()
    with SearchEngine.open(versions[0].root, threads=1, joining=False) as engine:
        for number in range(8):  # until allocators and caches have what they keep
            _reload_or_not(engine, versions, number)
        before = _held()
        for number in range(count):
            _reload_or_not(engine, versions, number)
        grown = {name: size - before[name] for name, size in _held().items()}
    allowed = {"descriptors": 0, "threads": 0, "mappings": 8, "rss_mib": GROWTH_MIB}
    failures = [f"{grown[name]} more {name}, {most} allowed" for name, most in allowed.items() if grown[name] > most]
    counts = {"reloads": count} | {f"more_{name}": size for name, size in grown.items()}
    return Figure("leftovers of reloads", counts, tuple(failures))


def _reload_or_not(engine: SearchEngine, versions: Sequence[Version], number: int) -> None:
    if number % 4 == 3:
        with offered(engine.bundle.root, BAD_CANDIDATES[-1]):
            refusal(engine)
    else:
        versions[(number + 1) % 4].make_live()
        engine.reload()
    engine.search("red mouse")


def _held() -> dict[str, int]:
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names wanted, not objects
        "threads": int(status["Threads"]),
        "mappings": len(Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()),
        "rss_mib": int(status["VmRSS"].split()[0]) // 1024,
    }


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
