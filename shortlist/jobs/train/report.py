"""What a recipe leaves for people: the ablation table, model cards, and the models in one place, ready for a build."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from indexing import storage
from shortlist.jobs.train.against import against_lines, against_untrained
from shortlist.jobs.train.attacks import attack_lines
from shortlist.jobs.train.bench import OTHER_FUSIONS, Bench
from shortlist.jobs.train.cascading import cascade_lines
from shortlist.jobs.train.ground import SCORED
from shortlist.jobs.train.measure import PRIMARY, Measured
from shortlist.jobs.train.running import Row
from shortlist.jobs.train.steps import MODELS
from shortlist.version import __version__

if TYPE_CHECKING:
    from shortlist.jobs.train.recipe import RecipeReport

HITS_FILE = "hits.json"
"""First hits of the scored queries: system -> query_id -> product ids."""


FOLDED = (
    "The figures are those of the folds, pooled over their queries. The models for a build are made from all labels by",
    "the same steps, and are not scored themselves: no query is left that they have not seen.",
    "",
)


def write_report(report: "RecipeReport", bench: Bench, out: Path) -> None:
    """Write ``ablation.md``, ``report.json``, ``hits.json`` and ``models/`` with a card each, over an earlier run's."""
    storage.replace_bytes(out / "ablation.md", (ablation(report) + "\n").encode())
    storage.replace_json(out / "report.json", document(report))
    storage.replace_json(out / HITS_FILE, report.hits)
    for name in MODELS:
        if name in bench.artefacts:
            _publish(bench.artefacts[name], out / "models" / name, card(report, name))


def document(report: "RecipeReport") -> dict[str, Any]:
    """Return the report as JSON can hold it: means and intervals instead of values per query."""
    told = {name: value for name, value in asdict(report).items() if name not in ("rows", "hits")}
    against = [asdict(one) for one in against_untrained(report.rows)]
    return told | {"rows": [_row_document(row) for row in report.rows], "against_untrained": against}


def ablation(report: "RecipeReport") -> str:
    """Return the table: each step beside the recipe without it, on the scored queries."""
    scored = report.counts[SCORED]
    lines = [
        f"# Ablation: {report.name}, {scored} scored queries",
        "",
        f"{report.split[0].upper()}{report.split[1:]}. Each row adds one step to the last row that was kept, and is",
        "compared with it pair by pair (two-sided randomisation test, one seed). A step is kept when its system is",
        "better with it on queries that choose.",
    ]
    lines += ["", *(FOLDED if any(row.kept_in for row in report.rows) else ())]
    lines += [*against_lines(report.rows), ""]
    lines += [line for row in report.rows[:1] for line in ("## Untrained", "", *_means(row.scored), "")]
    systems = dict.fromkeys(name for row in report.rows for name in row.scored if name not in OTHER_FUSIONS)
    for system in systems:
        lines += [f"## {system}", "", *_table(report.rows, system), ""]
    lines += ["## Steps", "", "| step | kept | minutes | to measure | why not |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.step} | {_kept(row)} | {row.seconds / 60:.1f} | {row.measuring / 60:.1f} | {row.reason} |"
        for row in report.rows
    ]
    if report.repeats:
        lines += ["", *_headline(report)]
    for row in report.rows:
        if row.step == "attacks" and row.kept:
            lines += ["", *attack_lines(row.record)]
        if row.step == "cascade" and "table" in row.record:
            lines += ["", *cascade_lines(row.record)]
    minutes = f"{report.seconds / 60:.1f} minutes, and {report.measuring / 60:.1f} to measure the steps"
    return "\n".join([*lines, "", f"Whole recipe: {minutes}."])


def card(report: "RecipeReport", name: str) -> str:
    """Return the card of a model: what it was made from, how, and how good it is with what certainty."""
    used = [row for row in report.rows if row.kept and name in row.record.get("artefacts", {})]
    lines = [f"# {name} trained on {report.name}", "", f"Made by `shortlist train` {__version__}.", "", "## Data", ""]
    lines += [f"- {file}: SHA-256 {digest}" for file, digest in report.digests.items()]
    lines += [f"- queries: {', '.join(f'{role} {count}' for role, count in report.counts.items())}"]
    lines += [f"- {report.split}", "", "## Steps", ""]
    lines += [f"- {row.step}: seed {row.record.get('seed', '-')}, {row.seconds / 60:.1f} minutes" for row in used]
    lines += ["", "## On the scored queries", ""]
    lines += FOLDED if any(row.kept_in for row in report.rows) else ()
    lines += ["| system | measure | mean | 95 % interval |", "|---|---|---|---|"]
    for system, measured in report.rows[-1].stands.items():
        for label, mean in measured.means.items():
            low, high = measured.interval(label)
            lines.append(f"| {system} | {label} | {mean:.4f} | {low:.4f} to {high:.4f} |")
    lines += ["", "## Configuration", "", *(f"- {key}: {value}" for key, value in report.configuration.items())]
    return "\n".join(lines) + "\n"


def summary(report: "RecipeReport", out: Path) -> str:
    """Return what ``shortlist train`` prints."""
    models = [f"{name}.model={out / 'models' / name}" for name in MODELS if name in report.artefacts]
    if "cascade" in report.artefacts:
        passes = storage.read_json(out / report.artefacts["cascade"])["passes"]
        models += [f"reranker.student={out / 'models' / 'student'}", f"reranker.passes={passes}"]
    if "fusion" in report.artefacts:
        learned = storage.read_json(out / report.artefacts["fusion"])
        kind = learned.pop("kind")
        models += [f"fusion={kind}", *(f"fusion.{name}={value:g}" for name, value in learned.items())]
    models += ["lexical.spelling=true"] if "spelling" in report.artefacts else []
    return "\n".join(
        [ablation(report), "", f"report  {out / 'report.json'}", f"models  {' '.join(models) or 'none kept'}"]
    )


def _table(rows: tuple[Row, ...], system: str) -> list[str]:
    labels = next(list(row.scored[system].values) for row in rows if system in row.scored)
    head = ["step", *labels, f"{PRIMARY} difference", "95 % interval", "p", "minutes", "kept"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for place, row in enumerate(rows):
        if system not in row.scored:
            continue
        found, earlier = row.scored[system], rows[place - 1].stands if place else {}
        before = earlier.get(system) or (earlier.get("hybrid") if system.startswith("hybrid_") else None)
        cells = [row.step, *(f"{found.means[label]:.4f}" for label in labels)]
        if before is None:
            cells += ["", "", ""]
        else:
            difference, p, (low, high) = found.against(before)
            cells += [f"{difference:+.4f}", f"{low:+.4f} to {high:+.4f}", f"{p:.4f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.seconds / 60:.1f}', _kept(row)])} |")
    return lines


def _means(scored: Mapping[str, Measured]) -> list[str]:
    labels = [*next(iter(scored.values())).values] if scored else []
    lines = [f"| system | {' | '.join(labels)} |", "|" + "---|" * (1 + len(labels))]
    for system, found in scored.items():
        lines.append(f"| {system} | {' | '.join(f'{found.means[label]:.4f}' for label in labels)} |")
    return lines


def _kept(row: Row) -> str:
    return row.kept_in or ("yes" if row.kept else "no")


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


def _row_document(row: Row) -> dict[str, Any]:
    told = {name: value for name, value in asdict(row).items() if name not in ("scored", "stands", "hits")}
    return told | {"scored": _told(row.scored), "stands": _told(row.stands)}


def _told(systems: Mapping[str, Measured]) -> dict[str, Any]:
    return {
        system: {label: {"mean": mean, "interval": list(of.interval(label))} for label, mean in of.means.items()}
        for system, of in systems.items()
    }


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
