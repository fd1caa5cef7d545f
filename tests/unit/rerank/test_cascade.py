"""Two cross-encoders that can be a cascade, and what is refused; what one stage leaves for the next."""

import json
import shutil

import numpy as np
import pytest

from indexing.errors import ConfigError
from rerank.cascade import require_cascade
from rerank.config import CrossEncoderConfig
from rerank.corrected import Corrected, write_trees
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.fingerprint import reranker_fingerprint
from rerank.folder import FUSION_FILE
from rerank.reranker import TAIL_GAP, as_candidates, as_ranked, reorder
from rerank.trees import read_trees
from retrieval.records import Candidate

CONFIG = CrossEncoderConfig(model="x", student="y", weight=0.5)


@pytest.fixture
def folders(tiny_cross_encoder_folder, tmp_path):
    for name in ("whole", "student"):
        shutil.copytree(tiny_cross_encoder_folder, tmp_path / name)
        (tmp_path / name / FUSION_FILE).write_text(json.dumps({"weight": 0.4}))
    return tmp_path / "whole", tmp_path / "student"


def test_two_cross_encoders_with_a_say_can_be_a_cascade(folders):
    before = [(folder / FUSION_FILE).read_bytes() for folder in folders]
    require_cascade(CONFIG, *folders)  # raises where it refuses
    assert [(folder / FUSION_FILE).read_bytes() for folder in folders] == before


def test_a_student_that_weighs_nothing_and_trees_that_know_of_none_are_refused(folders):
    whole, student = folders
    write_trees(whole, Corrected(Convex(0.4), read_trees([], features=len(FEATURES))), {})
    with pytest.raises(ConfigError, match=r"trees that were learned .* or set reranker\.weight"):
        require_cascade(CrossEncoderConfig(model="x", student="y"), whole, student)
    require_cascade(CONFIG, whole, student)
    (student / FUSION_FILE).write_text(json.dumps({"weight": 0.0}))
    with pytest.raises(ConfigError, match=r"weighs 0 .* cannot order what it passes on"):
        require_cascade(CONFIG, whole, student)
    with pytest.raises(ConfigError, match=r"no modules\.json"):
        require_cascade(CONFIG, whole, student.parent)


def test_as_many_are_passed_on_as_an_answer_is_judged_by():
    with pytest.raises(ValueError, match=r"reranker\.passes must be at least 10, got 9"):
        CrossEncoderConfig(model="x", passes=9)


def test_the_fingerprint_of_a_cascade_is_that_of_both_and_of_how_many_are_passed_on(folders):
    whole, student = folders
    alone, both = reranker_fingerprint(whole, CONFIG), reranker_fingerprint(whole, CONFIG, student)
    assert {name: value for name, value in both.fields.items() if not name.startswith("student_")} == alone.fields
    assert both.fields["student_weights"] == both.fields["weights"]
    assert (both.fields["student_final_weight"], both.fields["student_passes"]) == ("0.4", "20")
    other = CrossEncoderConfig(model="x", student="y", weight=0.5, passes=30)
    changed = reranker_fingerprint(whole, other, student).fields
    assert {name for name in changed if changed[name] != both.fields[name]} == {"student_passes"}


def test_a_further_stage_orders_those_it_saw_and_leaves_the_others_behind_them():
    first = as_ranked([Candidate(name, 0, 4 - place, 1, {"dense": 0.5}) for place, name in enumerate("abcd")])
    said, final = np.float32([1, 2, 3]), np.float32([0, 1, 2])
    once = reorder(first, said, final, stage="student")
    assert [(one.product_id, one.score) for one in once] == [("c", 2), ("b", 1), ("a", 0), ("d", -TAIL_GAP - 1)]
    twice = reorder(once, np.float32([5, 7]), np.float32([-1, 1]), stage="rerank")
    assert [one.product_id for one in twice] == ["b", "c", "a", "d"]
    assert [one.score for one in twice] == [1, -1, -TAIL_GAP - 2, -2 * TAIL_GAP - 3]
    assert twice[0].stages == {"dense": 0.5, "fusion": 3, "student": 2, "rerank": 7}
    assert [one.rank for one in as_candidates(twice)] == [1, 2, 3, 4]
    assert as_candidates(twice)[0].sources == twice[0].stages
    assert reorder(once, np.float32([]), np.float32([]), stage="rerank") == once
    with pytest.raises(ValueError, match="best first"):
        reorder(once[::-1], said, final, stage="rerank")
