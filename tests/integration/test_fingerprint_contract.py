"""Whatever decides which vector a text gets is refused when it changes, before the first query, with its field named.

In a folder that is opened in place of the bundle's own encoder, and in the bundle itself with every hash made to fit.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from indexing.errors import FingerprintMismatch
from rerank.final import Convex
from retrieval.config import Precision, RuntimeConfig
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.bundle import open_bundle
from shortlist.loading import load_generation
from tools.reliability.harness.bad_candidates.kind import BadCandidate, offered


def change_json(path: Path, **values: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def change_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] = tensors[name] * np.float32(1.0001)  # too little for any canary: the field is what notices
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_vocabulary(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["mouse"], tokenizer["model"]["vocab"]["sofa"] = (
        tokenizer["model"]["vocab"]["sofa"],
        tokenizer["model"]["vocab"]["mouse"],
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def change_lower_casing(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def drop_normalize(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    assert modules[-1]["type"].endswith("Normalize")
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))


def change_pooling(folder: Path) -> None:
    change_json(next(folder.glob("*Pooling/config.json")), pooling_mode="cls")


def change_prompts(role: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config_sentence_transformers.json"
        prompts = json.loads(path.read_text())["prompts"]
        change_json(path, prompts=prompts | {role: "find: "})

    return change


FOLDER_CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "weights": ("weights", change_weights),
    "tokenizer": ("tokenizer", change_vocabulary),
    "lower-casing of the tokenizer": ("tokenizer", change_lower_casing),
    "query prompt": ("query_prompt", change_prompts("query")),
    "product prompt": ("product_prompt", change_prompts("document")),
    "pooling": ("pooling", change_pooling),
    "normalisation": ("normalisation", drop_normalize),
    "max length": (
        "product_max_tokens",
        lambda folder: change_json(folder / "sentence_bert_config.json", document_length=9),
    ),
    "max length of queries": (
        "query_max_tokens",
        lambda folder: change_json(folder / "sentence_bert_config.json", query_length=9),
    ),
    "truncation dimension": (
        "dimension",
        lambda folder: change_json(folder / "config_sentence_transformers.json", truncate_dim=16),
    ),
    "network": ("architecture", lambda folder: change_json(folder / "config.json", hidden_act="relu")),
    "output that is read": (
        "architecture",
        lambda folder: change_json(
            folder / "sentence_bert_config.json",
            modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
        ),
    ),
}

MANIFEST_CHANGES: dict[str, tuple[str, str, dict[str, object]]] = {
    "text template": ("text_template", "text", {"fields": ["title"]}),
    "separator": ("text_template", "text", {"separator": " / "}),
    "characters": ("text_template", "text", {"max_chars": 99}),
    "lower-casing": ("lower_case", "text", {"lower_case": True}),
    "query prompt": ("query_prompt", "encoder", {"query_prompt": "find: "}),
    "product prompt": ("product_prompt", "encoder", {"product_prompt": "item: "}),
    "max length": ("query_max_tokens", "encoder", {"query_max_tokens": 9}),
    "max length of products": ("product_max_tokens", "encoder", {"product_max_tokens": 9}),
}


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory, shop: Path, build_config) -> Path:
    """A bundle whose configuration leaves every length and prompt to the folder; tests leave it as it was."""
    out = tmp_path_factory.mktemp("contract") / "bundle"
    build(build_config("encoder.query_max_tokens=0"), source=shop, out=out)
    return out


@pytest.mark.parametrize("name", FOLDER_CHANGES)
def test_a_folder_that_differs_in_one_thing_is_refused_with_the_field_named(
    lenient: Path, tmp_path: Path, tiny_model_folder: Path, name: str
):
    field, change = FOLDER_CHANGES[name]
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "folder"))
    assert SearchEngine.open(lenient, encoder=folder).product_count == 60
    change(folder)
    with pytest.raises(FingerprintMismatch, match=rf"[ ;]{field}: .* in the index, .* in the folder"):
        SearchEngine.open(lenient, encoder=folder)


@pytest.mark.parametrize("name", FOLDER_CHANGES)
def test_a_bundle_whose_encoder_was_changed_with_hashes_made_to_fit_is_refused_with_the_field_named(
    lenient: Path, name: str
):
    field, change = FOLDER_CHANGES[name]

    def harm(draft) -> None:
        change(draft.folder / "encoder")
        draft.fit()

    with (
        offered(lenient, BadCandidate(name, "", harm)),
        pytest.raises(FingerprintMismatch, match=rf"[ ;]{field}: .* in the index, .* in the folder"),
    ):
        SearchEngine.open(lenient)


@pytest.mark.parametrize("name", MANIFEST_CHANGES)
def test_a_manifest_that_says_otherwise_is_refused_with_the_field_named(lenient: Path, name: str):
    field, part, values = MANIFEST_CHANGES[name]

    def harm(draft) -> None:
        draft.change_manifest(lambda manifest: manifest[part].update(values))

    with (
        offered(lenient, BadCandidate(name, "", harm)),
        pytest.raises(FingerprintMismatch, match=rf"[ ;]{field}: .* in the index, .* in the folder"),
    ):
        SearchEngine.open(lenient)


def test_a_text_template_that_says_otherwise_is_refused_with_a_function_for_an_encoder_too(
    lenient: Path, tiny_model_folder: Path
):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model_folder), device="cpu")

    def harm(draft) -> None:
        draft.change_manifest(lambda manifest: manifest["text"].update(separator=" / "))

    with (
        offered(lenient, BadCandidate("text", "", harm)),
        pytest.raises(FingerprintMismatch, match=r"text_template: .* in the index"),
    ):
        SearchEngine.open(lenient, encoder=lambda texts: model.encode_query(list(texts)))


@pytest.mark.parametrize("batch_tokens", [1, 24, 100_000])
def test_the_same_model_in_other_batches_is_accepted(lenient: Path, batch_tokens: int):
    runtime = RuntimeConfig(device="cpu", threads=1, batch_tokens=batch_tokens)
    assert load_generation(open_bundle(lenient), runtime=runtime).products.count == 60


def test_another_precision_is_accepted_within_the_bundle_s_tolerance_and_refused_beyond_it(lenient: Path):
    runtime = RuntimeConfig(device="cpu", threads=1, precision=Precision.bf16)
    assert load_generation(open_bundle(lenient), runtime=runtime).products.count == 60

    def tighten(draft) -> None:
        draft.change_manifest(lambda manifest: manifest["canary"].update(cosine=0.999999))

    beyond = r"smallest cosine 0\.9999\d\d, at least 0\.999999 expected"
    with offered(lenient, BadCandidate("tight", "", tighten)):
        exact = RuntimeConfig(device="cpu", threads=1)
        assert load_generation(open_bundle(lenient), runtime=exact).products.count == 60
        with pytest.raises(FingerprintMismatch, match=beyond):
            load_generation(open_bundle(lenient), runtime=runtime)


def test_a_cross_encoder_in_another_precision_is_held_to_the_bundle_s_spread(reranked: Path, tmp_path: Path):
    root = Path(shutil.copytree(reranked, tmp_path / "bundle"))
    halved = RuntimeConfig(device="cpu", threads=1, precision=Precision.bf16)
    assert load_generation(open_bundle(root), runtime=halved).reranker.fusion == Convex(0.5)

    def tighten(draft) -> None:
        draft.change_manifest(lambda manifest: manifest["canary"].update(spread=0.001))

    with offered(root, BadCandidate("tight", "", tighten)):
        exact = RuntimeConfig(device="cpu", threads=1)
        assert load_generation(open_bundle(root), runtime=exact).reranker.fusion == Convex(0.5)
        with pytest.raises(FingerprintMismatch, match=r"standard deviations apart, at most 0\.001 expected"):
            load_generation(open_bundle(root), runtime=halved)
