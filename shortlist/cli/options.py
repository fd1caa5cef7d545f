"""What each command takes: ordinary options for paths, free text and gates; everything that composes is an override.

Hydra's grammar trips over ``=``, commas and parentheses in values, so nothing a user types freely goes through it.
"""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from indexing.errors import ConfigError
from retrieval.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command.

    Attributes:
        name: With its dashes.
        help: One line.
        metavar: Placeholder of the value; empty for a switch.
        required: Refuse the command without it.
        repeat: May be given several times.
    """

    name: str
    help: str
    metavar: str = ""
    required: bool = False
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the program.

    Attributes:
        name: As it is typed.
        summary: One line for ``shortlist --help``.
        options: Its options, ``--json`` and ``--help`` apart, which all have.
        config: Name of its primary configuration; empty when it takes no overrides.
        text: Names of the leading free-text arguments, parted by blanks; one in brackets may be left out, and one that
            ends in dots takes every word that follows (they arrive as ``overrides``).
        example: A whole command line that works.
    """

    name: str
    summary: str
    options: tuple[Option, ...] = ()
    config: str = ""
    text: str = ""
    example: str = ""


SOURCE = Option("--source", "folder of the catalogue's files", "DIR", required=True)
BUNDLE = Option("--bundle", "directory of a published bundle", "DIR", required=True)
FILTER = Option(
    "--filter", "keep products where this holds, e.g. 'price<50' (repeat for AND)", "CONDITION", repeat=True
)
JUDGMENTS = Option("--judgments", "judgments in place of the catalogue's (CSV: query,product_id,grade)", "FILE")

COMMANDS: tuple[Command, ...] = (
    Command("doctor", "versions, one faiss, device, threads, memory; exit 4 on trouble", example="shortlist doctor"),
    Command(
        "demo",
        "the whole job on the built-in store: train, build, search, evaluate, report",
        (Option("--out", "where models, bundle and report go", "DIR", required=True),),
        config="demo",
        example="shortlist demo --out artifacts/demo",
    ),
    Command(
        "check",
        "stream a catalogue: schema, duplicates, truncation, unknown words; loads no model",
        (SOURCE, Option("--quarantine", "write bad rows here (with catalog.on_bad_rows=quarantine)", "FILE")),
        config="check",
        example="shortlist check catalog=icecat --source data/icecat",
    ),
    Command(
        "train",
        "a whole recipe: models, cards, logs, plots and a table of what each step is worth",
        (
            SOURCE,
            Option("--out", "folder of the recipe; an interrupted one is gone on with", "DIR", required=True),
            JUDGMENTS,
        ),
        config="train",
        example="shortlist train experiment=many_labels --source data/shop --out runs/shop",
    ),
    Command(
        "train-retriever",
        "fine-tune the dual encoder on judgments; saves a sentence-transformers folder",
        (SOURCE, Option("--out", "folder for the model", "DIR", required=True), JUDGMENTS),
        config="train_retriever",
        example="shortlist train-retriever --source data/shop --out models/retriever trainer.epochs=2",
    ),
    Command(
        "train-reranker",
        "fine-tune a cross-encoder over a bundle's first stage; saves a CrossEncoder folder",
        (SOURCE, BUNDLE, Option("--out", "folder for the model", "DIR", required=True), JUDGMENTS),
        config="train_reranker",
        example="shortlist train-reranker --source data/shop --bundle artifacts/shop --out models/reranker",
    ),
    Command(
        "calibrate",
        "choose the weight of a bundle's cross-encoder anew, and how far its answers are trusted; saves its folder",
        (SOURCE, BUNDLE, Option("--out", "folder for the model", "DIR", required=True), JUDGMENTS),
        config="calibrate",
        example="shortlist calibrate --source data/shop --bundle artifacts/shop --out models/reranker-2",
    ),
    Command(
        "build",
        "catalogue -> verified bundle -> published; resumes where it was interrupted",
        (
            SOURCE,
            Option("--out", "bundle directory; a new version is published beside those it holds", "DIR", required=True),
            Option("--restore-deleted", "take products of the catalogue that were deleted from the bundle"),
            Option("--dry-run", "print the plan (rows, tokens, time, memory, disk) and stop"),
        ),
        config="build",
        example="shortlist build catalog=icecat --source data/icecat --out artifacts/icecat",
    ),
    Command(
        "search",
        "ask a bundle one query",
        (BUNDLE, FILTER),
        config="search",
        text="query",
        example='shortlist search "wireless mouse" --bundle artifacts/icecat k=5',
    ),
    Command(
        "explain",
        "why a product is, or is not, in the answer to a query: the stage that lost it",
        (BUNDLE, FILTER),
        config="search",
        text="query product_id",
        example='shortlist explain "wireless mouse" 3920564 --bundle artifacts/icecat',
    ),
    Command(
        "evaluate",
        "systems and runs x queries -> TREC run files, report.json, report.html",
        (
            Option(
                "--source", "folder of the catalogue's files; may be left out when --judgments and --run say all", "DIR"
            ),
            Option("--bundle", "directory of a published bundle, whose systems are asked", "DIR"),
            Option("--out", "folder for runs and reports", "DIR", required=True),
            Option(
                "--judgments",
                "in place of the catalogue's: .csv, BEIR .tsv, ir_datasets .jsonl, else TREC qrels",
                "FILE",
            ),
            Option("--run", "a TREC run to be measured too, anybody's (repeat for more)", "FILE", repeat=True),
            Option("--against", "report to say what changed since (default: the one in --out, if any)", "DIR"),
            Option(
                "--gate", "exit 5 unless this holds for the last system, e.g. 'nDCG@10>=.73'", "CONDITION", repeat=True
            ),
        ),
        config="evaluate",
        example="shortlist evaluate catalog=icecat --source data/icecat --bundle artifacts/icecat --out runs/icecat",
    ),
    Command(
        "compare",
        "two reports, or two systems of one: paired tests, slices, a verdict",
        (
            Option("--measure", "what is compared (default: the primary measure of the reports)", "NAME"),
            Option(
                "--gate",
                "exit 5 unless this holds (of the last system): ship, 'difference>=0', 'typos/yes:low>=-.02'",
                "CONDITION",
                repeat=True,
            ),
        ),
        config="compare",
        text="baseline candidate",
        example="shortlist compare runs/base:hybrid runs/new:hybrid --gate ship",
    ),
    Command(
        "export",
        "write a catalogue with its queries and judgments as a BEIR folder",
        (SOURCE, Option("--out", "new folder", "DIR", required=True)),
        config="export",
        example="shortlist export catalog=icecat --source data/icecat --out beir/icecat",
    ),
    Command(
        "verify",
        "check every file of the live version against its manifest; exit 3 when it is refused",
        (BUNDLE, Option("--full", "also load it, in a child first, and ask it what it answered when it was built")),
        example="shortlist verify --bundle artifacts/icecat --full",
    ),
    Command(
        "upsert",
        "products of a catalogue into a bundle: new ones, and in place of those with the same id",
        (SOURCE, BUNDLE),
        config="upsert",
        example="shortlist upsert catalog=icecat --source data/today --bundle artifacts/icecat",
    ),
    Command(
        "delete",
        "take products out of a bundle, for good: no build brings them back by itself",
        (BUNDLE, Option("--ids", "file with one product_id a line", "FILE")),
        text="[ID...]",
        example="shortlist delete 3920564 3920565 --bundle artifacts/icecat",
    ),
    Command(
        "compact",
        "merge upserts and deletes into a new version; nothing is encoded",
        (BUNDLE,),
        config="compact",
        example="shortlist compact --bundle artifacts/icecat",
    ),
    Command(
        "tune",
        "the cheapest search parameters of the index that reach index.recall_target; published as a new version",
        (
            BUNDLE,
            Option("--queries", "a query a line, as people type them (default: heads of titles)", "FILE"),
            Option("--plot", "draw recall against time into this file (SVG)", "FILE"),
            Option("--dry-run", "measure the curve and publish nothing"),
        ),
        config="tune",
        example="shortlist tune --bundle artifacts/icecat --queries queries.txt index.recall_target=.95",
    ),
    Command(
        "versions",
        "list the versions of a bundle; remove those that are superseded",
        (
            BUNDLE,
            Option("--collect", "remove superseded versions that no process has open, and vectors that none uses"),
            Option("--keep", "how many versions stay with --collect (default 3, the live one among them)", "N"),
        ),
        example="shortlist versions --bundle artifacts/icecat",
    ),
    Command(
        "rollback",
        "make an earlier version live again, after proving that it still answers",
        (BUNDLE,),
        text="[version]",
        example="shortlist rollback --bundle artifacts/icecat",
    ),
)


_PLACES = ("first", "second")
_MANY = "...]"


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of exiting, and suggests what was meant."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        hint = did_you_mean(unknown, [name for action in self._actions for name in action.option_strings])
        if message.startswith("unrecognized arguments"):
            message = f"unknown option {unknown}{hint}"
        raise ConfigError(f"{message} (see: {self.prog} --help)")


def parse(command: Command, arguments: Sequence[str]) -> argparse.Namespace:
    """Split the words after a command's name into options, overrides and the leading text.

    Returns:
        One attribute per option, plus ``overrides`` (list of str), ``json`` (bool), ``help`` (bool), the command's
        ``text`` and ``command_line`` (all of it, as a shell would read it again).

    Raises:
        ConfigError: Unknown or incomplete option, with a suggestion.
    """
    parser = _Parser(prog=f"shortlist {command.name}", add_help=False, allow_abbrev=False)
    for option in (*command.options, Option("--json", ""), Option("--help", "")):
        if option.metavar:
            parser.add_argument(
                option.name, action="append" if option.repeat else "store", default=[] if option.repeat else None
            )
        else:
            parser.add_argument(option.name, action="store_true")
    for name in _places(command):
        parser.add_argument(name.strip("[]"), nargs="?")
    parser.add_argument("overrides", nargs="*")
    parsed = parser.parse_intermixed_args(list(arguments))
    parsed.command_line = shlex.join(["shortlist", command.name, *arguments])
    if not parsed.help:
        _require(command, parsed)
    return parsed


def _require(command: Command, parsed: argparse.Namespace) -> None:
    for option in command.options:
        if option.required and getattr(parsed, option.name.lstrip("-")) is None:
            raise ConfigError(f"{option.name} {option.metavar} is required ({option.help}), e.g.: {command.example}")
    for name, place in zip(_places(command), _PLACES, strict=False):
        given = getattr(parsed, name.strip("[]"))
        if given is None and name.startswith("["):
            continue
        if given is None:
            raise ConfigError(f"give the {name} as the {place} argument, e.g.: {command.example}")
        if re.fullmatch(r"[a-z_.]+=\S*", given) and not parsed.overrides:
            raise ConfigError(f"{given!r} came where the {name} should be, e.g.: {command.example}")
    if parsed.overrides and not command.config and not command.text.endswith(_MANY):
        raise ConfigError(f"{command.name} takes no configuration overrides, got {parsed.overrides[0]!r}")


def _places(command: Command) -> list[str]:
    """Return the leading arguments that take one word each."""
    return [name for name in command.text.split() if not name.endswith(_MANY)]


def find_command(name: str) -> Command:
    """Return the command called ``name``.

    Raises:
        ConfigError: Unknown, with a suggestion.
    """
    for command in COMMANDS:
        if command.name == name:
            return command
    names = [command.name for command in COMMANDS]
    raise ConfigError(f"unknown command {name!r}{did_you_mean(name, names)} (commands: {', '.join(names)})")


def usage() -> str:
    """Return the text of ``shortlist --help``."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [
        "usage: shortlist <command> [options] [overrides]",
        "",
        "Two-tower retrieval and reranking for product search: train, build, search and measure.",
        "",
        *(f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS),
        "",
        "Every command: --help (its options and configuration), --json (one JSON document on stdout).",
        "Overrides choose and set configuration: index=hnsw index.links=16 runtime.precision=bf16",
        "Exit codes: 0 fine, 2 configuration, 3 data, 4 environment, 5 a quality gate failed, 130 interrupted.",
    ]
    return "\n".join(lines)


def command_usage(command: Command) -> str:
    """Return the text of ``shortlist <command> --help``, without its configuration."""
    text = "".join(f" {name}" if name.startswith("[") else f' "{name}"' for name in command.text.split())
    overrides = " [overrides]" if command.config else ""
    lines = [f"usage: shortlist {command.name}{text} [options]{overrides}", "", command.summary, ""]
    for option in command.options:
        left = f"{option.name} {option.metavar}".strip()
        lines.append(f"  {left:<20} {option.help}{' (required)' if option.required else ''}")
    lines += [f"  {'--json':<20} one JSON document on stdout", "", f"example: {command.example}"]
    return "\n".join(lines)
