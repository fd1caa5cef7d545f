"""The Markdown of docs/evaluation.md: one table of all rows, and below it what a reader has to know to trust them."""

from collections.abc import Iterable, Mapping, Sequence

from tools.bench.speed.document import Recorded
from tools.bench.speed.records import Compared, Quality, Row, Side

ORDER = (
    "encode",
    "encode_query",
    "rerank",
    "search",
    "deadline",
    "ann",
    "index",
    "overhead",
    "filtered",
    "repeat",
    "memory",
    "gpu_encode",
    "gpu_exact",
    "growth",
)
"""Of the measurements in the table, as the targets are listed; what is not here follows by name."""

COLUMNS = ("job", "peer", "ours", "the peer's", "ratio (rounds)", "asked", "quality beside it", "reached")


def render(recorded: Mapping[str, Recorded]) -> str:
    """Return the whole section: table, what limits what was not reached, notes, and where each line comes from."""
    ordered = in_order(recorded)
    if not ordered:
        return "Nothing was measured yet; `make bench` measures.\n"
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(cells(row))} |" for each in ordered for row in each.measurement.rows]
    limits = [
        f"- **{row.job}**: {row.limited_by}" for each in ordered for row in each.measurement.rows if row.limited_by
    ]
    if limits:
        lines += ["", "What limits what was not reached, and what was tried:", "", *limits]
    notes = [f"- `{each.measurement.name}`: {note}" for each in ordered for note in each.measurement.notes]
    if notes:
        lines += ["", "What the lines are about:", "", *notes]
    for plot in (plot for each in ordered for plot in each.measurement.plots):
        lines += ["", f"![{plot.title}](pictures/{plot.file}.svg)"]
    lines += ["", "Where each line comes from:", "", *provenance(ordered)]
    return "\n".join(lines) + "\n"


def in_order(recorded: Mapping[str, Recorded]) -> list[Recorded]:
    """Return the measurements as the table lists them."""
    known = {name: place for place, name in enumerate(ORDER)}
    return [recorded[name] for name in sorted(recorded, key=lambda name: (known.get(name, len(ORDER)), name))]


def cells(row: Row) -> list[str]:
    """Return one row's cells, `COLUMNS` of them."""
    peer = row.peer.name if row.peer else row.against or "-"
    if row.not_run or row.ours is None:
        return [row.job, peer, f"not run: {row.not_run}", "-", "-", asked_of(row), "-", "-"]
    few = f" ({len(row.ours.values)} rounds: {row.few_because})" if row.few_because else ""
    reached = {None: "-", True: "yes", False: "**no**"}[row.reached]
    return [
        row.job,
        peer,
        shown(row, row.ours) + few,
        shown(row, row.peer) if row.peer else "-",
        ratio_text(row),
        asked_of(row),
        "; ".join(quality_text(each) for each in row.quality) or "-",
        reached,
    ]


def shown(row: Row, side: Side) -> str:
    """Write one side's median, as a rate where the row is about one."""
    if row.per:
        seconds = side.median / (1000 if row.unit == "ms" else 1)
        return f"{number(row.work / seconds)} {row.per}/s"
    return f"{number(side.median)} {row.unit}".strip()


def ratio_text(row: Row) -> str:
    """Write the ratio with its spread over the rounds."""
    ratio = row.ratio
    if ratio is None or row.compared is Compared.alone:
        return "-"
    sign, scale = ("x", 1.0) if row.compared is Compared.faster else (" %", 100.0)
    value, low, high = (number(each * scale) for each in (ratio.value, ratio.low, ratio.high))
    if len(row.ours.values if row.ours else ()) < 2:
        return f"{value}{sign}"
    return f"{value}{sign} ({low} to {high})"


def asked_of(row: Row) -> str:
    """Write the target in the ratio's unit."""
    target = row.target
    if target is None:
        return "-"
    unit = f" {row.unit}" if row.unit else ""
    signs = {Compared.faster: ("x", 1.0), Compared.share: (" %", 100.0), Compared.alone: (unit, 1.0)}
    sign, scale = signs[row.compared]
    if target.at_least is not None:
        return f"≥ {number(target.at_least * scale)}{sign}"
    return f"≤ {number((target.at_most or 0.0) * scale)}{sign}"


def quality_text(quality: Quality) -> str:
    """Write a figure of quality with its interval and what is asked of it."""
    interval = f" [{quality.low:+.4f}, {quality.high:+.4f}]" if quality.low is not None else ""
    value = f"{quality.value:+.4f}" if quality.within is not None else f"{quality.value:.4g}"
    asked = f" (≥ {quality.at_least:g})" if quality.at_least is not None else ""
    asked = f" (within ±{quality.within:g})" if quality.within is not None else asked
    return f"{quality.name} {value}{interval}{asked}{'' if quality.holds else ' MISSED'}"


def number(value: float) -> str:
    """Write three significant digits, whole thousands with commas."""
    short = float(f"{value:.3g}")
    if abs(short) >= 1000:
        return f"{short:,.0f}"
    text = f"{short:g}"
    return f"{short:.10f}".rstrip("0").rstrip(".") if "e" in text else text


def provenance(recorded: Sequence[Recorded]) -> Iterable[str]:
    """Yield one line per machine, versions and commit, with the measurements that were made there."""
    grouped: dict[str, list[str]] = {}
    for each in recorded:
        machine = each.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        place = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {versions}"
        grouped.setdefault(place, []).append(_origin(each))
    for place, names in grouped.items():
        yield f"- {place}:"
        yield from (f"  - {name}" for name in names)


def _origin(each: Recorded) -> str:
    made = each.measurement
    threads = f", {made.threads} thread{'s' if made.threads != 1 else ''}" if made.threads else ""
    device = f", {made.device}" if made.device != "cpu" else ""
    return f"`{made.name}`: {each.date[:10]}, commit `{each.commit}`{threads}{device}; {noise_text(made.noise)}"


def noise_text(noise: Mapping[str, float | None]) -> str:
    """Say in words how quiet the machine was."""
    if not noise:
        return "nothing timed"
    others = noise.get("others")
    busy = f", others kept {others:.2f} cores busy" if others is not None else ""
    slowdown, margin = (100 * (noise[name] or 0) for name in ("slowdown", "margin"))
    return (
        f"control task {slowdown:.0f} % over quiet, means within {margin:.0f} % of their middle, "
        f"{noise['noisy']:.0f} of {noise['points']:.0f} contestants noisy{busy}"
    )
