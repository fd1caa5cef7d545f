"""Trees as plain arrays: what LightGBM says to the last digit, taken apart, stored, and refused when altered."""

import json
import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from rerank.boosting import SETTINGS, trees_of
from rerank.config import CrossEncoderConfig
from rerank.corrected import TREES_FILE, Corrected, fusion_of, read_corrected, write_trees
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.folder import FUSION_FILE
from rerank.fusion import partial_scores
from rerank.trees import LEAF, read_trees
from retrieval.records import Candidate, Product

F = len(FEATURES)
STUMP = {"feature": [7, LEAF, LEAF], "threshold": [0.5, 0, 0], "left": [1, 1, 2], "right": [2, 1, 2]}
STUMP["value"] = [0.25, -1.0, 2.0]  # title_words above a half: 2, else -1


@pytest.fixture(scope="module")
def booster():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(600, F)).round(1)  # rounded, so that values meet thresholds
    grades = ((rows[:, 0] + rows[:, 7] * rows[:, 3] > 0.3) + (rows[:, 9] > 1)).astype(int)
    learned = lightgbm.Dataset(rows, label=grades, group=[20] * 30)
    return lightgbm.train({**SETTINGS, "label_gain": [0, 1, 2]}, learned, num_boost_round=20), rows


def test_trees_say_what_the_library_that_learned_them_says(booster):
    library, rows = booster
    trees = trees_of(library.dump_model())
    assert len(trees.roots) == 20
    assert trees.feature.max() > 0
    other = np.concatenate([rows, np.random.default_rng(4).normal(size=(200, F)) * 3])
    assert trees.scores(other) == pytest.approx(library.predict(other, raw_score=True), abs=1e-12)
    again = read_trees(json.loads(json.dumps(trees.plain())), features=F)
    assert again.scores(other).tolist() == trees.scores(other).tolist()


def test_what_each_feature_adds_sums_to_the_score(booster):
    library, rows = booster
    trees = trees_of(library.dump_model())
    found, alike = trees.contributions(rows)
    assert found.sum(axis=1) + alike == pytest.approx(trees.scores(rows), abs=1e-12)
    stump = read_trees([STUMP], features=F)
    rows = np.zeros((2, F))
    rows[1, 7] = 0.6
    found, alike = stump.contributions(rows)
    assert (found[:, 7].tolist(), alike, stump.scores(rows).tolist()) == ([-1.25, 1.75], 0.25, [-1.0, 2.0])


def test_no_trees_and_no_rows_give_zeros_and_nothing():
    none = read_trees([], features=F)
    assert none.plain() == []
    assert none.scores(np.ones((3, F))).tolist() == [0.0, 0.0, 0.0]
    assert not none.contributions(np.ones((3, F)))[0].any()
    assert read_trees([STUMP], features=F).scores(np.ones((0, F))).tolist() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"left": [0, 1, 2]}, "must look at one of .* and go on to a later node of 3"),  # a loop
        ({"right": [3, 1, 2]}, "go on to a later node of 3"),
        ({"feature": [F, LEAF, LEAF]}, f"one of {F} features"),
        ({"feature": [7.0, LEAF, LEAF]}, "must be whole numbers"),
        ({"feature": [True, LEAF, LEAF]}, "must be whole numbers"),
        ({"left": [1, 2, 2]}, "is a leaf and must follow itself"),
        ({"value": [0.0, float("nan"), 1.0]}, "expected a finite number, got nan"),
        ({"threshold": ["1", 0, 0]}, "expected a finite number"),
        ({"value": [0.0, 1.0]}, "must have one length"),
        ({"more": []}, "a tree has the lists"),
    ],
)
def test_a_tree_that_no_training_writes_is_refused(change, said):
    with pytest.raises((ValueError, TypeError), match=said):
        read_trees([{**STUMP, **change}], features=F)


# --- in the final fusion ----------------------------------------------------------------------------------------------

CANDIDATES = [
    Candidate("a", 0, 3.0, 1, {"dense": 0.9, "lexical": 4.0}),
    Candidate("b", 1, 2.0, 2, {"lexical": 8.0}),
    Candidate("c", 2, 1.0, 3, {"dense": 0.5}),
]
PRODUCTS = [Product("a", "desk"), Product("b", "red lamp"), Product("c", "lamp")]


def corrected(weight=0.5):
    return Corrected(Convex(weight), read_trees([STUMP], features=F), "sold")


def test_trees_correct_the_mix_and_take_their_features_from_the_products():
    mix = corrected().over("red lamp", CANDIDATES, lambda: PRODUCTS)
    cross = np.array([1.0, 2.0, 0.0], dtype=np.float32)
    convex = partial_scores([3, 2, 1], cross, weight=0.5)
    assert mix.scores(cross) == pytest.approx(
        convex + np.array([-1, 2, -1]), abs=1e-6
    )  # two of two words, one is not enough
    parts = mix.parts(cross)
    assert set(parts) == {"first", "rerank", "trees", "trees.title_words"}
    assert sum(parts.values()) == pytest.approx(mix.scores(cross), abs=1e-6)


def test_a_cut_leaves_the_features_of_the_rest_alone_and_settles_only_when_all_are_scored():
    looked = []
    mix = corrected().over("red lamp", CANDIDATES, lambda: looked.append(1) or PRODUCTS)
    assert (looked, mix.count) == ([], 3)
    mix.prepare()
    assert mix.scores([1.0, 2.0]) == pytest.approx(
        partial_scores([3, 2, 1], [1, 2], weight=0.5) + np.array([-1, 2]), abs=1e-6
    )
    assert looked == [1]
    assert [mix.is_settled(np.zeros(m), k=1) for m in range(4)] == [False, False, False, True]


def test_what_is_stored_is_read_again_and_a_weight_that_is_set_by_hand_goes_without(tmp_path):
    (tmp_path / FUSION_FILE).write_text('{"weight": 0.0}')
    assert fusion_of(CrossEncoderConfig(model="x"), tmp_path) == Convex(0.0)
    write_trees(tmp_path, corrected(), {"queries": 3})
    found = fusion_of(CrossEncoderConfig(model="x"), tmp_path)
    assert (found.convex, found.popularity, found.asks) == (Convex(0.0), "sold", True)
    assert found.identity == corrected(0.0).identity != corrected(0.1).identity
    assert fusion_of(CrossEncoderConfig(model="x", weight=0.5), tmp_path) == Convex(0.5)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda found: found["trees"][0]["value"].__setitem__(1, 5.0), ArtifactCorrupt, "was altered"),
        (lambda found: found.update(popularity="other"), ArtifactCorrupt, "was altered"),
        (lambda found: found.update(popularity=None), ArtifactCorrupt, "expected the fields"),
        (lambda found: found["trees"][0]["left"].__setitem__(0, 0), ArtifactCorrupt, "not what a training writes"),
        (lambda found: found.update(features=found["features"][::-1]), ArtifactIncompatible, "looks at the features"),
        (lambda found: found.update(meaning="0"), ArtifactIncompatible, "meaning '0'"),
        (lambda found: found.update(format=2), ArtifactIncompatible, "has format 2, this release reads 1"),
        (lambda found: found.update(format=True), ArtifactIncompatible, "has format True"),
    ],
)
def test_trees_that_were_altered_or_mean_something_else_are_refused(tmp_path, change, error, said):
    write_trees(tmp_path, corrected(), {})
    found = json.loads((tmp_path / TREES_FILE).read_text())
    change(found)
    (tmp_path / TREES_FILE).write_text(json.dumps(found))
    with pytest.raises(error, match=said):
        read_corrected(tmp_path, Convex(0.5))


def test_using_trees_needs_no_lightgbm():
    program = (
        "import sys; sys.modules['lightgbm'] = None; import rerank.corrected, rerank.fingerprint;"
        "import rerank.boosting as b; from indexing.errors import EnvironmentProblem as E\n"
        "try: b.require_lightgbm()\n"
        "except E as error: assert \"pip install 'shortlist[train]'\" in str(error); raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
