"""Unjudged first hits: each once, with every system that has it, the highest ranks first."""

from tools.unjudged import drawn, unjudged

HITS = {"hybrid": {"q1": ["a", "b", "c"], "q2": ["a"]}, "dense": {"q1": ["c", "a"], "q2": ["d"]}}
GRADES = {"q1": {"a": 0}, "q2": {"a": 3}}


def test_what_was_judged_is_left_out_even_with_a_grade_of_0():
    assert list(unjudged(HITS, GRADES)) == [
        ("q1", 2, "b", ("hybrid 2",)),
        ("q1", 1, "c", ("dense 1", "hybrid 3")),
        ("q2", 1, "d", ("dense 1",)),
    ]


def test_the_highest_ranks_are_shown_in_the_order_of_the_queries():
    found = list(unjudged(HITS, GRADES))
    assert [hit[2] for hit in drawn(found, 2, seed=7)] == ["c", "d"]
    assert drawn(found, 99, seed=7) == sorted(found)
    assert len({drawn(found, 1, seed=seed)[0] for seed in range(20)}) == 2
