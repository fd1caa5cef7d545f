"""The part of ``--help`` that tells what a command's configuration can be, read from the schemas themselves."""

from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

from shortlist.cli.options import Command
from shortlist.schemas import EXPERIMENT, GROUPS, JOBS, config_dir


def configuration_usage(command: Command) -> str:
    """Return groups with their members and settings with their defaults; empty for a command without configuration."""
    if not command.config:
        return ""
    schema = JOBS[command.config]
    settings, groups = [], []
    for field in fields(schema):
        default = _default(field)
        if default is MISSING or field.name in GROUPS:
            groups.append(field.name)
        else:
            settings.append(f"  {field.name}={_plain(default)}")
    lines = ["", "configuration groups (choose with group=member, set with group.key=value):"]
    for name in groups:
        group = name if name in GROUPS else "trainer"
        members = sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
        keys = sorted({key.name for schema in GROUPS[group].values() for key in fields(schema)})
        lines += [f"  {name}: {', '.join(members)}", *_wrapped(f"{name}.", keys)]
    if command.config == "train":
        lines.append(
            f"  {EXPERIMENT}: {', '.join(sorted(path.stem for path in (config_dir() / EXPERIMENT).glob('*.yaml')))}"
        )
    return "\n".join([*lines, *(["", "settings:", *settings] if settings else [])])


def _default(field: Any) -> Any:  # noqa: ANN401 - dataclasses.Field is not generic over its default
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def _plain(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(_plain(entry) for entry in value)}]"
    return value.name if isinstance(value, Enum) else str(value)


def _wrapped(prefix: str, keys: list[str], width: int = 100) -> list[str]:
    lines, line = [], "     "
    for key in keys:
        if len(line) + len(prefix + key) > width:
            lines.append(line)
            line = "     "
        line += f" {prefix}{key}"
    return [*lines, line]
