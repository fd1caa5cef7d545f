"""Print first hits that nobody has judged, from the folder of a recipe, for a person to look at.

``nDCG`` counts them as bad and the condensed one leaves them out: what they are, only reading them tells.

    python -m tools.unjudged RUN_FOLDER --source data/shop catalog=icecat [--hits 20] [--seed 7]
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from retrieval.catalog import open_catalog
from retrieval.records import Qrels
from shortlist.compose import load_config
from shortlist.jobs.evaluate import judged_queries
from shortlist.jobs.train.report import HITS_FILE
from shortlist.jobs.train.running import ANSWERS
from shortlist.training_config import TrainConfig

Hit = tuple[str, int, str, tuple[str, ...]]
"""query_id, best rank, product_id, systems that have it there or lower, best first."""


def unjudged(hits: Mapping[str, Mapping[str, Sequence[str]]], grades: Qrels) -> Iterator[Hit]:
    """Yield every hit without a judgment, once for all systems."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for system, by_query in hits.items():
        for query_id, product_ids in by_query.items():
            for rank, product_id in enumerate(product_ids, start=1):
                if product_id not in grades.get(query_id, {}):
                    found.setdefault((query_id, product_id), []).append((rank, system))
    for (query_id, product_id), places in found.items():
        ordered = sorted(places)
        yield query_id, ordered[0][0], product_id, tuple(f"{system} {rank}" for rank, system in ordered)


def drawn(found: Sequence[Hit], count: int, seed: int) -> list[Hit]:
    """Return so many of them, the highest ranks first, drawn among equal ranks; in the order of the queries."""
    mixed = random.Random(seed).sample(list(found), len(found))
    return sorted(sorted(mixed, key=lambda hit: hit[1])[:count])


def main() -> None:
    """Read the folder and the catalogue, and print a line per hit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path, help="folder that shortlist train left")
    parser.add_argument("overrides", nargs="*", help="such as catalog=icecat")
    parser.add_argument("--source", type=Path, required=True, help="folder of the catalogue's files")
    parser.add_argument("--judgments", type=Path, help="judgments in place of the catalogue's")
    parser.add_argument("--systems", nargs="+", help="of these only; else of what the recipe answers with")
    parser.add_argument("--hits", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    hits = json.loads((options.run / HITS_FILE).read_text())
    systems = options.systems or [next(name for name in ANSWERS if name in hits)]
    catalog = open_catalog(load_config(TrainConfig, options.overrides).catalog, options.source)
    queries, grades = judged_queries(catalog, options.judgments)
    found = list(unjudged({name: hits[name] for name in systems}, grades))
    shown = drawn(found, options.hits, options.seed)
    wanted = {product_id for _, _, product_id, _ in shown}
    titles = {
        product.product_id: product.title
        for batch in catalog.products()
        for product in batch.products
        if product.product_id in wanted
    }
    texts = {query.query_id: query.text for query in queries}
    print(f"{len(found)} unjudged among the first hits of {', '.join(systems)}; {len(shown)} shown")
    for query_id, _, product_id, places in shown:
        print(f"{texts[query_id]} | {titles[product_id]} ({product_id}) | {', '.join(places)}")


if __name__ == "__main__":
    main()
