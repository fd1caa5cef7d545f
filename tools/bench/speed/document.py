"""Results on disk: ``tools/bench/results/<commit>.json``, one document per commit, written by the tool alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.bench.speed.records import Compared, Measurement, Plot, Quality, Row, Side, Target
from tools.machine import ROOT, commit, machine

RESULTS = ROOT / "tools" / "bench" / "results"
FORMAT = "shortlist-speed/1"
DIGITS = 5
"""Significant digits that are kept of a time: no clock of a shared machine repeats the sixth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A measurement with where and when it was made.

    Attributes:
        measurement: What was measured.
        commit: Of the checkout, ``-dirty`` when it held changes.
        date: UTC, to the second, ISO 8601.
        machine: Processor, cores, system, Python, versions of packages (`tools.machine`).
    """

    measurement: Measurement
    commit: str
    date: str
    machine: Mapping[str, Any]


def record(measurement: Measurement) -> Recorded:
    """Note where and when a measurement was made: here and now."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Recorded(measurement=measurement, commit=commit(), date=date, machine=machine())


def write(recorded: Sequence[Recorded], folder: Path) -> list[Path]:
    """Add measurements to the document of their commit; one of the same name is replaced. Returns the files."""
    files = []
    for name in sorted({each.commit for each in recorded}):
        path = folder / f"{name}.json"
        held = {each.measurement.name: each for each in (read_file(path) if path.is_file() else [])}
        held |= {each.measurement.name: each for each in recorded if each.commit == name}
        document = {"format": FORMAT, "commit": name, "measurements": [_plain(each) for each in held.values()]}
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        files.append(path)
    return files


def read_file(path: Path) -> list[Recorded]:
    """Read one document.

    Raises:
        ValueError: If it is of another format.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise ValueError(f"expected format {FORMAT!r}, got {document.get('format')!r} in {path}")
    return [_recorded(each, document["commit"]) for each in document["measurements"]]


def newest(folder: Path) -> dict[str, Recorded]:
    """Return the newest measurement of every name over a folder's documents; other tools' files are passed over."""
    found: dict[str, Recorded] = {}
    for path in sorted(folder.glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8")).get("format") != FORMAT:
            continue
        for each in read_file(path):
            held = found.get(each.measurement.name)
            if held is None or held.date < each.date:
                found[each.measurement.name] = each
    return found


def _plain(recorded: Recorded) -> dict[str, Any]:
    """Return what JSON holds: enums by value, times shortened, empty fields left out."""
    about = {"commit": recorded.commit, "date": recorded.date, "machine": dict(recorded.machine)}
    plain: dict[str, Any] = _shortened({**about, **asdict(recorded.measurement)})
    return plain


def _shortened(value: Any) -> Any:  # noqa: ANN401 - anything that JSON may hold
    match value:
        case Compared():
            return value.value
        case bool() | int() | str() | None:
            return value
        case float():
            return float(f"{value:.{DIGITS}g}")
        case Mapping():
            kept = {name: _shortened(each) for name, each in value.items()}
            return {name: each for name, each in kept.items() if each not in (None, "", [], {})}
        case Sequence():
            return [_shortened(each) for each in value]
    if hasattr(value, "item"):  # a number of numpy's
        return _shortened(value.item())
    raise TypeError(f"expected what JSON can hold, got {type(value).__name__}: {value!r}")


def _recorded(value: Mapping[str, Any], name: str) -> Recorded:
    own = {key: each for key, each in value.items() if key not in ("commit", "date", "machine", "rows", "plots")}
    rows = tuple(_row(each) for each in value.get("rows", ()))
    plots = tuple(_plot(each) for each in value.get("plots", ()))
    own["notes"] = tuple(value.get("notes", ()))
    measurement = Measurement(**own, rows=rows, plots=plots)
    return Recorded(
        measurement=measurement, commit=value.get("commit", name), date=value["date"], machine=value["machine"]
    )


def _row(value: Mapping[str, Any]) -> Row:
    parts: dict[str, Any] = {**value, "compared": Compared(value["compared"]), "unit": value.get("unit", "")}
    for name in ("ours", "peer"):
        if name in parts:
            side = parts[name]
            parts[name] = Side(name=side["name"], values=tuple(side["values"]), raw=tuple(side.get("raw", ())))
    if "target" in parts:
        parts["target"] = Target(**parts["target"])
    parts["quality"] = tuple(Quality(**each) for each in value.get("quality", ()))
    return Row(**parts)


def _plot(value: Mapping[str, Any]) -> Plot:
    series = {name: tuple((x, y) for x, y in points) for name, points in value["series"].items()}
    return Plot(**{**value, "series": series})
