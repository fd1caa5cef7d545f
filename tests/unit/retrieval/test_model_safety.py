"""A model's settings may hold values, never names of code, and no network larger than its weights."""

import json
import shutil
from pathlib import Path

import pytest

from indexing.errors import ArtifactCorrupt, ArtifactUntrusted, ConfigError
from retrieval.config import EncoderConfig
from retrieval.models import check_model_folder, model_folder
from retrieval.tower import read_settings


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"auto_map": {}}, r"config\.json has the key auto_map, which names code"),
        ("config.json", {"text_config": {"auto_map": {}}}, "has the key auto_map"),
        ("config.json", {"layers": [{"_target_": "x"}]}, "has the key _target_"),
        ("config.json", {"_attn_implementation_internal": "x/y"}, "has the key _attn_implementation_internal"),
        ("config.json", {"hidden_act": "os.system"}, r"hidden_act names os\.system, and a model's settings may not"),
        ("config.json", {"model_type": "lightglue"}, "model_type 'lightglue' is no network of plain text .*bert"),
        ("config.json", {"architectures": ["a.B"]}, r"architectures names a\.B"),
        ("config.json", {"architectures": "B"}, "architectures must name classes of transformers, got 'B'"),
        ("config.json", {"vocab_size": 2**40}, r"vocab_size x hidden_size is \[1099511627776, 32\], which the weights"),
        ("config.json", {"hidden_size": "x"}, "hidden_size is .*'x'.*which the weights do not account for"),
        ("config.json", {"num_hidden_layers": 10_000}, "num_hidden_layers is 10000, at most 1000"),
        ("tokenizer_config.json", {"tokenizer_class": "Evil Class"}, "tokenizer_class must name a class of transf"),
        (
            "sentence_bert_config.json",
            {"model_args": {"x": 1}},
            "hands model_args to the libraries that load the model",
        ),
        (
            "sentence_bert_config.json",
            {"modality_config": {"text": {"method": "push_to_hub"}}},
            "modality_config may call the method forward alone, got .*push_to_hub",
        ),
        ("config_sentence_transformers.json", {"activation_fn": "torch.hub.load"}, r"activation_fn names torch\.hub"),
    ],
)
def test_what_names_code_is_refused_with_file_and_value(folder, file, values, message):
    change(folder / file, **values)
    with pytest.raises(ArtifactUntrusted, match=message):
        check_model_folder(folder)


def test_settings_nested_beyond_all_models_are_refused(folder):
    nested = value = {}
    for _ in range(30):
        value["x"] = {}
        value = value["x"]
    change(folder / "config.json", x=nested)
    with pytest.raises(ArtifactUntrusted, match="nested more than 20 deep"):
        check_model_folder(folder)


@pytest.mark.parametrize("key", ["kwargs", "extra"])
def test_a_module_with_a_key_of_its_own_is_refused(folder, key):
    modules = json.loads((folder / "modules.json").read_text())
    modules[1][key] = ["trust_remote_code"]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ArtifactUntrusted, match=f"has the key {key}, which is never written here"):
        check_model_folder(folder)


@pytest.mark.parametrize("content", ["{}", '["x"]', "7"])
def test_modules_of_another_shape_are_corrupt(folder, content):
    (folder / "modules.json").write_text(content)
    with pytest.raises(ArtifactCorrupt, match="expected a list of modules"):
        check_model_folder(folder)


def test_an_adapter_is_refused_with_what_to_do(folder):
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="an adapter; merge it into its base"):
        check_model_folder(folder)


def test_settings_under_an_old_name_are_refused_only_where_they_would_be_read(folder):
    (folder / "sentence_roberta_config.json").write_text("{}")
    check_model_folder(folder)
    (folder / "sentence_bert_config.json").unlink()
    with pytest.raises(ConfigError, match="settings of an old form: open the model with sentence-transformers 6"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"_name_or_path": "some.model", "torch_dtype": "float16", "dtype": "torch.bfloat16"}),
        ("config.json", {"auto": "map", "id2label": {"0": "LABEL_0"}}),
        ("config.json", {"max_position_embeddings": None, "type_vocab_size": 0}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "tokenizer_file": "tokenizer.json"}),
        ("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False, "model_args": {}}),
        ("config_sentence_transformers.json", {"activation_fn": "torch.nn.modules.linear.Identity"}),
    ],
)
def test_settings_that_models_have_are_accepted(folder, file, values):
    change(folder / file, **values)
    assert len(check_model_folder(folder)) == 3


def test_the_packaged_model_is_accepted():
    assert len(check_model_folder(model_folder("minilm"))) == 3


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config_sentence_transformers.json", {"prompts": "x"}),
        ("config_sentence_transformers.json", {"prompts": {"query": 7}}),
        ("config_sentence_transformers.json", {"truncate_dim": "4"}),
        ("1_Pooling/config.json", {"embedding_dimension": "x"}),
    ],
)
def test_settings_of_another_type_are_corrupt(folder, file, values):
    change(folder / file, **values)
    with pytest.raises(ArtifactCorrupt, match="have another shape than sentence-transformers writes"):
        read_settings(folder, EncoderConfig(model=str(folder)))
