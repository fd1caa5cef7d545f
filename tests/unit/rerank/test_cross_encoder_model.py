import json
import shutil

import numpy as np
import pytest

from indexing.errors import ConfigError
from rerank.model import new_cross_encoder


def test_a_new_model_keeps_the_first_layers_only_and_their_weights(tiny_model_folder):
    whole = new_cross_encoder(tiny_model_folder, layers=0, max_tokens=32)
    cut = new_cross_encoder(tiny_model_folder, layers=1, max_tokens=32)
    assert (whole.config.num_hidden_layers, cut.config.num_hidden_layers) == (2, 1)
    name = "0.model.encoder.layer.0.attention.self.query.weight"
    assert bool((cut.state_dict()[name] == whole.state_dict()[name]).all())
    assert not any("encoder.layer.1" in name for name in cut.state_dict())


def test_a_new_model_reads_pairs_up_to_the_length_asked_for_and_puts_out_one_score(tiny_model_folder):
    model = new_cross_encoder(tiny_model_folder, layers=1, max_tokens=24)
    assert (model.max_seq_length, model.num_labels) == (24, 1)
    scores = model.predict([("red mouse", "red mouse"), ("red mouse", "sofa")])
    assert scores.shape == (2,)
    assert np.all((scores > 0) & (scores < 1))  # other programs get shares of the highest grade


def test_more_layers_than_the_base_has_are_refused(tiny_model_folder):
    with pytest.raises(ConfigError, match=r"trainer\.layers=5, but .* has 2 layers; 0 keeps them all"):
        new_cross_encoder(tiny_model_folder, layers=5, max_tokens=32)


def test_the_pooling_is_the_bases_own(tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "cls")
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pooling_mode": "cls"}))
    assert new_cross_encoder(folder, layers=0, max_tokens=32)[1].pooling_mode == "cls"
    assert new_cross_encoder(tiny_model_folder, layers=0, max_tokens=32)[1].pooling_mode == "mean"


def test_a_base_without_pooling_gets_the_mean(tiny_cross_encoder_folder):
    assert new_cross_encoder(tiny_cross_encoder_folder, layers=0, max_tokens=32)[1].pooling_mode == "mean"


def test_a_cross_encoder_as_the_base_is_gone_on_from(tiny_model_folder, tmp_path):
    first = new_cross_encoder(tiny_model_folder, layers=0, max_tokens=32)
    first.save_pretrained(str(tmp_path / "first"))
    again = new_cross_encoder(tmp_path / "first", layers=0, max_tokens=32)
    pairs = [("red mouse", "red mouse"), ("red mouse", "sofa")]
    assert np.array_equal(again.predict(pairs), first.predict(pairs))


def test_nothing_is_printed_about_the_layers_left_out(tiny_model_folder, capfd):
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    new_cross_encoder(tiny_model_folder, layers=1, max_tokens=32)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
