"""Digests are remembered for callers who ask for it, and forgotten with every change that a file system shows."""

import json
import os
from pathlib import Path

import pytest

from indexing import storage
from shortlist import digest_cache
from shortlist.digest_cache import DigestCache


@pytest.fixture(autouse=True)
def _files_settle_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digest_cache, "SETTLED_S", -1.0)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read."""
    names: list[str] = []
    digest = storage.digest

    def counted(path: Path) -> storage.FileDigest:
        names.append(path.name)
        return digest(path)

    monkeypatch.setattr(storage, "digest", counted)
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    for name in ("a", "b"):
        (tmp_path / "bundle" / name).write_bytes(name.encode() * 100)
    return tmp_path / "bundle"


def ask(root: Path, *names: str) -> list[str]:
    cache = DigestCache(root)
    found = [cache.digest(root / name).sha256 for name in names]
    cache.write()
    return found


def test_the_second_opening_reads_nothing(root: Path, hashed: list[str]):
    first = ask(root, "a", "b")
    assert hashed == ["a", "b"]
    assert ask(root, "a", "b") == first
    assert hashed == ["a", "b"]
    assert DigestCache(root).digest(root / "a") == storage.digest(root / "a")


@pytest.mark.parametrize("way", ["written to", "replaced", "written to with its time set back", "made longer"])
def test_a_changed_file_is_hashed_again(root: Path, hashed: list[str], way: str):
    before = ask(root, "a", "b")
    status = (root / "a").stat()
    if way == "replaced":
        (root / "new").write_bytes(b"x" * 100)
        os.utime(root / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
        (root / "new").rename(root / "a")
    else:
        with (root / "a").open("r+b") as file:
            file.write(b"x" * (101 if way == "made longer" else 1))
    if "set back" in way:
        os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    hashed.clear()
    after = ask(root, "a", "b")
    assert hashed == ["a"]
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)


def test_a_file_that_has_just_changed_is_not_remembered(root: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digest_cache, "SETTLED_S", 3600.0)
    ask(root, "a")
    ask(root, "a")
    assert hashed == ["a", "a"]


def test_only_the_files_of_the_last_opening_are_kept(root: Path):
    ask(root, "a", "b")
    ask(root, "b")
    assert len(json.loads((root / "cache" / "digests.json").read_bytes())["digests"]) == 1


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"format": 2, "digests": {}}', b'{"format": 1, "digests": []}', b'{"format": 1}']
)
def test_a_cache_that_is_none_is_as_good_as_none(root: Path, hashed: list[str], content: bytes):
    (root / "cache").mkdir()
    (root / "cache" / "digests.json").write_bytes(content)
    ask(root, "a")
    ask(root, "a")
    assert hashed == ["a"]


def test_a_read_only_bundle_is_remembered_by_the_user(root: Path, tmp_path: Path, hashed, monkeypatch):
    monkeypatch.setattr(digest_cache.os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    ask(root, "a")
    ask(root, "a")
    assert hashed == ["a"]
    assert not (root / "cache").exists()
    assert len(list((tmp_path / "home" / "shortlist").glob("*.json"))) == 1


def test_where_nothing_can_be_written_every_file_is_hashed(root: Path, tmp_path: Path, hashed, monkeypatch):
    (tmp_path / "home").write_bytes(b"a file")
    monkeypatch.setattr(digest_cache.os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    ask(root, "a")
    ask(root, "a")
    assert hashed == ["a", "a"]
