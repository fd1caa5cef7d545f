"""The vector store against a dictionary: any sequence of appends and reopenings finds exactly what was put in."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexing import storage
from indexing.storage import FileSystem
from indexing.vectors import VectorStore


class UnsyncedFileSystem(FileSystem):
    def fsync(self, descriptor):
        pass


def vector_of(key):
    """A unit vector that only this key has (nearly)."""
    rows = np.frombuffer(key, np.uint8).astype(np.float32) + 1
    return rows / np.linalg.norm(rows)


# Few distinct bytes, so that keys share long prefixes and end in zeros.
KEYS = st.lists(st.sampled_from(b"\x00\x01\xff"), min_size=3, max_size=3).map(lambda end: bytes(13) + bytes(end))


@given(st.lists(st.lists(KEYS, unique=True, max_size=8), max_size=6), st.lists(KEYS, max_size=12), st.booleans())
def test_a_store_finds_what_was_appended_and_nothing_else(batches, wanted, reopen):
    with tempfile.TemporaryDirectory() as folder, storage.using(UnsyncedFileSystem()):
        store, rows = VectorStore.open(Path(folder), dim=16, create=True), {}
        for batch in batches:
            fresh = [key for key in batch if key not in rows]
            matrix = np.array([vector_of(key) for key in fresh], np.float32).reshape(-1, 16)
            appended = store.append(fresh, matrix)
            rows |= dict(zip(fresh, appended.tolist(), strict=True))
            if reopen:
                store = VectorStore.open(Path(folder), dim=16)
        assert sorted(rows.values()) == list(range(len(rows))) == list(range(store.count))
        assert store.find(wanted).tolist() == [rows.get(key, -1) for key in wanted]
        known = [key for key in wanted if key in rows]
        view = store.view(store.find(known))
        taken = view.take(np.arange(len(known)))
        blocks = [block for _, block in view.blocks(3)]
        assert np.array_equal(taken, np.array([vector_of(key) for key in known], np.float32).reshape(-1, 16))
        assert np.array_equal(np.concatenate([taken[:0], *blocks]), taken)
