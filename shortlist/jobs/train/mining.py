"""Step ``hard_negatives``: mine what the system so far gets wrong, catalogue-safely, and train on with it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from indexing import storage
from retrieval.mining import Candidates, Labels, Miner, PairScores, mine
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.ground import LEARN
from shortlist.jobs.train.retriever import fit
from shortlist.jobs.train.steps import Made, Ranker

QUERIES_AT_ONCE = 256
"""Queries scored against the catalogue at a time: bounds memory at 256 scores per product."""


class HardNegatives:
    """Another round of training, with negatives that the encoder so far and BM25 rank high."""

    name = "hard_negatives"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("encoder", "negatives")
    decides = "dense"
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Mine with the encoder as it is, write what was found, and train on."""
        config = bench.config.mining
        labels = _labels(bench)
        miner = Miner(config, texts=bench.ground.texts, labels=labels, cross_encoder=_cross_encoder(bench))
        found, report = mine(
            miner, _candidates(bench, labels), labels=labels, hidden_share=config.hidden_share, seed=config.seed
        )
        storage.replace_json(folder / "negatives.json", found)
        recipe = replace(
            bench.config.retriever,
            epochs=config.epochs,
            learning_rate=bench.config.retriever.learning_rate * config.rate_share,
            max_negatives=config.max_negatives,
            seed=bench.config.retriever.seed + 1,
        )
        made = fit(bench, folder, recipe, negatives=found)
        share, low, high = report.false_negatives
        told = asdict(report) | {"false_negative_share": share, "false_negative_interval": [low, high]}
        return Made(
            artefacts={**made.artefacts, "negatives": folder / "negatives.json"},
            record={**made.record, "mining": told},
        )

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own."""
        return {}


def _labels(bench: Bench) -> Labels:
    """Return the positives of every query text that is learned from: grade above 0 is known to fit."""
    positives: dict[str, list[str]] = {}
    for query in bench.queries(LEARN):
        good = [name for name, grade in bench.ground.grades[query.query_id].items() if grade > 0]
        positives.setdefault(query.text, []).extend(name for name in good if name in bench.ground.texts)
    return Labels(positives=positives, variants=bench.ground.variants)


def _candidates(bench: Bench, labels: Labels) -> Iterator[Candidates]:
    """Yield what the encoder and BM25 rank high for every query with a positive, in the order of the queries."""
    products, depth = bench.product_vectors(), bench.config.mining.depth
    row_of = {name: row for row, name in enumerate(bench.product_ids)}
    asked = [text for text, names in labels.positives.items() if names]
    for start in range(0, len(asked), QUERIES_AT_ONCE):
        some = asked[start : start + QUERIES_AT_ONCE]
        scores = bench.tower().encode_queries([bench.asked(text) for text in some]) @ products.T
        for text, row in zip(some, scores, strict=True):
            dense = np.argpartition(-row, min(depth, len(row) - 1))[:depth]
            lexical, _ = bench.lexical.search(bench.asked(text), depth)
            rows = np.union1d(dense, lexical)
            yield Candidates(
                query=text,
                product_ids=[bench.product_ids[place] for place in rows],
                scores=row[rows],
                positives={name: float(row[row_of[name]]) for name in labels.positives[text]},
            )


def _cross_encoder(bench: Bench) -> PairScores | None:
    """Return the pair scores of the recipe's reranker, where one was made before."""
    folder = bench.artefacts.get("reranker")
    if folder is None:
        return None
    from rerank.config import CrossEncoderConfig
    from rerank.cross_encoder import CrossEncoderReranker

    return CrossEncoderReranker.open(CrossEncoderConfig(model=str(folder)), bench.config.runtime).score
