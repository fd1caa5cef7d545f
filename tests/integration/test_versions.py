"""Versions beside each other: leased while in use, collected when not, rolled back to. Builds use a stub encoder."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    BuildLocked,
    CommitUncertain,
    ConfigError,
    FingerprintMismatch,
    StorageError,
)
from indexing.storage import FileSystem
from retrieval.config import EncoderConfig, TextConfig
from shortlist.building.job import build
from shortlist.bundle import VERSIONS, list_versions, live_version, open_bundle, version_names
from shortlist.cli import main
from shortlist.engine import SearchEngine
from shortlist.leases import MANIFEST, lease
from shortlist.versions import Collected, clean, rollback, superseded
from tools.reliability.harness.shop import StubEncoder, build_config, stub_encoder, write_model, write_shop

Publish = Callable[..., str]


class UnsyncedFileSystem(FileSystem):
    def fsync(self, descriptor):
        pass


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What is synced when is tried by tools/reliability/power.py."""
    with storage.using(UnsyncedFileSystem()):
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a shop, with = in it"


@pytest.fixture
def publish(tmp_path: Path, root: Path) -> Iterator[Publish]:
    """Return a function that builds and publishes a version and returns its name."""
    model, shop = write_model(tmp_path / "model"), write_shop(tmp_path / "shop")

    def publish(**changes: object) -> str:
        config = build_config(model)
        for name, value in changes.items():
            setattr(config, name, value)
        return build(config, source=shop, out=root).version

    with stub_encoder():
        yield publish


def is_leased(root: Path, version: str) -> bool:
    alone = storage.hold(root / "versions" / version / MANIFEST, alone=True)
    if alone is not None:
        alone.close()
    return alone is None


# --- leases -----------------------------------------------------------------------------------------------------------


def test_an_open_bundle_leases_its_version_until_nobody_refers_to_it(root: Path, publish: Publish):
    version = publish()
    assert not is_leased(root, version)
    bundle = open_bundle(root)
    assert is_leased(root, version)
    del bundle
    assert not is_leased(root, version)


def test_a_lease_is_given_back_at_once_when_closed(root: Path, publish: Publish):
    version = publish()
    with lease(root / "versions" / version):
        assert is_leased(root, version)
    assert not is_leased(root, version)


def test_a_bundle_that_fails_to_open_leases_nothing(root: Path, publish: Publish):
    version = publish()
    (root / "versions" / version / "rows").unlink()
    try:
        open_bundle(root)
    except Exception as error:  # noqa: BLE001 - kept, with all that its traceback refers to
        kept = error
    assert kept is not None
    assert not is_leased(root, version)


def test_a_version_that_is_not_there_cannot_be_leased(root: Path, publish: Publish):
    publish()
    with pytest.raises(ArtifactNotFound, match="the version was removed or never published"):
        lease(root / "versions" / "2026-01-01T000000Z-000000")


def test_a_reader_that_comes_too_late_opens_what_is_live_now(root: Path, publish: Publish):
    first = publish()

    class Supersedes(UnsyncedFileSystem):
        """Publishes another version and removes the first between reading CURRENT and leasing."""

        done = False

        def lock_shared(self, descriptor):
            if not self.done:
                self.done = True
                publish()
                shutil.rmtree(root / "versions" / first)
            super().lock_shared(descriptor)

    with storage.using(Supersedes()):
        opened = open_bundle(root)
    assert opened.manifest.version == live_version(root)[0] != first


def test_a_live_version_that_is_missing_is_an_error_and_not_an_endless_search(root: Path, publish: Publish):
    version = publish()
    shutil.rmtree(root / "versions" / version)
    with pytest.raises(ArtifactNotFound, match=rf"{version}/MANIFEST\.json is missing"):
        open_bundle(root)


# --- collection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "keep", "previous", "gone"),
    [
        ("e", 2, "", "abc"),
        ("e", 3, "", "ab"),
        ("e", 9, "", ""),
        ("c", 2, "", "ade"),  # rolled back to c: what came later is abandoned
        ("c", 3, "", "de"),
        ("a", 2, "", "bcde"),
        ("e", 3, "c", "ad"),  # d was never live, or no more: it counts for nothing
        ("e", 2, "a", "bcd"),  # the previous one stays, however old
    ],
)
def test_kept_are_the_live_version_the_one_before_and_older_ones_up_to_the_number(live, keep, previous, gone):
    assert superseded("edcba", live=live, keep=keep, previous=previous) == list(gone)


def test_a_build_leaves_as_many_versions_as_it_is_told(root: Path, publish: Publish):
    versions = [publish(keep_versions=2) for _ in range(4)]
    assert version_names(root) == versions[-2:]
    assert not list((root / VERSIONS).glob(".*"))
    versions += [publish(keep_versions=0) for _ in range(2)]
    assert version_names(root) == versions[-4:]


def test_a_version_that_is_open_is_collected_only_when_it_is_closed(root: Path, publish: Publish):
    first = publish()
    engine = SearchEngine.open(root, probe=False)
    for _ in range(3):
        publish(keep_versions=2)
    assert first in version_names(root)
    assert engine.search("red mouse", k=2).generation == first
    assert clean(root, keep=2).in_use == (first,)
    del engine
    assert clean(root, keep=2) == Collected(removed=(first,))
    assert first not in version_names(root)


def test_a_build_removes_what_a_rollback_abandoned_and_keeps_what_it_went_back_to(root: Path, publish: Publish):
    first, second, third = (publish() for _ in range(3))
    assert rollback(root, first, probing=False).previous == third
    fourth = publish()
    assert version_names(root) == [first, fourth]
    assert second not in version_names(root)


def test_nothing_is_collected_while_a_build_runs(root: Path, publish: Publish):
    publish()
    with storage.exclusive_lock(root / "LOCK", purpose="build"), pytest.raises(BuildLocked, match=r"\(build\)"):
        clean(root, keep=2)


def test_nothing_is_collected_when_nobody_knows_what_is_live(root: Path, publish: Publish):
    names = [publish(keep_versions=0) for _ in range(4)]
    (root / "CURRENT").write_bytes(b"{}\n")
    with pytest.raises(ArtifactCorrupt, match="CURRENT must hold"):
        clean(root, keep=2)
    assert version_names(root) == names


@pytest.mark.parametrize("keep", [1, -1])
def test_the_live_version_alone_is_too_few_to_keep(root: Path, publish: Publish, keep: int):
    publish()
    with pytest.raises(ValueError, match=f"at least 2 .*got {keep}"):
        clean(root, keep=keep)
    with pytest.raises(ValueError, match=f"keep_versions must be 0 .*got {keep}"):
        replace(build_config(root), keep_versions=keep)


def test_a_version_is_removed_whole_or_not_at_all_when_the_device_fails(root: Path, publish: Publish):
    first = publish(keep_versions=0)
    for _ in range(2):
        publish(keep_versions=0)

    class CannotRemove(UnsyncedFileSystem):
        def unlink(self, path):
            raise OSError(5, "Input/output error")

    with storage.using(CannotRemove()), pytest.raises(StorageError, match=r"could not remove .*Input/output error"):
        clean(root, keep=2)
    assert first not in version_names(root)  # half of it may be there still, under a name that nobody opens
    assert clean(root, keep=2) == Collected()
    assert not list((root / VERSIONS).glob(".*"))


def test_trouble_with_old_versions_does_not_fail_the_build_that_published(root: Path, publish: Publish, capsys):
    for _ in range(3):
        publish()

    class CannotRetire(UnsyncedFileSystem):
        def rename(self, source, target):
            if target.name.endswith(".removed"):
                raise OSError(5, "Input/output error")
            super().rename(source, target)

    with storage.using(CannotRetire()):
        version = publish()
    assert live_version(root)[0] == version
    assert "superseded versions could not all be removed" in capsys.readouterr().err


def test_stores_that_no_version_uses_go_on_request_alone(root: Path, tmp_path: Path, publish: Publish):
    publish()
    (before,) = (root / "vectors").iterdir()
    other = EncoderConfig(model=str(write_model(tmp_path / "other", seed=1)))
    publish(encoder=other)
    publish(encoder=other)
    (root / "vectors" / f"{before.name}.damaged-20260101T000000-abcd").mkdir()
    assert len(list((root / "vectors").iterdir())) == 3
    publish(encoder=other, keep_versions=2)  # the version that used it is gone
    assert before.is_dir()
    assert clean(root, keep=2).stores == (before.name, f"{before.name}.damaged-20260101T000000-abcd")
    assert len(list((root / "vectors").iterdir())) == 1
    SearchEngine.open(root, probe=False)


def test_no_store_is_removed_while_a_manifest_cannot_be_read(root: Path, publish: Publish):
    first = publish()
    publish()
    (root / VERSIONS / first / MANIFEST).write_bytes(b"{")
    (root / "vectors" / "unused").mkdir()
    with pytest.raises(ArtifactCorrupt, match="do not parse"):
        clean(root, keep=2)
    assert (root / "vectors" / "unused").is_dir()


def test_names_rise_although_the_clock_goes_back(root: Path, publish: Publish):
    publish()
    ahead = root / VERSIONS / "2999-12-31T235959Z-abcdef"
    shutil.copytree(root / VERSIONS / version_names(root)[0], ahead)
    assert publish(keep_versions=0).startswith("3000-01-01T000000Z-")


# --- rollback ---------------------------------------------------------------------------------------------------------


def test_rolling_back_goes_to_the_version_before_and_by_name_anywhere(root: Path, publish: Publish):
    first, second, third = (publish() for _ in range(3))
    assert (rollback(root, probing=False).version, live_version(root)[0]) == (second, second)
    assert rollback(root, probing=False).version == first
    assert rollback(root, third, probing=False).previous == first
    assert SearchEngine.open(root, probe=False).generation == third
    assert [version.live for version in list_versions(root)] == [True, False, False]


def test_there_must_be_something_to_go_back_to(root: Path, publish: Publish):
    first = publish()
    with pytest.raises(ConfigError, match=f"has no version older than {first}, which is live"):
        rollback(root, probing=False)
    with pytest.raises(ConfigError, match="is live already"):
        rollback(root, first, probing=False)
    with pytest.raises(ConfigError, match=r"has no version \.\./\.\./etc; it has 2"):
        rollback(root, "../../etc")


def test_a_damaged_version_is_not_gone_back_to(root: Path, publish: Publish):
    first = publish(text=TextConfig(fields=["title", "description"], separator=" "))
    second = publish()
    path = root / VERSIONS / first / "lexical" / "lengths.i32"
    content = path.read_bytes()
    path.unlink()  # the file is shared with the other version
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactCorrupt, match=r"lengths\.i32 was altered"):
        rollback(root, probing=False)
    assert live_version(root)[0] == second
    assert not is_leased(root, first)


def test_a_version_that_answers_otherwise_is_not_gone_back_to(root: Path, publish: Publish, monkeypatch):
    publish()
    second = publish()
    monkeypatch.setattr(StubEncoder, "encode_queries", lambda self, texts: -self.encode_products(texts))
    with pytest.raises(FingerprintMismatch, match="does not reproduce the bundle's stored queries"):
        rollback(root, probing=False)
    assert live_version(root)[0] == second


def test_no_rollback_while_a_build_runs(root: Path, publish: Publish):
    publish()
    publish()
    with storage.exclusive_lock(root / "LOCK", purpose="build"), pytest.raises(BuildLocked, match=r"\(build\)"):
        rollback(root, probing=False)


def test_a_rollback_whose_last_sync_failed_says_what_is_not_known_and_how_to_find_out(root: Path, publish: Publish):
    first = publish()
    publish()

    class FailsAtTheEnd(UnsyncedFileSystem):
        renamed = False

        def rename(self, source, target):
            super().rename(source, target)
            self.renamed = target.name == "CURRENT"

        def fsync(self, descriptor):
            if self.renamed:
                raise OSError(5, "Input/output error")
            super().fsync(descriptor)

    message = f"{first} is live, but after a power cut the version before may be: .*find out with: shortlist versions"
    with storage.using(FailsAtTheEnd()), pytest.raises(CommitUncertain, match=message):
        rollback(root, probing=False)
    assert live_version(root)[0] == first


# --- command line -----------------------------------------------------------------------------------------------------


def test_the_commands_list_collect_and_roll_back(root: Path, publish: Publish, capsys):
    first, second, third, fourth = (publish(keep_versions=0) for _ in range(4))
    assert main(["versions", "--bundle", str(root), "--collect", "--keep", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["removed"] == [first]
    assert [version["version"] for version in printed["versions"]] == [fourth, third, second]
    assert main(["rollback", "--bundle", str(root)]) == 0
    assert capsys.readouterr().out == f"{third} is live; {fourth} was\n"
    assert main(["rollback", second, "--bundle", str(root)]) == 0
    assert live_version(root)[0] == second
    capsys.readouterr()
    assert main(["versions", "--bundle", str(root), "--collect"]) == 0
    assert f"  removed {third}\n  removed {fourth}\n* {second}" in capsys.readouterr().out
    for words in (["--keep", "3"], ["--collect", "--keep", "few"], ["--collect", "--keep", "1"]):
        assert main(["versions", "--bundle", str(root), *words]) == 2
    assert "got 1" in capsys.readouterr().err
    assert main(["rollback", "--bundle", str(root), "2020-01-01T000000Z-000000"]) == 2
