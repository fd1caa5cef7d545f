"""What a recipe leaves for people: the ablation table, model cards, and the models in one place, ready for a build."""

from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from indexing import storage
from shortlist.jobs.train.attacks import attack_lines
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.ground import SCORED
from shortlist.jobs.train.measure import PRIMARY, Measured
from shortlist.version import __version__

if TYPE_CHECKING:
    from shortlist.jobs.train.recipe import RecipeReport, Row

MODELS = ("encoder", "reranker", "student")
"""Artefacts that are model folders."""


def write_report(report: "RecipeReport", bench: Bench, out: Path) -> None:
    """Write ``ablation.md``, ``report.json`` and ``models/`` with a card each, in place of an earlier run's."""
    storage.replace_bytes(out / "ablation.md", (ablation(report) + "\n").encode())
    storage.replace_json(out / "report.json", document(report))
    for name in MODELS:
        if name in bench.artefacts:
            _publish(bench.artefacts[name], out / "models" / name, card(report, name))


def document(report: "RecipeReport") -> dict[str, Any]:
    """Return the report as JSON can hold it: means and intervals instead of values per query."""
    told = {name: value for name, value in asdict(report).items() if name != "rows"}
    return told | {"rows": [_row_document(row) for row in report.rows]}


def ablation(report: "RecipeReport") -> str:
    """Return the table: each step beside the recipe without it, on the scored queries."""
    scored = report.counts[SCORED]
    lines = [
        f"# Ablation: {report.name}, {scored} scored queries",
        "",
        f"{report.split[0].upper()}{report.split[1:]}. Each row adds one step to the last row that was kept, and is",
        "compared with it pair by pair (two-sided randomisation test, one seed). A step is kept when its system is",
        "better with it on the tuning queries.",
        "",
    ]
    systems = list(dict.fromkeys(name for row in report.rows for name in row.scored))
    for system in systems:
        lines += [f"## {system}", "", *_table(report.rows, system), ""]
    lines += ["## Steps", "", "| step | kept | minutes | why not |", "|---|---|---|---|"]
    lines += [
        f"| {row.step} | {'yes' if row.kept else 'no'} | {row.seconds / 60:.1f} | {row.reason} |" for row in report.rows
    ]
    if report.repeats:
        lines += ["", *_headline(report)]
    for row in report.rows:
        if row.step == "attacks" and row.kept:
            lines += ["", *attack_lines(row.record)]
    return "\n".join([*lines, "", f"Whole recipe: {report.seconds / 60:.1f} minutes, measuring the steps apart."])


def card(report: "RecipeReport", name: str) -> str:
    """Return the card of a model: what it was made from, how, and how good it is with what certainty."""
    last = next(row for row in reversed(report.rows) if row.kept and row.scored)
    used = [row for row in report.rows if row.kept and name in row.record.get("artefacts", {})]
    lines = [f"# {name} trained on {report.name}", "", f"Made by `shortlist train` {__version__}.", "", "## Data", ""]
    lines += [f"- {file}: SHA-256 {digest}" for file, digest in report.digests.items()]
    lines += [f"- queries: {', '.join(f'{role} {count}' for role, count in report.counts.items())}"]
    lines += [f"- {report.split}", "", "## Steps", ""]
    lines += [f"- {row.step}: seed {row.record.get('seed', '-')}, {row.seconds / 60:.1f} minutes" for row in used]
    lines += ["", "## On the scored queries", "", "| system | measure | mean | 95 % interval |", "|---|---|---|---|"]
    for system, measured in last.scored.items():
        for label, mean in measured.means.items():
            low, high = measured.interval(label)
            lines.append(f"| {system} | {label} | {mean:.4f} | {low:.4f} to {high:.4f} |")
    lines += ["", "## Configuration", "", *(f"- {key}: {value}" for key, value in report.configuration.items())]
    return "\n".join(lines) + "\n"


def summary(report: "RecipeReport", out: Path) -> str:
    """Return what ``shortlist train`` prints."""
    models = [f"{name}.model={out / 'models' / name}" for name in MODELS if name in report.artefacts]
    if "fusion" in report.artefacts:
        learned = storage.read_json(out / report.artefacts["fusion"])
        kind = learned.pop("kind")
        models += [f"fusion={kind}", *(f"fusion.{name}={value:g}" for name, value in learned.items())]
    return "\n".join(
        [ablation(report), "", f"report  {out / 'report.json'}", f"models  {' '.join(models) or 'none kept'}"]
    )


def _table(rows: "tuple[Row, ...]", system: str) -> list[str]:
    labels = next(list(row.scored[system].values) for row in rows if system in row.scored)
    head = ["step", *labels, f"{PRIMARY} difference", "95 % interval", "p", "minutes", "kept"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    before: Measured | None = None
    for row in rows:
        if system not in row.scored:
            continue
        found = row.scored[system]
        cells = [row.step, *(f"{mean:.4f}" for mean in found.means.values())]
        if before is None:
            cells += ["", "", ""]
        else:
            difference, p, (low, high) = found.against(before)
            cells += [f"{difference:+.4f}", f"{low:+.4f} to {high:+.4f}", f"{p:.4f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.seconds / 60:.1f}', 'yes' if row.kept else 'no'])} |")
        before = found if row.kept else before
    return lines


def _headline(report: "RecipeReport") -> list[str]:
    """Return every system of the whole recipe under each seed, and the spread between them."""
    first = report.configuration.get("retriever.seed", "first")
    runs = {first: report.headline, **{str(seed): found for seed, found in report.repeats.items()}}
    lines = ["## Seeds", "", f"| system | measure | {' | '.join(f'seed {seed}' for seed in runs)} | mean | deviation |"]
    lines.append("|" + "---|" * (len(runs) + 4))
    for system, measures in report.headline.items():
        for label in measures:
            values = [found[system][label] for found in runs.values() if system in found]
            spread = stdev(values) if len(values) > 1 else 0.0
            cells = " | ".join(f"{found[system][label]:.4f}" if system in found else "" for found in runs.values())
            lines.append(f"| {system} | {label} | {cells} | {fmean(values):.4f} | {spread:.4f} |")
    return lines


def _row_document(row: "Row") -> dict[str, Any]:
    scored = {
        system: {label: {"mean": mean, "interval": list(of.interval(label))} for label, mean in of.means.items()}
        for system, of in row.scored.items()
    }
    return {name: value for name, value in asdict(row).items() if name != "scored"} | {"scored": scored}


def _publish(source: Path, target: Path, text: str) -> None:
    """Link a model's files below ``models`` and put its card beside them."""
    storage.remove_folder(target)
    storage.make_folder(target)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            storage.make_folder(place)
        elif place.name != "README.md":
            storage.link_or_copy(path, place)
    storage.write_bytes(target / "README.md", text.encode())
