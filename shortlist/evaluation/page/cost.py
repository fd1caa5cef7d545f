"""What a search costs: the quality-latency frontier, the indexes, filters, memory and money."""

from dataclasses import dataclass

from shortlist.evaluation.cost.records import CostReport, Memory, Price
from shortlist.evaluation.figures import counted
from shortlist.evaluation.page.cost_plot import CostPlot, bytes_text
from shortlist.evaluation.page.frontier import frontier_plot, systems_plot
from shortlist.evaluation.page.indexes import filters_plot, indexes_plot
from shortlist.evaluation.page.tables import NumberTable
from shortlist.evaluation.records import Evaluation


@dataclass(frozen=True, slots=True)
class Cost:
    """The section: sentences on the machine, plots, further tables, and what is missing."""

    notes: tuple[str, ...]
    plots: tuple[CostPlot, ...]
    tables: tuple[NumberTable, ...]
    missing: tuple[str, ...]


def cost(evaluation: Evaluation) -> Cost | None:
    """Return the section; ``None`` when nobody measured a latency."""
    report = evaluation.cost
    if report is None:
        plot = systems_plot(evaluation)
        return None if plot is None else Cost((), (plot,), (), ())
    plots = [frontier_plot(report.frontier) if report.frontier else systems_plot(evaluation)]
    plots += [indexes_plot(report.indexes), filters_plot(report.selectivity)]
    return Cost(
        notes=(_machine(report), _noise(report)),
        plots=tuple(plot for plot in plots if plot is not None),
        tables=tuple(table for table in (_memory(report.memory),) if table is not None),
        missing=tuple(f"{skipped.what}: {skipped.why}" for skipped in report.skipped),
    )


# --- the machine ------------------------------------------------------------------------------------------------------


def _machine(report: CostReport) -> str:
    machine = report.machine
    memory = f", {bytes_text(machine.memory_bytes)} of memory" if machine.memory_bytes else ""
    return (
        f"{machine.processor}, {counted(machine.cores, 'core', 'cores')}{memory}, {machine.system}; models on "
        f"{machine.device}, {counted(machine.threads, 'thread', 'threads')}; every query timed "
        f"{counted(report.repeats, 'time', 'times')}. {_price(report.price)}"
    )


def _price(price: Price) -> str:
    if price.per_hour is None:
        return ""
    return (
        f"Cost: {price.currency} {price.per_hour:g} an hour for {counted(price.cores, 'core', 'cores')} "
        f"({price.source}), {price.utilisation:.0%} used; {price.formula}."
    )


def _noise(report: CostReport) -> str:
    noise = report.noise
    return (
        f"How quiet the machine was: {noise.task} took {noise.control.p50:.2f} ms in the middle of {noise.calls:,} "
        f"times and {noise.control.p95:.2f} ms at p95; {noise.noisy} of {noise.points} points are marked noisy "
        f"({noise.rule})."
    )


# --- memory --------------------------------------------------------------------------------------------------------


def _memory(memory: Memory | None) -> NumberTable | None:
    if memory is None:
        return None
    rows = [
        (
            part.name,
            bytes_text(part.anonymous_bytes),
            bytes_text(part.mapped_bytes),
            bytes_text(part.anonymous_bytes + part.mapped_bytes),
        )
        for part in memory.parts
    ]
    own, mapped = (sum(getattr(part, name) for part in memory.parts) for name in ("anonymous_bytes", "mapped_bytes"))
    total = ("together", bytes_text(own), bytes_text(mapped), bytes_text(memory.total_bytes))
    caption = f"Memory of a process that searches: {bytes_text(memory.total_bytes)} ({memory.how})"
    return NumberTable(caption, ("part", "its own", "pages of files", "together"), [*rows, total])
