"""The fingerprint stays when the same tower lies elsewhere, and changes with everything that changes a vector."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from indexing.errors import ConfigError
from retrieval.config import EncoderConfig, RuntimeConfig, TextConfig
from retrieval.encoder import DualEncoder
from retrieval.fingerprint import Fingerprint, differences, tower_fingerprint
from retrieval.models import model_folder


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def of(folder, encoder=None, text=None):
    return tower_fingerprint(folder, encoder or EncoderConfig(), text or TextConfig())


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_copying_a_folder_keeps_the_fingerprint(tiny_model_folder, folder):
    assert of(folder).digest == of(tiny_model_folder).digest
    assert differences(of(folder), of(tiny_model_folder)) == []


def test_saving_an_opened_model_keeps_the_fingerprint(tiny_model_folder, tmp_path):
    config = EncoderConfig(model=str(tiny_model_folder), query_prompt="query: ", query_max_tokens=16)
    DualEncoder.open(config, RuntimeConfig(device="cpu", threads=1)).save(tmp_path / "saved")
    assert differences(of(tiny_model_folder, config), of(tmp_path / "saved", config)) == []
    # The saved folder says by itself what the configuration said.
    silent = EncoderConfig(query_max_tokens=0, product_max_tokens=0)
    assert differences(of(tiny_model_folder, config), of(tmp_path / "saved", silent)) == []


def test_the_name_of_the_model_does_not_count(tiny_model_folder):
    assert (
        of(tiny_model_folder, EncoderConfig(model="a")).digest == of(tiny_model_folder, EncoderConfig(model="b")).digest
    )


def test_fields_read_like_what_they_are():
    fields = of(model_folder("minilm")).fields
    assert fields["pooling"] == "mean"
    assert fields["dimension"] == "384"
    assert fields["query_max_tokens"] == "64"
    assert (
        fields["text_template"] == "title | description, joined by '. ', at most 8192 characters (template version 1)"
    )
    assert fields["architecture"].startswith("Transformer > Pooling > Normalize; hidden_act=gelu, hidden_size=384")
    assert "dropout" not in fields["architecture"]
    assert fields["weights"].startswith("sha256:")


def test_the_last_callers_truncation_and_padding_do_not_count(folder):
    before = of(folder)
    change(folder / "tokenizer.json", truncation={"max_length": 7}, padding={"strategy": {"Fixed": 128}})
    change(folder / "config.json", _name_or_path="elsewhere", hidden_dropout_prob=0.3, transformers_version="9")
    assert of(folder) == before


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("field", "alter"),
    [
        ("weights", lambda folder: flip_last_byte(folder / "model.safetensors")),
        ("tokenizer", lambda folder: change(folder / "tokenizer.json", normalizer=None)),
        ("tokenizer", lambda folder: change(folder / "tokenizer_config.json", do_lower_case=False)),
        ("tokenizer", lambda folder: change(folder / "sentence_bert_config.json", do_lower_case=True)),
        ("pooling", lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode="cls")),
        ("architecture", lambda folder: change(folder / "config.json", layer_norm_eps=1e-5)),
        ("query_prompt", lambda folder: change(folder / "config_sentence_transformers.json", prompts={"query": "q: "})),
        ("product_max_tokens", lambda folder: change(folder / "sentence_bert_config.json", document_length=5)),
        ("dimension", lambda folder: change(folder / "config_sentence_transformers.json", truncate_dim=8)),
    ],
)
def test_what_changes_a_vector_changes_exactly_its_field(field, alter, folder):
    before = of(folder)
    alter(folder)
    found = differences(before, of(folder))
    assert len(found) == 1
    assert found[0].startswith(f"{field}: ")
    assert of(folder).digest != before.digest


@pytest.mark.parametrize(
    ("field", "encoder", "text"),
    [
        ("query_prompt", EncoderConfig(query_prompt="q: "), TextConfig()),
        ("product_prompt", EncoderConfig(product_prompt="p: "), TextConfig()),
        ("query_max_tokens", EncoderConfig(query_max_tokens=8), TextConfig()),
        ("product_max_tokens", EncoderConfig(product_max_tokens=8), TextConfig()),
        ("text_template", EncoderConfig(), TextConfig(fields=["title"])),
        ("text_template", EncoderConfig(), TextConfig(separator=" ")),
        ("text_template", EncoderConfig(), TextConfig(labels=True)),
        ("text_template", EncoderConfig(), TextConfig(max_chars=100)),
        ("lower_case", EncoderConfig(), TextConfig(lower_case=True)),
    ],
)
def test_each_setting_of_the_configuration_has_its_field(field, encoder, text, tiny_model_folder):
    found = differences(of(tiny_model_folder), of(tiny_model_folder, encoder, text))
    assert [phrase.partition(":")[0] for phrase in found] == [field]


def test_the_number_of_attributes_counts_where_the_template_has_attributes(tiny_model_folder):
    with_attributes = TextConfig(fields=["title", "attributes"], max_attributes=4)
    fewer = replace(with_attributes, max_attributes=2)
    template = "title | attributes, joined by '. ', at most 8192 characters"
    assert differences(of(tiny_model_folder, text=with_attributes), of(tiny_model_folder, text=fewer)) == [
        f"text_template: {template}, at most 4 attributes (template version 1) in the index, "
        f"{template}, at most 2 attributes (template version 1) in the folder"
    ]


def test_warning_thresholds_are_no_part_of_the_identity(tiny_model_folder):
    assert of(tiny_model_folder, text=TextConfig(truncation_warning=0.9)) == of(tiny_model_folder)


def test_differences_are_sentences_with_both_sides():
    index = Fingerprint({"pooling": "mean", "query_prompt": "", "dimension": "384"})
    folder = Fingerprint({"pooling": "cls", "query_prompt": "query: ", "weights": "sha256:1"})
    assert differences(index, folder) == [
        "dimension: 384 in the index, nothing in the folder",
        "pooling: mean in the index, cls in the folder",
        "query_prompt: none in the index, query:  in the folder",
        "weights: nothing in the index, sha256:1 in the folder",
    ]


def test_a_digest_does_not_depend_on_the_order_of_the_fields():
    assert Fingerprint({"a": "1", "b": "2"}).digest == Fingerprint({"b": "2", "a": "1"}).digest


def test_a_folder_without_a_fast_tokenizer_says_how_to_get_one(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json; open the model with sentence-transformers once"):
        of(folder)


@pytest.mark.parametrize("option", ["unk_token", "cls_token", "padding_side"])
def test_every_tokenizer_option_that_moves_vectors_is_in_the_fingerprint(
    tiny_model_folder: Path, tmp_path: Path, option: str
):
    folder = tmp_path / "other"
    shutil.copytree(tiny_model_folder, folder)
    path = folder / "tokenizer_config.json"
    options = json.loads(path.read_text())
    path.write_text(json.dumps(options | {option: "left" if option == "padding_side" else "[MASK]"}))
    mine, other = (tower_fingerprint(f, EncoderConfig(), TextConfig()) for f in (tiny_model_folder, folder))
    assert [phrase.split(":")[0] for phrase in differences(mine, other)] == ["tokenizer"]
