"""Postings written block by block are those of the twin in memory, to the byte."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.errors import StorageError
from indexing.storage import FileSystem, using
from retrieval.postings import Postings
from retrieval.postings_file import write_postings

TEXT = st.lists(st.sampled_from(["lamp", "Lampe", "äpfel", "éclair", "2x4", "зонт", "椅子", "𝔘𝔫𝔦", "a1b2"]), max_size=6)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT.map(" ".join), max_size=30), block_products=st.integers(1, 9))
def test_blocks_merge_to_the_files_that_one_pass_in_memory_writes(tmp_path_factory, texts, block_products):
    folder = tmp_path_factory.mktemp("postings")
    expected = Postings.build(texts).write(folder / "twin")
    digests = write_postings(iter(texts), folder / "merged", block_products=block_products)
    assert digests == expected
    assert contents(folder / "merged") == contents(folder / "twin")
    assert sorted(path.name for path in folder.iterdir()) == ["merged", "twin"]


def test_the_merged_files_open(tmp_path):
    write_postings(["red lamp", "lamp lamp", "chair"], tmp_path / "lexical", block_products=1)
    rows, frequencies = Postings.open(tmp_path / "lexical").of("lamp")
    assert rows.tolist() == [0, 1]
    assert frequencies.tolist() == [1, 2]


def test_memory_does_not_grow_with_the_number_of_products_or_of_words(tmp_path):
    def peak(count):
        tracemalloc.start()
        texts = (f"lamp number{n} model{n * 7} shade" for n in range(count))
        write_postings(texts, tmp_path / str(count), block_products=500)
        peaked = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peaked

    small, large = peak(2_000), peak(16_000)  # 32,000 distinct words take 4 MB as a dictionary
    assert large - small < 28 * 100_000  # the blocks' read buffers, 64 KiB each, and nothing else


def test_a_disk_that_fills_up_leaves_no_blocks_behind(tmp_path):
    class Full(FileSystem):
        def write(self, descriptor, content):
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space"), using(Full()):
        write_postings(["lamp"], tmp_path / "lexical")
    assert not (tmp_path / "lexical.blocks").exists()
