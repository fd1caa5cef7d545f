"""Step ``interpolate``: how much of what the dual encoder learned is kept, and how much of what it was before."""

from collections.abc import Mapping
from pathlib import Path

from retrieval.contrastive import open_for_training
from retrieval.folder import write_model_folder
from retrieval.interpolation import set_between, weights_of
from retrieval.tower import read_settings
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.steps import Made, Ranker
from shortlist.progress import progress

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the way from the untrained weights to the trained ones that are tried; of equals the first is taken."""


class Interpolate:
    """Tries models between the untrained encoder and the one so far, on the pool that stops a training."""

    name = "interpolate"
    needs: tuple[str, ...] = ("encoder",)
    makes: tuple[str, ...] = ("encoder",)
    decides = "dense"
    labels = True

    def run(self, bench: Bench, folder: Path) -> Made:
        """Write the best of them, or refuse where that is the one so far."""
        config, dev = bench.config, bench.pool
        if dev is None:
            return Made({}, refused="no queries choose")
        before = weights_of(open_for_training(config.retriever, config.encoder, config.runtime).model)
        tower = open_for_training(config.retriever, bench.encoder, config.runtime)
        after, seen = weights_of(tower.model), dict[float, float]()
        with progress("interpolate", len(SHARES), unit="models") as advance:
            for share in SHARES:
                set_between(tower.model, before, after, share)
                seen[share] = dev.ndcg(tower)
                advance(1)
        best = max(SHARES, key=lambda share: seen[share])
        record = {"share": best, "dev_ndcg": {f"{share:.1f}": ndcg for share, ndcg in seen.items()}}
        if best == 1:
            return Made({}, record, refused="none between the untrained encoder and this one is better on the dev pool")
        set_between(tower.model, before, after, best)
        write_model_folder(
            tower.model, folder / "encoder", settings=read_settings(tower.folder, bench.encoder), records={}
        )
        return Made({"encoder": folder / "encoder"}, record)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own: ``dense`` and ``hybrid`` follow the encoder."""
        return {}
