"""What lies in a bundle's ``cache/`` may be anything: it changes no answer, and nothing opens because of it."""

import shutil
from pathlib import Path

import pytest

from indexing.errors import ArtifactCorrupt
from retrieval.config import Precision
from shortlist import SearchEngine
from shortlist.engine import TRUST


@pytest.fixture
def root(reranked: Path, tmp_path: Path) -> Path:
    shutil.copytree(reranked, tmp_path / "bundle")
    return tmp_path / "bundle"


def answers(root: Path, **options: str) -> list[tuple[str, float]]:
    with SearchEngine.open(root, probe=False, **options) as engine:  # type: ignore[arg-type]
        return [(hit.product_id, round(hit.score, 5)) for hit in engine.search("wireless mouse", k=10).hits]


@pytest.mark.parametrize("trust", TRUST)
@pytest.mark.parametrize("precision", list(Precision.__members__))
def test_garbage_in_place_of_whatever_an_opening_keeps_there_changes_no_answer(root: Path, trust: str, precision: str):
    before = answers(root, trust=trust, precision=precision)
    (root / "cache").mkdir(exist_ok=True)
    (root / "cache" / "digests.json").touch()
    (root / "cache" / "foreign.blob").touch()
    for path in [path for path in (root / "cache").rglob("*") if path.is_file()]:
        path.write_bytes(b"\x00\xff garbage" * max(1, path.stat().st_size // 9))
    assert answers(root, trust=trust, precision=precision) == before


def test_an_altered_file_is_refused_whatever_the_cache_remembers_of_it(root: Path):
    answers(root, trust="cached-digests")
    path = next(root.glob("versions/*/lexical/lengths.i32"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.unlink()  # the file may be shared with another copy by a hard link
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactCorrupt, match=r"lengths\.i32 was altered.*shortlist rollback"):
        SearchEngine.open(root, probe=False, trust="cached-digests")
