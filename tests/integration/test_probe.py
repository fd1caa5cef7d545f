"""Indexes and products are loaded by a child first: what kills the child, or holds it up, does no harm here."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexing.errors import ArtifactCorrupt, ArtifactError, ArtifactUntrusted, EnvironmentProblem
from shortlist import SearchEngine, probe
from shortlist.bundle import Bundle, open_bundle
from shortlist.probe import Probe
from tools.reliability.harness.bad_candidates import BAD_CANDIDATES
from tools.reliability.harness.bad_candidates.kind import BadCandidate, offered
from tools.reliability.harness.forging import change_products, change_vectors

KINDS = {kind.name: kind for kind in BAD_CANDIDATES}


@pytest.fixture(autouse=True)
def _nothing_passed_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_passed", set())


def child(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Run this program in place of the child."""
    monkeypatch.setattr(probe, "CHILD", ("-c", program))


def try_out(bundle: Bundle, **options: float) -> None:
    with Probe(bundle, **options) as running:
        running.wait()


def test_a_good_version_passes_and_is_not_tried_again_by_this_process(published: Path, monkeypatch: pytest.MonkeyPatch):
    try_out(open_bundle(published))
    child(monkeypatch, "raise SystemExit(9)")
    try_out(open_bundle(published))
    assert len(probe._passed) == 1


def test_the_child_loads_neither_torch_nor_what_builds_on_it():
    program = "import sys, shortlist.probe_child; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "'faiss'" in loaded
    assert "'pyarrow'" in loaded
    for heavy in ("torch", "transformers", "sentence_transformers", "tokenizers", "hydra"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("import os; os.kill(os.getpid(), 11)", r"signal 11 \(SIGSEGV\)"),
        ("import os; os.abort()", r"signal 6 \(SIGABRT\)"),
        ("import os; os.kill(os.getpid(), 9)", r"signal 9 \(SIGKILL, as when memory runs out\)"),
    ],
)
def test_a_loader_that_crashes_is_a_refused_version_and_the_signal_is_named(
    published: Path, monkeypatch: pytest.MonkeyPatch, program: str, name: str
):
    child(monkeypatch, program)
    with pytest.raises(ArtifactCorrupt, match=f"was killed by {name}; nothing of them was loaded here"):
        SearchEngine.open(published)
    assert len(SearchEngine.open(published, probe=False).search("couch").hits) == 10


def test_a_loader_that_does_not_end_is_ended(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = tmp_path / "pid"
    child(monkeypatch, f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with pytest.raises(ArtifactCorrupt, match="did not end within 2 s"):
        try_out(open_bundle(published), timeout_s=2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_an_error_meanwhile_ends_the_child(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = tmp_path / "pid"
    child(monkeypatch, f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    def fail() -> None:
        while not told.exists() or not told.read_text():
            time.sleep(0.01)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Probe(open_bundle(published)):
        fail()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_a_small_file_that_unpacks_to_more_memory_than_it_accounts_for_is_refused(
    reranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Sixty times the same eight megabytes, which a dictionary stores once."""
    monkeypatch.setattr(probe, "BASE_BYTES", 1100 << 20)
    root = tmp_path / "bundle"
    shutil.copytree(reranked, root)
    try_out(open_bundle(root))

    def inflate(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index("description")
        return table.set_column(column, "description", pa.array(["a" * (8 << 20)] * table.num_rows))

    bomb = BadCandidate("bomb", "artifact_corrupt", lambda draft: change_products(draft, inflate))
    with offered(root, bomb):
        assert (open_bundle(root).folder / "products.parquet").stat().st_size < 100_000
        with pytest.raises(ArtifactCorrupt, match=r"memory|does not read as Parquet: .*alloc"):
            try_out(open_bundle(root))


def test_the_limit_leaves_room_for_what_the_files_need(published: Path):
    assert probe.limit_bytes(open_bundle(published)) > 2 << 30


@pytest.mark.parametrize(
    "name",
    ["index_is_of_another_type", "products_are_no_parquet", "lexical_counts_are_others", "product_ids_are_swapped"],
)
def test_what_the_child_refuses_is_raised_with_its_own_type_and_message(reranked: Path, tmp_path: Path, name: str):
    root = tmp_path / "bundle"
    shutil.copytree(reranked, root)
    with offered(root, KINDS[name]), pytest.raises(ArtifactError) as refused:
        try_out(open_bundle(root))
    assert refused.value.code == KINDS[name].code
    assert type(refused.value) in (ArtifactCorrupt, ArtifactUntrusted)
    assert str(root) in str(refused.value) or "stored search" in str(refused.value) or "product '" in str(refused.value)


def test_a_vector_that_is_no_number_is_found_though_no_search_returns_it(reranked: Path, tmp_path: Path):
    root = tmp_path / "bundle"
    shutil.copytree(reranked, root)

    def spoil(vectors: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(vectors))[:, np.newaxis] == 37, np.float32("nan"), vectors)

    kind = BadCandidate("nan", "artifact_corrupt", lambda draft: change_vectors(draft, spoil))
    with offered(root, kind), pytest.raises(ArtifactCorrupt, match="1 of 60 vectors cannot be indexed: row 37 is not"):
        try_out(open_bundle(root))


def test_a_child_that_cannot_start_or_work_says_how_to_do_without(published: Path, monkeypatch: pytest.MonkeyPatch):
    child(monkeypatch, "import sys; print('no such module', file=sys.stderr); sys.exit(7)")
    with pytest.raises(EnvironmentProblem, match=r"ended with 7 \(no such module\); .*probe=False"):
        try_out(open_bundle(published))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EnvironmentProblem, match=r"could not start /nonexistent/python .*probe=False"):
        try_out(open_bundle(published))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EnvironmentProblem, match="could not start the Python interpreter"):
        try_out(open_bundle(published))
