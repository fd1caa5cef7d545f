"""A copy of a bundle's live version, live itself, for somebody who can write to the bundle to change.

Nothing that a serving process has mapped is written to: the live version's files are copied, shared segments replaced
by rename and put back at the end.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from indexing import storage
from shortlist.manifest import store_name

MANIFEST, CURRENT = "MANIFEST.json", "CURRENT"
NAME_TIME = "%Y-%m-%dT%H%M%SZ"


class Draft:
    """A copy of the live version under a newer name, live, and about to be harmed.

    Attributes:
        root: The bundle.
        folder: The copy.
        version: Its name.
        store: Folder of the vector store it uses.
    """

    def __init__(self, root: Path) -> None:
        """Copy the live version and make the copy live."""
        self.root = root
        self._current = (root / CURRENT).read_bytes()
        live = json.loads(self._current)["version"]
        moment = datetime.strptime(live.rpartition("-")[0], NAME_TIME) + timedelta(seconds=1)
        self.version = f"{moment:{NAME_TIME}}-{os.urandom(3).hex()}"
        self.folder = root / "versions" / self.version
        shutil.copytree(root / "versions" / live, self.folder)
        self.store = root / self.manifest["vectors"]["store"]
        self._replaced: dict[Path, bytes | None] = {}
        self._added: list[Path] = [self.folder]
        self.change_manifest(lambda manifest: manifest.update(version=self.version))

    @property
    def manifest(self) -> dict[str, Any]:
        """What the copy's manifest says now."""
        return dict(json.loads((self.folder / MANIFEST).read_bytes()))

    def change_manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the manifest and make CURRENT fit it."""
        manifest = self.manifest
        change(manifest)
        digest = storage.replace_json(self.folder / MANIFEST, manifest)
        storage.replace_json(self.root / CURRENT, {"manifest_sha256": digest.sha256, "version": self.version})

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file of the version, and no digest."""
        path = self.folder / name
        path.write_bytes(change(path.read_bytes()))

    def change_json(self, name: str, change: Callable[[Any], object]) -> None:
        """Change the value in a JSON file of the version, and no digest."""
        path = self.folder / name
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    def change_shared(self, path: Path, content: bytes | None) -> None:
        """Give a file outside the version another content, or remove it; it is put back by `withdraw`."""
        self._replaced.setdefault(path, path.read_bytes())
        if content is None:
            path.unlink()
        else:
            storage.replace_bytes(path, content)

    def fit(self, *, index: bool = True) -> None:
        """Make the index's record (unless it is what was harmed), the manifest and CURRENT say what the files are."""
        if index and _is_json(self.folder / "index" / "index.json"):
            self.change_json("index/index.json", self._fit_record)
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
        files = {path.relative_to(self.folder).as_posix(): asdict(storage.digest(path)) for path in paths}
        self.change_manifest(lambda manifest: manifest.update(files=files))

    def fit_fingerprint(self, fingerprint: dict[str, str]) -> None:
        """Make the manifest claim another fingerprint, with the vectors where that one keeps them."""
        store = self.root / store_name(fingerprint)
        if not store.exists():
            shutil.copytree(self.store, store)
            self._added.append(store)
        self.store = store

        def claim(manifest: dict[str, Any]) -> None:
            manifest["fingerprint"] = fingerprint
            manifest["vectors"]["store"] = store_name(fingerprint)

        self.change_manifest(claim)

    def withdraw(self) -> None:
        """Make the version before live again and remove what was added."""
        for path, content in self._replaced.items():
            if content is not None:
                storage.replace_bytes(path, content)
        storage.replace_bytes(self.root / CURRENT, self._current)
        for folder in self._added:
            shutil.rmtree(folder, ignore_errors=True)

    def _fit_record(self, record: dict[str, Any]) -> None:
        for name in record["files"]:
            record["files"][name] = asdict(storage.digest(self.folder / "index" / name))


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False
