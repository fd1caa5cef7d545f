"""What is kept of confidence: as it was written or not at all, and how an answer is checked by it."""

import json
from dataclasses import replace

import pytest

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from rerank.abstention import Abstention, AnswerModel
from rerank.answer import Shown
from rerank.calibration import Calibration
from rerank.confidence import CONFIDENCE_FILE, Confidence, read_confidence, write_confidence
from rerank.reranker import Ranked
from retrieval.names import Brands

NONE = Brands(())
MODEL = AnswerModel(("words_best",), (0.5,), (0.25,), (2.0,), 0.0, 0.3)
WHOLE = Confidence(
    Calibration("isotonic", 2, scores=(-1.0, 1.0), probabilities=(0.1, 0.9)),
    Abstention(2, 0.9, 0.2, MODEL, replace(MODEL, features=("rerank_best",))),
)


@pytest.mark.parametrize(
    "confidence", [WHOLE, Confidence(), replace(WHOLE, abstention=replace(WHOLE.abstention, reranked=None))]
)
def test_what_is_written_is_read_as_it_was(confidence, tmp_path):
    write_confidence(tmp_path, confidence, {"queries": 7})
    assert read_confidence(tmp_path) == confidence
    assert json.loads((tmp_path / CONFIDENCE_FILE).read_text())["evidence"] == {"queries": 7}


def test_a_folder_without_the_file_knows_nothing(tmp_path):
    assert read_confidence(tmp_path) == Confidence()
    assert Confidence().check("kettle", [Shown({}, "kettle")], NONE) is None


def changed(values, path, value):
    *parents, last = path
    for name in parents:
        values = values[name]
    values[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["extra"], 1, "expected the fields .*'abstention', 'calibration', 'evidence', 'format'.*'extra'"),
        (["calibration", "code"], "x", "expected the fields"),
        (["calibration", "kind"], 3, "expected text, got 3"),
        (["calibration", "good"], 2.5, "expected a whole number, got 2.5"),
        (["calibration", "slope"], True, "expected a number, got True"),
        (["calibration", "scores"], "rising", "expected a list, got 'rising'"),
        (["calibration", "scores"], [1.0, -1.0], "must rise"),
        (["calibration"], [], "no attribute 'keys'"),
        (["abstention", "share"], 1.0, r"lie in \(0, 1\), got 0.9 and 1.0"),
        (["abstention", "first_stage", "features"], ["__import__"], "unknown feature '__import__'"),
        (["abstention", "first_stage"], None, "no attribute 'keys'"),
    ],
)
def test_a_file_that_no_training_writes_is_refused_by_name(path, value, message, tmp_path):
    write_confidence(tmp_path, WHOLE, {})
    values = json.loads((tmp_path / CONFIDENCE_FILE).read_text())
    changed(values, path, value)
    (tmp_path / CONFIDENCE_FILE).write_text(json.dumps(values) + "\n")
    with pytest.raises(ArtifactCorrupt, match=f"(?s){CONFIDENCE_FILE} is not what a training writes.*{message}"):
        read_confidence(tmp_path)


@pytest.mark.parametrize(("values", "shown"), [({"format": 2}, "2"), ({"format": True}, "True"), ([], r"\[\]")])
def test_another_format_is_refused(values, shown, tmp_path):
    (tmp_path / CONFIDENCE_FILE).write_text(json.dumps(values) + "\n")
    with pytest.raises(ArtifactIncompatible, match=f"has format {shown}, this release reads 1"):
        read_confidence(tmp_path)


def test_a_file_without_bounds_is_not_read(tmp_path):
    (tmp_path / CONFIDENCE_FILE).write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ArtifactCorrupt, match="expected at most 1048576 bytes"):
        read_confidence(tmp_path)


def test_hits_that_the_cross_encoder_saw_get_probabilities_and_the_others_none():
    ranked = [
        Ranked("a", 0, 2.0, {"rerank": 0.0}),
        Ranked("b", 1, 1.0, {"fusion": 3.0}),
        Ranked("c", 2, 0.0, {"rerank": 9.0}),
    ]
    assert [found.probability for found in WHOLE.with_probabilities(ranked)] == [0.5, None, 0.9]
    assert [found.probability for found in Confidence().with_probabilities(ranked)] == [None] * 3
    assert [(found.product_id, found.score) for found in WHOLE.with_probabilities(ranked)] == [
        ("a", 2),
        ("b", 1),
        ("c", 0),
    ]


def test_an_answer_abstains_below_the_threshold_and_without_a_hit():
    good = WHOLE.check("red kettle", [Shown({"dense": 0.9}, "red kettle")], NONE)
    bad = WHOLE.check("red kettle", [Shown({"dense": 0.9}, "toaster")], NONE)
    assert (good.abstained, bad.abstained) == (False, True)
    assert good.probability == pytest.approx(1 - bad.probability)
    assert WHOLE.check("red kettle", [], NONE).abstained
