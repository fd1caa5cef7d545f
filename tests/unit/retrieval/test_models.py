"""Model folders are found by name and checked from their files, before any library opens them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from indexing.errors import ArtifactCorrupt, ArtifactUntrusted, ConfigError, EnvironmentProblem
from retrieval import models
from retrieval.config import EncoderConfig
from retrieval.models import check_model_folder, model_files, model_folder, weight_files
from retrieval.tower import read_settings


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_minilm_is_the_folder_of_its_package():
    folder = model_folder("minilm")
    assert folder.name == "model"
    assert [module.kind for module in check_model_folder(folder)] == ["Transformer", "Pooling", "Normalize"]


def test_minilm_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentProblem, match=r'pip install "shortlist\[minilm\]"'):
        model_folder("minilm")


def test_an_existing_folder_is_taken_as_it_is(folder):
    assert model_folder(str(folder)) == folder


def test_a_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert model_folder("~/tiny") == folder


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("./modls/tiny", "./models/tiny"), ("models/tinny", "models/tiny"), ("mdels/tyny", "models/tiny")],
)
def test_a_mistyped_path_suggests_the_nearest_folder(name, suggestion, folder, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    folder.rename(tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"model folder {name} does not exist \(did you mean {suggestion}\?\)"):
        model_folder(name)


def test_a_mistyped_absolute_path_suggests_the_nearest_folder(folder):
    with pytest.raises(ConfigError, match=rf"did you mean {folder}\?"):
        model_folder(str(folder) + "y")


def test_a_mistyped_minilm_suggests_it():
    with pytest.raises(ConfigError, match=r"did you mean minilm\?"):
        model_folder("minlm")


def test_a_hub_name_is_told_that_nothing_is_downloaded():
    with pytest.raises(ConfigError, match=r"BAAI/bge-small-en does not exist; models are read from local folders only"):
        model_folder("BAAI/bge-small-en")


def test_no_model_and_a_file_are_told_what_was_expected(folder):
    with pytest.raises(ConfigError, match=r"encoder\.model is empty"):
        model_folder("")
    with pytest.raises(ConfigError, match=r"modules\.json is a file"):
        model_folder(str(folder / "modules.json"))


def test_a_folder_without_modules_is_no_model(folder):
    (folder / "modules.json").unlink()
    with pytest.raises(ConfigError, match=r"it has no modules\.json"):
        check_model_folder(folder)


def test_a_folder_without_safetensors_is_no_model(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no \*\.safetensors weights"):
        check_model_folder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_Pooling/extra.PT", "optimizer.pkl", "vectors.npy"])
def test_a_file_that_can_run_code_is_refused_by_name(name, folder):
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactUntrusted, match=rf"^{name} in .* can run code"):
        check_model_folder(folder)


@pytest.mark.parametrize(
    "kind",
    [
        "os.system",
        "sentence_transformers.models.CLIPModel",
        "my_models.Pooling",
        "sentence_transformersx.models.Pooling",
    ],
)
def test_a_module_of_another_kind_is_refused_by_name(kind, folder):
    entries = json.loads((folder / "modules.json").read_text())
    entries[1]["type"] = kind
    (folder / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(ArtifactUntrusted, match=rf"names the class {kind}; expected Transformer, Pooling"):
        check_model_folder(folder)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_a_module_outside_the_folder_is_refused(path, folder):
    entries = json.loads((folder / "modules.json").read_text())
    entries[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(ArtifactUntrusted, match=rf"points outside the folder: {path}"):
        check_model_folder(folder)


def test_a_folder_that_does_not_begin_with_a_transformer_is_refused(folder):
    entries = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(entries[1:]))
    with pytest.raises(ArtifactUntrusted, match=r"must begin with a Transformer, got \['Pooling', 'Normalize'\]"):
        check_model_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_configuration_that_names_code_is_refused(name, folder):
    change(folder / name, auto_map={"AutoModel": "evil--modeling.Evil"})
    with pytest.raises(ArtifactUntrusted, match=rf"{name} has the key auto_map"):
        check_model_folder(folder)


def test_a_damaged_modules_file_is_corrupt(folder):
    (folder / "modules.json").write_text("[{")
    with pytest.raises(ArtifactCorrupt, match=r"modules\.json"):
        check_model_folder(folder)


def test_checking_a_folder_and_taking_its_fingerprint_imports_no_torch(tiny_model_folder):
    code = (
        "import sys; from pathlib import Path\n"
        "from retrieval.config import EncoderConfig, TextConfig\n"
        "from retrieval.fingerprint import tower_fingerprint\n"
        f"tower_fingerprint(Path({str(tiny_model_folder)!r}), EncoderConfig(), TextConfig())\n"
        "print({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_checkpoints_exports_and_notes_are_no_part_of_a_model(folder):
    whole = [path.relative_to(folder).as_posix() for path in model_files(folder)]
    assert {"config.json", "model.safetensors", "modules.json", "tokenizer.json", "1_Pooling/config.json"} <= set(whole)
    for name in ("checkpoint-500/model.safetensors", "onnx/model.onnx", "train_script.py", "my notes.txt", ".hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert [path.relative_to(folder).as_posix() for path in model_files(folder)] == whole
    assert [path.name for path in weight_files(folder)] == ["model.safetensors"]


def test_a_json_file_that_holds_a_list_is_corrupt(folder):
    (folder / "config_sentence_transformers.json").write_text("[]")
    with pytest.raises(
        ArtifactCorrupt, match=r"expected a JSON object in .*config_sentence_transformers\.json, got list"
    ):
        read_settings(folder, EncoderConfig(model=str(folder)))
