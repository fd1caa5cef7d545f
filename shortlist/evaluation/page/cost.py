"""What a search costs: the quality-latency frontier, the indexes, filters, memory and money."""

from dataclasses import dataclass

from shortlist.evaluation.cost.records import CostReport, Memory, Price
from shortlist.evaluation.figures import counted
from shortlist.evaluation.page.bars import amounts_row
from shortlist.evaluation.page.cost_plot import CostPlot, bytes_text
from shortlist.evaluation.page.frontier import frontier_plot, systems_plot
from shortlist.evaluation.page.indexes import filters_plot, indexes_plot
from shortlist.evaluation.records import Evaluation


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """What one part of the searcher holds: name, drawn, together, its own and pages of files."""

    name: str
    bar: str
    together: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPanel:
    """Where the memory goes: in a sentence, part by part, and together."""

    note: str
    rows: tuple[MemoryRow, ...]
    total: str


@dataclass(frozen=True, slots=True)
class Cost:
    """The section: sentences on the machine, plots, memory, and what is missing."""

    notes: tuple[str, ...]
    plots: tuple[CostPlot, ...]
    memory: MemoryPanel | None
    missing: tuple[str, ...]


def cost(evaluation: Evaluation) -> Cost | None:
    """Return the section; ``None`` when nobody measured a latency."""
    report = evaluation.cost
    if report is None:
        plot = systems_plot(evaluation)
        return None if plot is None else Cost((), (plot,), None, ())
    plots = [frontier_plot(report.frontier) if report.frontier else systems_plot(evaluation)]
    plots += [indexes_plot(report.indexes), filters_plot(report.selectivity)]
    return Cost(
        notes=(_machine(report), _noise(report)),
        plots=tuple(plot for plot in plots if plot is not None),
        memory=_memory(report.memory),
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


def _memory(memory: Memory | None) -> MemoryPanel | None:
    if memory is None:
        return None
    parts = [(part.name, part.anonymous_bytes, part.mapped_bytes) for part in memory.parts]
    # A part may give back what an earlier one held.
    largest = max((max(own, 0) + max(mapped, 0) for _, own, mapped in parts), default=0) or 1
    own, mapped = sum(part[1] for part in parts), sum(part[2] for part in parts)
    return MemoryPanel(
        note=f"A process that does nothing but search, after {memory.answered:,} answers ({memory.how}): "
        f"{bytes_text(own)} of its own and {bytes_text(mapped)} of files, which the system may drop and read again.",
        rows=tuple(_part(name, own, mapped, largest) for name, own, mapped in parts),
        total=bytes_text(memory.total_bytes),
    )


def _part(name: str, own: int, mapped: int, largest: int) -> MemoryRow:
    bar = amounts_row([("own", max(own, 0) / largest), ("mapped", max(mapped, 0) / largest)])
    return MemoryRow(name, bar, bytes_text(own + mapped), f"{bytes_text(own)} + {bytes_text(mapped)}")
