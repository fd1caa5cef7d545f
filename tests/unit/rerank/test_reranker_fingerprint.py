"""Whatever decides a pair's score is a field of the cross-encoder's fingerprint, and nothing else is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from indexing.errors import ArtifactCorrupt, ConfigError
from rerank.config import CrossEncoderConfig
from rerank.fingerprint import reranker_fingerprint
from retrieval.fingerprint import differences

CONFIG = CrossEncoderConfig(model="x", weight=0.5)


@pytest.fixture
def folder(tiny_cross_encoder_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_cross_encoder_folder, tmp_path / "cross"))


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_tokenizer(folder: Path) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(definition))


CHANGES = {
    "weights": change_weights,
    "tokenizer": change_tokenizer,
    "architecture": lambda folder: change_json(folder / "config.json", hidden_act="relu"),
    "labels": lambda folder: change_json(folder / "config.json", id2label={"0": "bad", "1": "good"}),
    "activation": lambda folder: change_json(folder / "config_sentence_transformers.json", activation_fn=None),
    "max_tokens": lambda folder: change_json(folder / "tokenizer_config.json", model_max_length=32),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_one_thing_is_a_change_of_the_field_of_that_name(folder: Path, field: str):
    before = reranker_fingerprint(folder, CONFIG)
    CHANGES[field](folder)
    after = reranker_fingerprint(folder, CONFIG)
    changed = {name for name in before.fields if before.fields[name] != after.fields[name]}
    assert changed == {field}
    assert [text.partition(":")[0] for text in differences(before, after, stored_in="manifest")] == [field]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (CrossEncoderConfig(model="x", weight=0.5, max_tokens=16), "max_tokens"),
        (CrossEncoderConfig(model="x", weight=0.6), "final_weight"),
    ],
)
def test_the_configuration_counts_where_it_replaces_what_the_folder_says(folder: Path, config, field: str):
    before, after = reranker_fingerprint(folder, CONFIG), reranker_fingerprint(folder, config)
    assert {name for name in before.fields if before.fields[name] != after.fields[name]} == {field}


def test_the_stored_weight_is_the_field_when_the_configuration_leaves_it_to_the_folder(folder: Path):
    config = CrossEncoderConfig(model="x")
    with pytest.raises(ConfigError, match=r"final_fusion\.json"):
        reranker_fingerprint(folder, config)
    (folder / "final_fusion.json").write_text('{"weight": 0.25}')
    assert reranker_fingerprint(folder, config).fields["final_weight"] == "0.25"


def test_a_copy_and_what_a_library_notes_beside_the_arithmetic_change_nothing(folder: Path, tmp_path: Path):
    before = reranker_fingerprint(folder, CONFIG)
    change_json(folder / "config.json", transformers_version="9.9", hidden_dropout_prob=0.5)
    (folder / "README.md").write_text("another card")
    other = shutil.copytree(folder, tmp_path / "other")
    assert reranker_fingerprint(Path(other), CONFIG) == before


def test_labels_of_another_shape_are_corrupt(folder: Path):
    change_json(folder / "config.json", id2label=["a"])
    with pytest.raises(ArtifactCorrupt, match="id2label must be an object"):
        reranker_fingerprint(folder, CONFIG)


def test_it_is_read_without_torch(folder: Path):
    program = (
        "import sys; from pathlib import Path; from rerank.config import CrossEncoderConfig as C;"
        "from rerank.fingerprint import reranker_fingerprint as f;"
        "print(f(Path(sys.argv[1]), C(model='x', weight=.5)), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True, text=True)
    expected = reranker_fingerprint(folder, CrossEncoderConfig(model="x", weight=0.5))
    assert ran.stdout == f"{expected} False\n"
