"""Versions of one bundle whose answers tell which of them gave them, and what each answers when nothing disturbs it.

All versions have the same product ids, over products in another order and with other prices, so that an answer mixed
of two of them is wrong by value: a row of one index looked up in another's ids, vectors of one encoder searched in
another's index, products of one version in the answer of another.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rerank.config import CrossEncoderConfig
from retrieval.config import EncoderConfig
from retrieval.records import Hit, SearchResult
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.bundle import live_version, make_live
from tools.reliability.harness.models import write_cross_encoder, write_encoder
from tools.reliability.harness.shop import WORDS, build_config

PRODUCTS = 60
QUERIES = ("red mouse", "blue keyboard", "wireless lamp", "steel shelf", "black usb chair", "sofa")

Ask = Callable[[SearchEngine], Sequence[SearchResult]]
Value = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """A published version of the bundle ``root``."""

    root: Path
    name: str
    manifest_sha256: str

    def make_live(self) -> None:
        """Point CURRENT at it."""
        make_live(self.root, self.name, self.manifest_sha256)


def publish(
    root: Path, number: int, *, encoder: Path, cross_encoder: Path, query_max_tokens: int = 0, pair_max_tokens: int = 0
) -> Version:
    """Build version ``number`` of the bundle ``root`` with these models; a length of 0 is the model's own."""
    source = root.parent / f"{root.name}-catalogue-{number}"
    _write_catalogue(source, number)
    config = replace(
        build_config(encoder, segment_texts=256),
        encoder=EncoderConfig(model=str(encoder), query_max_tokens=query_max_tokens),
        reranker=CrossEncoderConfig(model=str(cross_encoder), weight=0.5, max_tokens=pair_max_tokens),
        keep_versions=0,
    )
    build(config, source=source, out=root)
    return Version(root, *live_version(root))


def publish_family(folder: Path) -> list[Version]:
    """Publish four versions: two that share both models, one with another encoder, one with another of each."""
    encoders = [write_encoder(folder / f"encoder-{seed}", seed=seed) for seed in (1, 2)]
    rerankers = [write_cross_encoder(folder / f"reranker-{seed}", seed=seed) for seed in (3, 4)]
    pairs = [(0, 0), (0, 0), (1, 0), (1, 1)]
    return [
        publish(folder / "bundle", number, encoder=encoders[encoder], cross_encoder=rerankers[reranker])
        for number, (encoder, reranker) in enumerate(pairs)
    ]


def questions() -> dict[str, Ask]:
    """Return every way of asking that is tried under load, by a name that says what is asked."""
    asked: dict[str, Ask] = {}
    for query in QUERIES:
        asked[f"search {query}"] = lambda engine, query=query: [engine.search(query, k=5, depth=8)]  # type: ignore[misc]
        asked[f"first stage {query}"] = lambda engine, query=query: [engine.search(query, k=5, rerank=False)]  # type: ignore[misc]
    asked["search_many"] = lambda engine: engine.search_many(QUERIES, k=5, depth=8)
    asked["filtered"] = lambda engine: [engine.search(QUERIES[0], k=5, depth=8, filters=[("stock", ">", 1)])]
    asked["similar"] = lambda engine: [engine.similar("p003", k=5)]
    return asked


def value(results: Sequence[SearchResult]) -> Value:
    """Return everything in answers that must not depend on what else goes on."""
    return tuple((result.generation, tuple(_hit(hit) for hit in result.hits)) for result in results)


def _hit(hit: Hit) -> Value:
    return hit.product_id, hit.rank, hit.score, tuple(sorted(hit.stages.items())), hit.product


def expected_answers(versions: Sequence[Version], **options: Any) -> dict[str, Mapping[str, Value]]:  # noqa: ANN401
    """Return what each version answers to every question, asked alone; by the version's name.

    Raises:
        RuntimeError: If two versions answer alike, so that nobody could tell them apart.
    """
    expected = {}
    for version in versions:
        version.make_live()
        with SearchEngine.open(version.root, joining=False, **options) as engine:
            expected[version.name] = {name: value(ask(engine)) for name, ask in questions().items()}
    for name in questions():
        products = {str([hits for _, hits in answers[name]]) for answers in expected.values()}
        if len(products) != len(versions):
            raise RuntimeError(f"{len(versions)} versions have {len(products)} different answers to {name!r}")
    return expected


def _write_catalogue(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    lines = []
    for place in range(PRODUCTS):
        what = (7 * place + 11 * number) % PRODUCTS
        words = [WORDS[what % 12], WORDS[what // 12 + 3], *(WORDS[(5 * what + 7 * n) % 12] for n in range(what % 4))]
        title = f"{' '.join(words)} {what}"  # of several lengths, or BM25 would not weigh them
        price = 1000.0 * number + what
        lines.append({"product_id": f"p{place:03d}", "title": title, "price": price, "stock": what % 4})
    (folder / "products.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    queries = "".join(f"q{place},{query}\n" for place, query in enumerate(QUERIES))
    (folder / "queries.csv").write_text(f"query_id,text\n{queries}", encoding="utf-8")
