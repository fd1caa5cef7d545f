"""What the kernel says, what a way needs of it, and what is said when it cannot be had."""

from types import SimpleNamespace

import pytest

from indexing.errors import EnvironmentProblem
from retrieval.config import RuntimeConfig
from shortlist.config import System
from shortlist.evaluation.cost import memory
from shortlist.evaluation.cost.memory import needed_bytes, parse_rollup, weigh
from shortlist.evaluation.cost.records import Memory, MemoryPart
from shortlist.evaluation.cost.ways import Way

ROLLUP = """\
55d0c0a00000-7ffd2a9fe000 ---p 00000000 00:00 0                          [rollup]
Rss:                6200 kB
Pss:                3100 kB
Pss_Anon:           1000 kB
Pss_File:           2000 kB
Pss_Shmem:           100 kB
Anonymous:          1200 kB
Swap:                  0 kB
"""


def test_own_memory_and_files_are_what_is_resident_whoever_shares_it():
    assert parse_rollup(ROLLUP) == (1200 * 1024, 5000 * 1024)


WEIGHED = Memory(
    how="by hand",
    parts=(
        MemoryPart("libraries", 1_000, 100),
        MemoryPart("products", 200, 20),
        MemoryPart("vectors", 0, 7),
        MemoryPart("index", 300, 3),
        MemoryPart("lexical", 40, 0),
        MemoryPart("encoder", 5_000, 0),
        MemoryPart("reranker", 6_000, 0),
        MemoryPart("answering", 2, 1),
    ),
    answered=10,
)
OWN, OTHER = SimpleNamespace(kind="flat", own=True), SimpleNamespace(kind="hnsw", own=False)


def way(system: System, index, **values) -> Way:
    return Way(system=system, generation=None, index=index, depth=10, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "bytes_needed"),
    [
        (way(System.bm25, None), 1_100 + 220 + 40 + 3),
        (way(System.hybrid, OWN), 1_100 + 220 + 7 + 303 + 40 + 5_000 + 3),
        (way(System.hybrid, OTHER), 1_100 + 220 + 7 + 800 + 40 + 5_000 + 3),
        (way(System.hybrid_rerank, OWN, layers=6, all_layers=6), 12_673),
        (way(System.hybrid_rerank, OWN, layers=2, all_layers=6, dropped_bytes=4_000), 8_673),
    ],
)
def test_a_way_needs_the_parts_that_it_uses(asked: Way, bytes_needed: int):
    assert needed_bytes(WEIGHED, asked, {"flat": 303, "hnsw": 800}) == bytes_needed


def test_a_system_without_the_kernels_word_is_said_to_be_one(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "ROLLUP", tmp_path / "nowhere")
    with pytest.raises(EnvironmentProblem, match="nowhere does not exist: only Linux says what a process holds"):
        weigh(tmp_path, queries=[], runtime=RuntimeConfig(), depth=10)


def test_a_process_that_fails_is_reported_with_its_last_words(monkeypatch, tmp_path):
    silent, loud = tmp_path / "silent", tmp_path / "loud"
    silent.write_text("#!/bin/sh\nexit 7\n")
    loud.write_text("#!/bin/sh\necho first >&2; echo the last words >&2; exit 1\n")
    for program, words in ((silent, "exit code 7"), (loud, "the last words")):
        program.chmod(0o700)
        monkeypatch.setattr("sys.executable", str(program))
        with pytest.raises(EnvironmentProblem, match=f"the process that weighs the bundle failed: {words}"):
            weigh(tmp_path, queries=[], runtime=RuntimeConfig(), depth=10)
