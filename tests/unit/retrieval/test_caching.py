import threading

import pytest

from retrieval.caching import BoundedCache, CacheState


def test_the_entry_used_last_is_kept_longest():
    cache = BoundedCache(entries=2, size_bytes=100)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert cache.state() == CacheState(entries=2, size_bytes=20, hits=3, misses=1, evicted=1)


def test_bytes_are_a_limit_of_their_own_and_what_is_too_large_for_all_of_it_is_not_kept():
    cache = BoundedCache(entries=10, size_bytes=100)
    cache.put("a", 1, 60)
    cache.put("b", 2, 40)
    cache.put("c", 3, 1)
    assert [cache.get(key) for key in "abc"] == [None, 2, 3]
    cache.put("d", 4, 101)
    assert (cache.get("d"), cache.state().size_bytes) == (None, 41)


def test_a_value_that_comes_again_takes_the_place_and_the_bytes_of_the_one_before():
    cache = BoundedCache(entries=10, size_bytes=100)
    cache.put("a", 1, 90)
    cache.put("a", 2, 20)
    assert (cache.get("a"), cache.state().size_bytes, cache.state().evicted) == (2, 20, 0)
    cache.clear()
    assert (cache.get("a"), cache.state().entries, cache.state().size_bytes) == (None, 0, 0)


@pytest.mark.parametrize("limits", [{"entries": 0, "size_bytes": 100}, {"entries": 10, "size_bytes": 0}])
def test_of_size_0_nothing_is_kept(limits):
    cache = BoundedCache(**limits)
    cache.put("a", 1, 0)
    assert not cache.is_on
    assert cache.get("a") is None


def test_a_size_below_0_is_refused():
    with pytest.raises(ValueError, match="0 or more entries and bytes, got -1 and 5"):
        BoundedCache(entries=-1, size_bytes=5)


def test_threads_that_put_and_get_leave_the_counts_right():
    cache = BoundedCache(entries=50, size_bytes=10_000)

    def work(seed):
        for n in range(2000):
            key = (n * seed) % 97
            cache.put(key, key, 7)
            assert cache.get((n * 3) % 97) in (None, (n * 3) % 97)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = cache.state()
    assert (state.entries, state.size_bytes) == (50, 350)
    assert state.hits + state.misses == 8000
