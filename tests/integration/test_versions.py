"""Versions beside each other: leased while in use, collected when not, rolled back to. Builds use a stub encoder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexing import storage
from indexing.errors import ArtifactNotFound
from indexing.storage import FileSystem
from shortlist.building.job import build
from shortlist.bundle import live_version, open_bundle
from shortlist.leases import MANIFEST, lease
from tools.reliability.harness.shop import build_config, stub_encoder, write_model, write_shop

Publish = Callable[..., str]


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

    class Supersedes(FileSystem):
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
