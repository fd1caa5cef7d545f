"""Step ``adapt``: learn the catalogue's language from queries made of its own products; needs no label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from indexing import storage
from retrieval.contrastive import train_retriever
from retrieval.records import Judgment, Query
from retrieval.renderings import renderings
from retrieval.synthetic import FactIndex, SyntheticQuery, TemplateMask, find_synonyms, synthesise
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.curves import curves, draw
from shortlist.jobs.train.steps import Made, Ranker

AT_ONCE = 1000
"""Queries of a round trip ranked at a time."""


class Adapt:
    """Contrastive training on synthetic queries; every product that answers one is masked, not only its own."""

    name = "adapt"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("encoder", "synthetic")
    decides = "dense"
    labels = False

    def run(self, bench: Bench, folder: Path) -> Made:
        """Make queries, keep those whose product is found, and train on them."""
        config, ground = bench.config.synthetic, bench.ground
        index = FactIndex(ground.products)
        synonyms = find_synonyms([product.title for product in ground.products])
        made = synthesise(ground.products, index, config, synonyms=synonyms)
        kept = round_trip(bench, made, depth=config.round_trip)
        storage.replace_json(folder / "synthetic.json", [[one.text, one.template, one.product_id] for one in kept])
        recipe = replace(bench.config.adaptation, dev_share=config.dev_share)
        queries = [Query(f"s{number}", one.text) for number, one in enumerate(kept)]
        judged = [Judgment(query.query_id, one.product_id, 1) for query, one in zip(queries, kept, strict=True)]
        with curves(folder) as watch:
            report = train_retriever(
                replace(recipe, min_grade=1, max_grade=1),
                encoder=bench.encoder,
                runtime=bench.config.runtime,
                queries=queries,
                judgments=judged,
                product_texts=ground.texts,
                dev_query_ids=None,
                out=folder / "encoder",
                variants=ground.variants,
                also_fits=TemplateMask(index, kept),
                renderings=renderings(ground.products, bench.config.text) if recipe.field_dropout else None,
                watch=watch,
            )
        draw(report, folder / "losses.svg")
        told = {name: value for name, value in asdict(report).items() if name != "losses"}
        record = {
            "training": told,
            "seed": recipe.seed,
            "made": dict(Counter(one.template for one in made)),
            "kept": dict(Counter(one.template for one in kept)),
            "synonyms": len(synonyms),
        }
        return Made({"encoder": folder / "encoder", "synthetic": folder / "synthetic.json"}, record)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own."""
        return {}


def round_trip(bench: Bench, made: Sequence[SyntheticQuery], *, depth: int) -> list[SyntheticQuery]:
    """Return the queries whose own product is among the first ``depth`` of the hybrid as it is; all for a depth of 0.

    Source: Alberti et al., Synthetic QA corpora generation with roundtrip consistency, ACL 2019, for search.
    """
    if not depth:
        return list(made)
    kept: list[SyntheticQuery] = []
    for start in range(0, len(made), AT_ONCE):
        some = made[start : start + AT_ONCE]
        found = bench.ranked("hybrid", [bench.asked(one.text) for one in some], depth)
        for one, (rows, _) in zip(some, found, strict=True):
            if one.product_id in {bench.product_ids[row] for row in rows}:
                kept.append(one)
    return kept
