"""Step ``typos``: another round in which a misspelt query must score products as the query itself does."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from shortlist.jobs.train.bench import MISSPELT, Bench
from shortlist.jobs.train.retriever import fit
from shortlist.jobs.train.steps import Made, Ranker

EPOCHS = 2


class Typos:
    """Self-teaching: clean scores teach the misspelt ones."""

    name = "typos"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("encoder",)
    decides = MISSPELT
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Train on from the encoder as it is, at half the rate of the first training, to the last step.

        Clean queries would stop it at once, since they are ranked no better; what decides is the misspelt ones.
        """
        first = bench.config.retriever
        recipe = replace(
            first, epochs=EPOCHS, learning_rate=first.learning_rate / 2, noise_weight=1.0, seed=first.seed + 2
        )
        return fit(bench, folder, recipe, negatives=None, stopped=False)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """Return the system that it decides by, so that the table has it from here on."""
        return {MISSPELT: partial(bench.run, MISSPELT)}
