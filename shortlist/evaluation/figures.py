"""Numbers as they are shown, the same in the terminal, in JSON and on the page."""

import numpy as np

from shortlist.evaluation.records import SystemResult


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
