"""Numbers as they are shown, the same in the terminal, in JSON and on the page."""

import numpy as np

from shortlist.evaluation.measures import measure_names
from shortlist.evaluation.records import Evaluation, SystemResult


def latency_ms(result: SystemResult) -> dict[str, float] | None:
    """Return p50, p95 and p99 over all queries asked, in milliseconds; ``None`` when nobody measured."""
    if not result.latencies_ms:
        return None
    percentiles = np.percentile(list(result.latencies_ms.values()), [50, 95, 99])
    return {name: float(value) for name, value in zip(("p50", "p95", "p99"), percentiles, strict=True)}


def p_text(p: float) -> str:
    """Write a p-value: three decimals, and no smaller than they can say."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("= 0.", "= .")


def signed(value: float) -> str:
    """Write a difference with its sign (a real minus) and three decimals."""
    return f"{value:+.3f}".replace("-", "−")


def counted(count: int, one: str, more: str) -> str:
    """Write a count with its noun."""
    return f"{count:,} {one if count == 1 else more}"


def references(evaluation: Evaluation) -> list[str]:
    """Say in whole lines which convention holds, what a random order would get, and what the human raters get."""
    words, floors, ceiling = evaluation.conventions, evaluation.floors, evaluation.ceiling
    ndcg = measure_names(evaluation.options).ndcg
    lines = [
        f"convention {words.name}: gain {words.gains}; discount {words.discount}; ideal {words.ideal}; ranked: "
        f"{words.ranked}; queries: {words.queries}",
        f"random order: {ndcg} {floors.judged:.4f} of the judged products"
        + ("" if floors.catalogue is None else f", {floors.catalogue:.4f} of the whole catalogue"),
    ]
    if ceiling is not None:
        raters = ", ".join(f"{name} {found.mean:.4f}" for name, found in ceiling.raters.items())
        systems = ", ".join(f"{name} {found.mean:.4f}" for name, found in ceiling.systems.items())
        lines.append(
            f"ceiling: human raters as systems get {ceiling.measure} {ceiling.mean:.4f} ({raters}) on the "
            f"{ceiling.products} products of {ceiling.queries} queries that all graded; there {systems}, "
            f"a random order {ceiling.random:.4f}"
        )
    return lines
