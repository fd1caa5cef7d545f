"""Prompts, lengths, pooling and dimension: the folder's own, unless the configuration says otherwise."""

import json
import shutil
from pathlib import Path

import pytest

from indexing.errors import ConfigError
from retrieval.config import EncoderConfig
from retrieval.models import model_folder
from retrieval.tower import read_settings


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def change(path, **values):
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(kept | values))


def test_minilm_keeps_its_own_length_for_products_and_has_no_prompts():
    settings = read_settings(model_folder("minilm"), EncoderConfig())
    assert (settings.query_max_tokens, settings.product_max_tokens) == (64, 256)
    assert (settings.query_prompt, settings.product_prompt) == ("", "")
    assert (settings.pooling, settings.dimension, settings.prompt_pooled) == ("mean", 384, True)
    assert settings.modules == "Transformer > Pooling > Normalize"


def test_a_length_of_zero_and_an_empty_prompt_keep_what_the_folder_says(folder):
    change(folder / "config_sentence_transformers.json", prompts={"query": "q: ", "document": "p: "})
    change(folder / "sentence_bert_config.json", query_length=12, document_length=34)
    settings = read_settings(folder, EncoderConfig(query_max_tokens=0, product_max_tokens=0))
    assert (settings.query_prompt, settings.product_prompt) == ("q: ", "p: ")
    assert (settings.query_max_tokens, settings.product_max_tokens) == (12, 34)


def test_the_configuration_replaces_what_the_folder_says(folder):
    change(folder / "config_sentence_transformers.json", prompts={"query": "q: ", "document": None})
    wanted = EncoderConfig(query_prompt="ask: ", product_prompt="sell: ", query_max_tokens=9, product_max_tokens=10)
    settings = read_settings(folder, wanted)
    assert (settings.query_prompt, settings.product_prompt) == ("ask: ", "sell: ")
    assert (settings.query_max_tokens, settings.product_max_tokens) == (9, 10)


@pytest.mark.parametrize("stated", [1e30, -1, None])
def test_a_tokenizer_without_a_limit_leaves_the_positions_of_the_network(stated, folder):
    change(folder / "tokenizer_config.json", model_max_length=stated)
    assert read_settings(folder, EncoderConfig(query_max_tokens=0)).query_max_tokens == 128


def test_a_length_beyond_the_positions_is_refused(folder):
    with pytest.raises(ConfigError, match=r"encoder\.query_max_tokens=200 is more than the 128 positions"):
        read_settings(folder, EncoderConfig(query_max_tokens=200))


def test_a_folder_that_states_no_length_asks_for_one(folder):
    change(folder / "tokenizer_config.json", model_max_length=None)
    change(folder / "config.json", max_position_embeddings=None)
    with pytest.raises(ConfigError, match=r"states no longest text; set encoder\.product_max_tokens"):
        read_settings(folder, EncoderConfig())


def test_older_pooling_flags_read_like_the_newer_mode(folder):
    old = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(old))
    settings = read_settings(folder, EncoderConfig())
    assert (settings.pooling, settings.dimension) == ("cls+mean", 64)


def test_a_truncated_dimension_and_a_pooling_without_the_prompt_are_seen(folder):
    change(folder / "config_sentence_transformers.json", truncate_dim=16)
    change(folder / "1_Pooling" / "config.json", include_prompt=False)
    settings = read_settings(folder, EncoderConfig())
    assert (settings.dimension, settings.prompt_pooled) == (16, False)


def test_a_folder_without_pooling_gives_no_vector_per_text(folder):
    entries = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([entries[0], entries[2]]))
    with pytest.raises(ConfigError, match="has no Pooling module"):
        read_settings(folder, EncoderConfig())
