"""Files that are none: links, pipes, folders, and files too large to be what they should be."""

import os
from collections.abc import Iterator
from pathlib import Path

from tools.reliability.harness.draft import CURRENT, MANIFEST, Draft
from tools.reliability.harness.hostile_kinds.kind import HostileKind


def special_files() -> Iterator[HostileKind]:
    """Yield files and folders that are links, pipes or too large."""
    for name in ("rows", "products.parquet", "index/faiss.index", "encoder/model.safetensors", "canary.json", MANIFEST):
        yield HostileKind(
            f"{name} is a link to /etc/passwd", lambda draft, name=name: _link(draft, name, "/etc/passwd")
        )  # type: ignore[misc]
        yield HostileKind(f"{name} is a link to itself", lambda draft, name=name: _link(draft, name, name))  # type: ignore[misc]
        yield HostileKind(f"{name} is a pipe", lambda draft, name=name: _pipe(draft, name))  # type: ignore[misc]
        yield HostileKind(f"{name} is a folder", lambda draft, name=name: _folder(draft, name))  # type: ignore[misc]
    for name in ("encoder", "index", "lexical"):
        yield HostileKind(f"{name}/ lies elsewhere", lambda draft, name=name: _moved(draft, draft.folder / name))  # type: ignore[misc]
    yield HostileKind("the version lies elsewhere", lambda draft: _moved(draft, draft.folder))
    yield HostileKind("a manifest of 100 MB", lambda draft: os.truncate(draft.folder / MANIFEST, 100 << 20))
    yield HostileKind("CURRENT of 100 MB", lambda draft: os.truncate(draft.root / CURRENT, 100 << 20))


def _link(draft: Draft, name: str, target: str) -> None:
    (draft.folder / name).unlink()
    (draft.folder / name).symlink_to(target)


def _pipe(draft: Draft, name: str) -> None:
    (draft.folder / name).unlink()
    os.mkfifo(draft.folder / name)


def _folder(draft: Draft, name: str) -> None:
    (draft.folder / name).unlink()
    (draft.folder / name).mkdir()


def _moved(draft: Draft, folder: Path) -> None:
    elsewhere = draft.root.parent / f"elsewhere-{folder.name}"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
