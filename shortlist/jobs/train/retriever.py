"""Step ``retriever``: fine-tune the dual encoder on the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from retrieval.contrastive import train_retriever
from retrieval.renderings import renderings
from retrieval.training_config import ContrastiveConfig
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.curves import curves, draw
from shortlist.jobs.train.ground import LEARN, TUNE
from shortlist.jobs.train.steps import Made, Ranker


class TrainRetriever:
    """Contrastive training on the labelled queries, stopped on the tuning queries."""

    name = "retriever"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("encoder",)
    decides = "dense"
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train from the encoder as it is."""
        return fit(bench, folder, bench.config.retriever, negatives=None)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own: ``dense`` and ``hybrid`` follow the encoder."""
        return {}


def fit(
    bench: Bench,
    folder: Path,
    config: ContrastiveConfig,
    *,
    negatives: Mapping[str, Sequence[str]] | None,
    stopped: bool = True,
) -> Made:
    """Train the dual encoder as it is, with logs and a plot of the losses beside the model.

    Args:
        bench: The recipe.
        folder: Of the step.
        config: Of the training.
        negatives: Query text -> product ids worth pushing away.
        stopped: Whether the choosing queries stop it and choose its weights; otherwise it goes to its last step, which
            is right where something else is learned than what they ask.
    """
    ground, roles = bench.ground, (LEARN, TUNE) if stopped else (LEARN,)
    with curves(folder) as watch:
        report = train_retriever(
            config,
            encoder=bench.encoder,
            runtime=bench.config.runtime,
            queries=bench.queries(*roles),
            judgments=ground.judgments(*roles),
            product_texts=ground.texts,
            dev_query_ids={query.query_id for query in ground.queries[TUNE]} if stopped else (),
            out=folder / "encoder",
            variants=ground.variants,
            negatives=negatives,
            renderings=renderings(ground.products, bench.config.text) if config.field_dropout else None,
            watch=watch,
        )
    draw(report, folder / "losses.svg")
    told = {name: value for name, value in asdict(report).items() if name != "losses"}
    return Made(artefacts={"encoder": folder / "encoder"}, record={"training": told, "seed": config.seed})
