"""Configuration objects as JSON inside an artefact: by registry name, never by a class path.

What an artefact says can only select among the schemas that this release registers, and fill their declared fields.
"""

from dataclasses import Field, fields
from enum import Enum
from typing import Any, TypeVar

from indexing.errors import ArtifactIncompatible, ArtifactUntrusted
from shortlist.schemas import GROUPS

Config = TypeVar("Config")


def freeze(group: str, config: object) -> dict[str, Any]:
    """Return ``config`` as JSON values, with its registry name under ``kind``.

    Args:
        group: Configuration group, such as ``index``.
        config: An object of one of the group's schemas.
    """
    kind = next(name for name, schema in GROUPS[group].items() if type(config) is schema)
    values = {field.name: getattr(config, field.name) for field in fields(config)}  # type: ignore[arg-type]
    plain = {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}
    return {"kind": kind, **plain}


def thaw(group: str, stored: dict[str, Any], expected: type[Config]) -> Config:
    """Rebuild what ``freeze`` wrote.

    Args:
        group: Configuration group.
        stored: JSON values with ``kind``.
        expected: Base class that the result must have.

    Raises:
        ArtifactUntrusted: An unknown ``kind`` or key: this release never writes it.
        ArtifactIncompatible: A value that the schema refuses.
    """
    values = dict(stored)
    schema: Any = GROUPS[group].get(str(values.pop("kind", None)))  # what it makes is checked below
    if schema is None or not issubclass(schema, expected):
        raise ArtifactUntrusted(
            f"{group} kind {stored.get('kind')!r} is unknown; known: {', '.join(sorted(GROUPS[group]))}"
        )
    known = {field.name for field in fields(schema)}
    if not set(values) <= known:
        raise ArtifactUntrusted(f"{group} {stored['kind']} holds unknown keys {sorted(set(values) - known)}")
    try:
        for field in fields(schema):
            if field.name in values:
                _require_type(field, values[field.name])
        built: Config = schema(**values)
    except (TypeError, ValueError) as error:
        raise ArtifactIncompatible(f"{group} {stored['kind']} in the artefact cannot be used: {error}") from error
    return built


def _require_type(field: "Field[Any]", value: object) -> None:
    """Refuse a value of another type than the schema declares; its own checks compare numbers and would not notice."""
    declared = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    if declared == "list":
        fits = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    else:
        kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
        fits = isinstance(value, kinds.get(declared, (object,))) and (declared == "bool" or not isinstance(value, bool))
    if not fits:
        raise TypeError(f"{field.name} must be of type {declared}, got {value!r:.100}")
