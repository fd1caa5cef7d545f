"""What a million queries cost: the share of the machine that a query takes, times the machine's price."""

from shortlist.cost import CostSweepConfig
from shortlist.evaluation.cost.records import Price
from shortlist.evaluation.cost.turns import Timed

CORE_HOUR = 0.0425
"""USD for one core and one hour: c5.2xlarge on demand in us-east-1, .34 for eight (AWS, EC2 Auto Scaling user guide,
"Spot price per unit hour example")."""

_MILLION, _HOUR_S = 1_000_000, 3600


def price_of(config: CostSweepConfig, *, cores: int, device: str) -> Price:
    """Return what the machine costs and how that becomes the cost of a query.

    On a processor a query is charged for the core time it used, because that is what a full machine runs out of: time
    by the clock would charge a search that keeps one of 64 cores busy for all of them, and every neighbour's noise
    too. On a GPU, which does one thing at a time here, it is charged by the clock.

    Args:
        config: Price, currency and utilisation.
        cores: Cores of the machine.
        device: ``cpu`` or ``cuda``, where the models run.
    """
    if config.price_per_hour:
        per_hour, source = config.price_per_hour, "cost.price_per_hour"
    elif device == "cpu":
        per_hour, source = (
            CORE_HOUR * cores,
            f"{CORE_HOUR:g} USD per core and hour (AWS c5.2xlarge on demand, us-east-1)",
        )
    else:
        per_hour, source = None, "no price is assumed for a GPU; set cost.price_per_hour"
    taken = "core seconds of the process per query / cores" if device == "cpu" else "seconds by the clock per query"
    return Price(
        per_hour=per_hour,
        currency=config.currency,
        cores=cores,
        utilisation=config.utilisation,
        formula=f"machine seconds per query ({taken}) x 1,000,000 / 3,600 x price per hour / utilisation",
        source=source,
    )


def machine_s(timed: Timed, *, cores: int, device: str) -> float:
    """Return the mean seconds of the whole machine that a call takes."""
    return timed.core_s_per_call() / cores if device == "cpu" else timed.wall_s_per_call()


def cost_per_million(seconds: float, price: Price) -> float | None:
    """Return the price of a million queries that take ``seconds`` of the machine each; ``None`` without a price."""
    if price.per_hour is None:
        return None
    return seconds * _MILLION / _HOUR_S * price.per_hour / price.utilisation
