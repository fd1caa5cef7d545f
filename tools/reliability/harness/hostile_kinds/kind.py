"""One hostile kind, and the ways to make one out of a change to a file of a draft."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from indexing.errors import ShortlistError
from tools.reliability.harness.draft import Draft
from tools.reliability.harness.forging import fingerprint_of, fit_reranker

PAYLOAD = "sentinel_payload"

CODE = (f"{PAYLOAD}.touch", "os.system", "builtins.exec", "subprocess.Popen")
"""Names that must never be looked up, let alone called."""

PICKLE = f"c{PAYLOAD}\ntouch\n(tR.".encode()
"""Imports and calls the payload when it is read."""


@dataclass(frozen=True)
class HostileKind:
    """One kind.

    Attributes:
        name: What was done, for reports.
        harm: Does it to a draft.
        overrides: Words for the composition of a build's configuration, in place of ``harm``.
    """

    name: str
    harm: Callable[[Draft], None] | None = None
    overrides: tuple[str, ...] = field(default=())


def on_manifest(name: str, change: Callable[[dict[str, Any]], object]) -> HostileKind:
    """Return a kind that changes the manifest."""
    return HostileKind(f"manifest: {name}", lambda draft: draft.change_manifest(change))


def on_part(part: str, change: dict[str, Any]) -> HostileKind:
    """Return a kind that puts something into one of the manifest's parts."""
    return HostileKind(
        f"manifest: {part} with {change!r}",
        lambda draft: draft.change_manifest(lambda manifest: manifest[part].update(change)),
    )


def on_bytes(name: str, file: str, change: Callable[[bytes], bytes]) -> HostileKind:
    """Return a kind that changes a file and makes hashes fit."""

    def harm(draft: Draft) -> None:
        draft.change(file, change)
        draft.fit(index=file != "index/index.json")

    return HostileKind(name, harm)


def on_json(file: str, change: Callable[[Any], object], what: str) -> HostileKind:
    """Return a kind that changes a JSON file and makes hashes and fingerprints fit."""

    def harm(draft: Draft) -> None:
        draft.change_json(file, change)
        fit_all(draft)

    return HostileKind(f"{file}: {what}", harm)


def fit_all(draft: Draft) -> None:
    """Make hashes fit, and fingerprints where there are any."""
    draft.fit()
    with suppress(ShortlistError):  # what has no fingerprint keeps the old one, and opening refuses it before
        draft.fit_fingerprint(fingerprint_of(draft))
    with suppress(ShortlistError):
        fit_reranker(draft)


def with_file(name: str, content: bytes, *, without: str = "") -> HostileKind:
    """Return a kind that adds a file, in place of another one if need be, and makes hashes fit."""

    def harm(draft: Draft) -> None:
        if without:
            (draft.folder / without).unlink()
        (draft.folder / name).write_bytes(content)
        draft.fit()

    return HostileKind(f"{name} is there", harm)
