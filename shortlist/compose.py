"""Turn a job's name and its overrides into a typed configuration, or into an error that says what was meant."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from indexing.errors import ConfigError
from retrieval.suggestions import did_you_mean
from shortlist.schemas import EXPERIMENT, GROUPS, JOBS, OPEN_MAPPINGS, PATH_KEYS, config_dir

Config = TypeVar("Config")


def load_config(schema: type[Config], overrides: Sequence[str] = ()) -> Config:
    """Compose the primary configuration of ``schema`` with Hydra overrides.

    Args:
        schema: A job's dataclass, one of `shortlist.schemas.JOBS`.
        overrides: Such as ``["catalog=icecat", "index=hnsw", "index.links=16"]``.

    Returns:
        A validated ``schema`` object; nothing in it is a Hydra type.

    Raises:
        ConfigError: Unknown key or group member (with a suggestion), wrong type, or a value that a schema refuses.
    """
    from omegaconf import OmegaConf

    job = next(name for name, registered in JOBS.items() if registered is schema)
    for override in overrides:
        _require_plain(override)
    composed = _compose(job, [_open(override) for override in overrides])
    try:
        built = OmegaConf.to_object(composed)
    except Exception as error:
        raise ConfigError(_plain(error)) from error
    if not isinstance(built, schema):
        raise TypeError(f"job {job!r} composed a {type(built).__name__}, expected {schema.__name__}")
    for key, value in _leaves(built):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} must be a number, got {value}")
    return built


def _leaves(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting of a configuration and of the groups in it, with its key."""
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _compose(job: str, overrides: Sequence[str]) -> Any:  # noqa: ANN401 - a DictConfig, which stays in this module
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _register()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        try:
            return compose(job, overrides=list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            groups = [
                text
                for text in overrides
                if re.fullmatch(r"\w+=\w*", text) and text.split("=")[0] in (*GROUPS, EXPERIMENT)
            ]
            raise ConfigError(_explain(error, overrides, lambda: _keys(compose(job, overrides=groups)))) from error


def _register() -> None:
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for job, schema in JOBS.items():
        store.store(name=f"schema_{job}", node=schema)
    for group, schemas in GROUPS.items():
        for name, schema in schemas.items():
            store.store(group=group, name=f"schema_{name}", node=schema)


def _require_plain(override: str) -> None:
    """Refuse what Hydra would do beyond setting a value: look values up elsewhere, or configure itself."""
    if "${" in override:
        raise ConfigError(f"{override!r} holds an interpolation, which is not taken; write the value itself")
    key = re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0]
    if re.split(r"[./]", key)[0] == "hydra":
        raise ConfigError(f"unknown configuration key {key!r}: Hydra itself cannot be configured here")


def _open(override: str) -> str:
    """Let ``catalog.fields.title=name`` add a key, and quote paths: Hydra's grammar would read ``=`` and commas."""
    if override.startswith(OPEN_MAPPINGS):
        return f"++{override}"
    key, separator, value = override.partition("=")
    if separator and key.endswith(PATH_KEYS) and value and value[0] not in "'\"":
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{key}="{escaped}"'
    return override


def _explain(error: Exception, overrides: Iterable[str], keys: Callable[[], list[str]]) -> str:
    """Say in our words what Hydra could not do; its own hint (``+key``) is wrong for a closed schema."""
    text = _plain(error)
    missing = re.search(r"Could not find '([\w./-]+)'", text)
    if missing:
        return _unknown_member(missing.group(1))
    for override in overrides:
        key = re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0]
        if "=" not in override:
            return f"{override!r} is not of the form key=value; options start with --, see: shortlist <command> --help"
        if f"'{key}'" in text and ("Could not override" in text or "No match in the defaults list" in text):
            return f"unknown configuration key {key!r}" + did_you_mean(key, keys())
        if f"Error merging override {override}" in text and error.__cause__ is not None:
            return f"{override}: {_plain(error.__cause__)}"
    return text


def _unknown_member(path: str) -> str:
    group, _, member = path.rpartition("/")
    members = sorted(file.stem for file in (config_dir() / group).glob("*.yaml")) if group else []
    return f"{group}={member} does not exist{did_you_mean(member, members)} ({group} can be: {', '.join(members)})"


def _keys(config: Any, prefix: str = "") -> list[str]:  # noqa: ANN401 - a DictConfig or a plain mapping
    from omegaconf import DictConfig, OmegaConf

    mapping: Any = OmegaConf.to_container(config) if isinstance(config, DictConfig) else config
    found: list[str] = []
    for key, value in mapping.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, dict):
            found += _keys(value, f"{prefix}{key}.")
    return found


def _plain(error: BaseException) -> str:
    """Return the innermost useful message, without OmegaConf's ``full_key:`` and ``object_type=`` lines repeated."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    text = " ".join(
        line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type=", "See https"))
    )
    if "missing mandatory value" in text:
        return f"{key} is required: give {key}=VALUE"
    unknown = re.match(r"'(\w+)' object has no attribute '(\w+)'", text)
    if unknown:
        return f"unknown configuration key {unknown.group(2)!r} (nothing can be added to {unknown.group(1)})"
    return f"{key}: {text}" if key and key not in text else text
