import json
import shutil

import pytest

from indexing.errors import ArtifactCorrupt, ArtifactUntrusted, ConfigError
from rerank.folder import FUSION_FILE, check_cross_encoder_folder, stored_weight


@pytest.fixture
def folder(tiny_cross_encoder_folder, tmp_path):
    """A cross-encoder folder of one's own to break."""
    return shutil.copytree(tiny_cross_encoder_folder, tmp_path / "model")


def test_a_trained_cross_encoder_passes(folder):
    check_cross_encoder_folder(folder)


def test_a_dual_encoder_is_refused_because_it_would_score_noise(tiny_model_folder):
    message = r"no trained scoring head \(its modules: Transformer, Pooling, Normalize\).*shortlist train-reranker"
    with pytest.raises(ConfigError, match=message):
        check_cross_encoder_folder(tiny_model_folder)


def test_weights_without_a_head_are_refused(folder):
    from safetensors.numpy import load_file, save_file

    tensors = {
        name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "classifier" not in name
    }
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ConfigError, match="no trained scoring head"):
        check_cross_encoder_folder(folder)


def test_a_dense_layer_that_is_no_scoring_head_is_refused(tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "projected")
    modules = json.loads((folder / "modules.json").read_text())[:2]
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.base.modules.dense.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 32, "out_features": 1}))
    with pytest.raises(ConfigError, match="its modules: Transformer, Pooling, Dense"):
        check_cross_encoder_folder(folder)
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"module_output_name": "scores"}))
    with pytest.raises(ConfigError, match="no trained scoring head"):  # configured, but without weights
        check_cross_encoder_folder(folder)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"has no modules\.json; open it once with sentence_transformers\.CrossEncoder"
    ):
        check_cross_encoder_folder(tmp_path)


def test_a_pickle_in_the_folder_is_refused(folder):
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(ArtifactUntrusted, match=r"pytorch_model\.bin"):
        check_cross_encoder_folder(folder)


def test_the_stored_weight_is_read(folder):
    (folder / FUSION_FILE).write_text('{"weight": 0.4}')
    assert stored_weight(folder) == 0.4


def test_a_missing_weight_is_an_error_that_says_what_to_set(folder):
    with pytest.raises(ConfigError, match=r"has no final_fusion\.json.*set reranker\.weight"):
        stored_weight(folder)


@pytest.mark.parametrize("content", ['{"weight": 1.5}', '{"weight": "half"}', "{}"])
def test_a_stored_weight_that_is_none_is_an_error(folder, content):
    (folder / FUSION_FILE).write_text(content)
    with pytest.raises(ArtifactCorrupt, match=r"expected a weight in \[0, 1\], got"):
        stored_weight(folder)
