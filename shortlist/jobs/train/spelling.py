"""Step ``spelling``: whether words that nobody knows are written as the catalogue writes them before a search."""

from collections.abc import Mapping
from pathlib import Path

from indexing import storage
from retrieval.text import normalise_query
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.steps import Made, Ranker

SHOWN = 20
"""Corrections that the report shows."""


class CorrectSpelling:
    """Corrects every query from here on, where the first stage is better for it on the choosing queries."""

    name = "spelling"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("spelling",)
    decides = "hybrid"
    labels = False

    def run(self, bench: Bench, folder: Path) -> Made:
        """Correct every query, of which the words alone are looked at, and write which of them change."""
        if bench.spelling:
            return Made({}, refused="queries are corrected already")
        texts = [normalise_query(query.text) for queries in bench.ground.queries.values() for query in queries]
        respelt = {text: to for text in texts if (to := bench.corrector.corrected(text)) != text}
        if not respelt:
            return Made({}, refused="no query has a word that would be corrected")
        storage.replace_json(folder / "spelling.json", {"queries": len(texts), "corrected": respelt})
        shown = dict(list(respelt.items())[:SHOWN])
        record = {"queries": len(texts), "corrected": len(respelt), "for example": shown}
        return Made({"spelling": folder / "spelling.json"}, record)

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own: all of them are asked the corrected query."""
        return {}
