"""Step ``distil``: the dual encoder learns what the cross-encoder makes of its candidates, judged or not."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from rerank.config import CrossEncoderConfig
from rerank.reranker import open_reranker
from retrieval.distillation import TaughtList, distil
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.curves import curves
from shortlist.jobs.train.ground import LEARN
from shortlist.jobs.train.steps import Made, Ranker
from shortlist.progress import progress


class Distil:
    """The teacher scores the first stage's candidates and the judged products of every query that is learned from."""

    name = "distil"
    needs: tuple[str, ...] = ("reranker",)
    makes: tuple[str, ...] = ("encoder",)
    decides = "dense"
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train on from the encoder as it is."""
        config = bench.config
        with curves(folder) as watch:
            report = distil(
                config.retriever,
                config.distillation,
                list(_lists(bench)),
                encoder=bench.encoder,
                runtime=config.runtime,
                dev=bench.pool,
                out=folder / "encoder",
                watch=watch,
            )
        return Made(
            artefacts={"encoder": folder / "encoder"},
            record={"training": asdict(report), "seed": config.retriever.seed},
        )

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own: ``dense`` and ``hybrid`` follow the encoder."""
        return {}


def _lists(bench: Bench) -> Iterator[TaughtList]:
    """Yield what the teacher says of each query that is learned from; one with fewer than two products teaches none."""
    teacher = open_reranker(
        CrossEncoderConfig(model=str(bench.artefacts["reranker"]), weight=1.0), bench.config.runtime
    )
    queries, ground = bench.queries(LEARN), bench.ground
    recalled = bench.run("hybrid", queries, bench.config.distillation.depth)
    with progress("teacher", len(queries), unit="queries") as advance:
        for query in queries:
            found = [product_id for product_id, _ in recalled[query.query_id]]
            judged = [product_id for product_id in ground.grades[query.query_id] if product_id in ground.texts]
            texts = tuple(dict.fromkeys(ground.texts[product_id] for product_id in (*found, *judged)))
            if len(texts) > 1:
                text = bench.asked(query.text)
                yield TaughtList(text, texts, teacher.score(text, texts))
            advance(1)
