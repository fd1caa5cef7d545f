"""Every kind of harmed version is refused when a bundle is opened; tools/reliability/harness makes them."""

import json
import shutil
from pathlib import Path

import pytest

from indexing.errors import ArtifactError
from shortlist import SearchEngine
from tools.reliability.harness.bad_candidates import BAD_CANDIDATES
from tools.reliability.harness.bad_candidates.kind import BadCandidate, offered


@pytest.fixture(scope="module")
def shared_bundle(reranked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the reranking bundle; every test leaves it as it was."""
    root = tmp_path_factory.mktemp("offered") / "bundle"
    shutil.copytree(reranked, root)
    return root


def test_there_are_at_least_twenty_kinds_and_each_has_a_name_of_its_own():
    names = [kind.name for kind in BAD_CANDIDATES]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.parametrize("kind", BAD_CANDIDATES, ids=lambda kind: kind.name)
def test_a_bad_candidate_is_refused_with_its_code(shared_bundle: Path, kind):
    with offered(shared_bundle, kind), pytest.raises(ArtifactError) as refused:
        SearchEngine.open(shared_bundle)
    assert refused.value.code == kind.code, refused.value


def test_a_copy_without_harm_is_accepted_and_withdrawing_leaves_the_bundle_as_it_was(shared_bundle: Path):
    before = {path: path.read_bytes() for path in shared_bundle.rglob("*") if path.is_file()}
    harmless = BadCandidate("harmless", "", lambda draft: draft.fit())
    with offered(shared_bundle, harmless) as version:
        assert SearchEngine.open(shared_bundle).generation == version
        assert json.loads((shared_bundle / "CURRENT").read_bytes())["version"] == version
    assert {path: path.read_bytes() for path in shared_bundle.rglob("*") if path.is_file()} == before
