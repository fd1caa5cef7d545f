import sys

import numpy as np
import pytest

from indexing import ArrayVectors, build_index, huge_pages
from indexing.config import HnswConfig, HnswSq8Config, IvfSq8Config
from indexing.huge_pages import use_huge_pages


@pytest.fixture
def advice(monkeypatch):
    """What the kernel is asked, as (first byte, bytes, advice); it grants what is not in `refused`."""

    class Advice(list):
        refused = frozenset()

        def give(self, address, size, advice):
            self.append((address, size, advice))
            return advice not in self.refused

    asked = Advice()
    monkeypatch.setattr(huge_pages, "_advise", asked.give)
    monkeypatch.setattr(sys, "platform", "linux")
    return asked


def test_whole_pages_within_the_array_are_asked_for_first_by_and_by_then_at_once(advice):
    array = np.zeros(3 * huge_pages._STEP + 1, np.uint8)[1:]
    done = use_huge_pages(array)
    (first, size, how), *steps = advice
    assert how == huge_pages._HUGE
    assert first % 4096 == 0
    assert size % 4096 == 0
    assert 0 <= first - array.ctypes.data < 4096
    assert 0 <= array.ctypes.data + array.nbytes - first - size < 4096
    assert {how for _, _, how in steps} == {huge_pages._COLLAPSE}
    assert [start for start, _, _ in steps] == [first + place * huge_pages._STEP for place in range(len(steps))]
    assert sum(size for _, size, _ in steps) == size == done


def test_what_the_kernel_refuses_is_left_at_that(advice):
    array = np.zeros(3 * huge_pages._STEP, np.uint8)
    advice.refused = {huge_pages._COLLAPSE}
    assert use_huge_pages(array, array) == 0
    assert len(advice) == 4
    advice.clear()
    advice.refused = {huge_pages._HUGE}
    assert use_huge_pages(array, array) == 0
    assert len(advice) == 2


def test_patience_ends(advice, monkeypatch):
    monkeypatch.setattr(huge_pages, "_PATIENCE_S", 0.0)
    assert use_huge_pages(np.zeros(huge_pages._STEP, np.uint8)) == 0
    assert [how for _, _, how in advice] == [huge_pages._HUGE]


def test_an_array_without_a_whole_page_and_another_system_are_not_bothered(advice, monkeypatch):
    assert use_huge_pages(np.zeros(100, np.uint8)) == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert use_huge_pages(np.zeros(huge_pages._STEP, np.uint8)) == 0
    assert advice == []


def test_nothing_that_lies_there_changes():
    array = np.random.default_rng(0).integers(0, 256, 5_000_001, np.uint8)
    copy = array.copy()
    use_huge_pages(array[1:])
    assert np.array_equal(array, copy)


@pytest.mark.parametrize(("config", "bytes_of_each"), [(HnswConfig(), 4), (HnswSq8Config(), 1), (IvfSq8Config(), 0)])
def test_a_graph_gets_them_for_its_links_and_for_what_lies_below(config, bytes_of_each, monkeypatch):
    given = []
    monkeypatch.setattr("indexing.faiss_index.use_huge_pages", lambda *arrays: given.extend(arrays))
    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    build_index(config, ArrayVectors(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    assert [array.nbytes for array in given[1:]] == ([300 * 16 * bytes_of_each] if bytes_of_each else [])
