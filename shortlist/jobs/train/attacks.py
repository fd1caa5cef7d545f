"""Step ``attacks``: how much of the quality is left when queries are misspelt and products stuffed or renamed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexing.exact import best_first
from retrieval.attacks import brand_swapped, misspelt, other_units, stuffed
from retrieval.metrics import has_gain
from retrieval.records import Product, Query
from retrieval.text import TextTemplate
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.ground import SCORED
from shortlist.jobs.train.measure import DEPTH, PRIMARY, Measured, measure, recall_grade
from shortlist.jobs.train.steps import Made, Ranker

SEED = 7
ATTACKED_PRODUCTS = 300
"""Queries that products are made against: each costs an encoded text."""

SYSTEMS = ("bm25", "dense", "hybrid")


class Attacks:
    """Measures only: clean against attacked, on the scored queries."""

    name = "attacks"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    decides = ""
    labels = False

    def run(self, bench: Bench, folder: Path) -> Made:
        """Attack and measure."""
        return Made({}, {"seed": SEED, "queries": against_queries(bench), "products": against_products(bench)})

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """No system of its own."""
        return {}


def against_queries(bench: Bench) -> dict[str, dict[str, Any]]:
    """Return attack -> system -> measures of clean and attacked queries, and the share of each that is left."""
    queries = bench.ground.queries[SCORED]
    attacks: dict[str, Callable[[], list[Query]]] = {
        "one edit": lambda: misspelt(queries, edits=1, seed=SEED),
        "two edits": lambda: misspelt(queries, edits=2, seed=SEED),
        "other units": lambda: other_units(queries, seed=SEED),
    }
    clean = {system: _measured(bench, system, queries) for system in SYSTEMS}
    told: dict[str, dict[str, Any]] = {}
    for name, attack in attacks.items():
        attacked = attack()
        changed = sum(one.text != other.text for one, other in zip(queries, attacked, strict=True))
        told[name] = {"changed": changed, "counted": _counted(bench, queries)} | {
            system: compared(clean[system], _measured(bench, system, attacked)) for system in SYSTEMS
        }
    return told


def against_products(bench: Bench) -> dict[str, dict[str, float]]:
    """Return attack -> what the dense system makes of products that want to be found where they do not belong.

    Each attacker is added to the catalogue alone and ranked for its own query: the share of queries where it comes
    among the first ten, and nDCG@10 without and with it.
    """
    queries = list(bench.ground.queries[SCORED])[:ATTACKED_PRODUCTS]
    products = {product.product_id: product for product in bench.ground.products}
    good = [_good(bench, query) for query in queries]
    told = {"keyword stuffing": _intruders(bench, queries, stuffed(queries, bench.ground.products, seed=SEED))}
    copies, fooled = brand_swapped(good, products, seed=SEED)
    if copies:
        told["brand swap"] = _intruders(bench, [queries[number] for number in fooled], copies)
    return told


def pooled_attacks(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the records of a cross-validation's folds as one: means over the queries of all of them."""
    told: dict[str, Any] = {"seed": SEED, "queries": {}, "products": {}}
    for attack in dict.fromkeys(name for record in records for name in record["queries"]):
        parts = [record["queries"][attack] for record in records]
        told["queries"][attack] = {
            "changed": sum(part["changed"] for part in parts),
            "counted": sum(part["counted"] for part in parts),
        } | {system: {label: _pooled(parts, system, label) for label in parts[0][system]} for system in SYSTEMS}
    for attack in dict.fromkeys(name for record in records for name in record["products"]):
        parts = [record["products"][attack] for record in records if attack in record["products"]]
        told["products"][attack] = {
            "queries": sum(part["queries"] for part in parts),
            "counted": sum(part["counted"] for part in parts),
            "in the first ten": _mean(parts, "in the first ten", by="queries"),
            "clean": _mean(parts, "clean"),
            "attacked": _mean(parts, "attacked"),
        }
    return told


def _pooled(parts: Sequence[Mapping[str, Any]], system: str, label: str) -> dict[str, float]:
    each = [{**part[system][label], "counted": part["counted"]} for part in parts]
    clean, attacked = _mean(each, "clean"), _mean(each, "attacked")
    return {"clean": clean, "attacked": attacked, "left": attacked / clean if clean else 1.0}


def _mean(parts: Sequence[Mapping[str, Any]], name: str, *, by: str = "counted") -> float:
    total = sum(int(part[by]) for part in parts)
    return sum(float(part[name]) * int(part[by]) for part in parts) / max(1, total)


def attack_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the record of this step as lines of Markdown."""
    labels = list(next(iter(record["queries"].values()))["dense"])
    lines = ["## Attacks on queries", "", f"| attack | changed | system | {' | '.join(labels)} |"]
    lines.append("|" + "---|" * (3 + len(labels)))
    for attack, told in record["queries"].items():
        for system in SYSTEMS:
            cells = [f"{of['clean']:.4f} to {of['attacked']:.4f} ({of['left']:.1%})" for of in told[system].values()]
            lines.append(f"| {attack} | {told['changed']} | {system} | {' | '.join(cells)} |")
    lines += ["", "## Attacks by products (dense, one attacker a query)", ""]
    lines += ["| attack | queries | in the first ten | nDCG@10 clean | attacked |", "|---|---|---|---|---|"]
    for attack, told in record["products"].items():
        lines.append(
            f"| {attack} | {told['queries']} | {told['in the first ten']:.1%} | {told['clean']:.4f} | "
            f"{told['attacked']:.4f} |"
        )
    return lines


def compared(clean: Measured, attacked: Measured) -> dict[str, dict[str, float]]:
    """Return per measure the means of both and the share that is left; 1 where there was nothing to lose."""
    return {
        label: {"clean": mean, "attacked": attacked.means[label], "left": attacked.means[label] / mean if mean else 1.0}
        for label, mean in clean.means.items()
    }


def _measured(bench: Bench, system: str, queries: Sequence[Query]) -> Measured:
    grades = bench.ground.grades
    return measure(bench.run(system, queries, DEPTH), queries, grades, min_grade=recall_grade(grades))


def _counted(bench: Bench, queries: Sequence[Query]) -> int:
    """Return how many queries the means are over."""
    return sum(has_gain(bench.ground.grades[query.query_id]) for query in queries)


def _good(bench: Bench, query: Query) -> list[str]:
    grades = bench.ground.grades[query.query_id]
    return sorted((name for name, grade in grades.items() if grade > 0), key=lambda name: (-grades[name], name))


def _intruders(bench: Bench, queries: Sequence[Query], attackers: Sequence[Product]) -> dict[str, float]:
    template = TextTemplate(bench.config.text)
    vectors = bench.tower().encode_products([template.render(product) for product in attackers])
    asked = bench.tower().encode_queries([bench.asked(query.text) for query in queries])
    products = bench.product_vectors()
    clean, attacked, inside = {}, {}, 0
    for query, vector, attacker, intruder in zip(queries, asked, attackers, vectors, strict=True):
        scores = products @ vector
        rows = best_first(scores, np.arange(len(scores)), k=DEPTH, tie_rank=None)
        ranking = [(bench.product_ids[row], float(scores[row])) for row in rows]
        place = sum(score >= float(intruder @ vector) for _, score in ranking)
        inside += place < 10
        clean[query.query_id] = ranking
        attacked[query.query_id] = [*ranking[:place], (attacker.product_id, float(intruder @ vector)), *ranking[place:]]
    grades = bench.ground.grades
    means = [measure(run, queries, grades, min_grade=recall_grade(grades)).means[PRIMARY] for run in (clean, attacked)]
    return {
        "queries": len(queries),
        "counted": _counted(bench, queries),
        "in the first ten": inside / max(1, len(queries)),
        "clean": means[0],
        "attacked": means[1],
    }
