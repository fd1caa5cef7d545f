"""The dual encoder gives the vectors that sentence-transformers gives, whatever shares a batch, and nothing else."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from indexing.errors import ArtifactUntrusted, ConfigError, StorageError, VectorError
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.lanes.lane import LaneInput

RUNTIME = RuntimeConfig(device="cpu", threads=1)
TEXTS = ["wireless mouse", "", "red", "office chair with wheels and a very long list of words " * 5, "红色", "P200"]


@pytest.fixture(scope="module")
def encoder(tiny_model_folder):
    return DualEncoder.open(EncoderConfig(model=str(tiny_model_folder), query_max_tokens=12), RUNTIME)


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def library(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


# --- values -----------------------------------------------------------------------------------------------------------


def test_vectors_are_unit_float32_rows_in_the_order_of_the_texts(encoder):
    vectors = encoder.encode_products(TEXTS)
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert np.abs(encoder.encode_products(TEXTS[::-1])[::-1] - vectors).max() < 1e-6


def test_vectors_equal_those_of_sentence_transformers(encoder, tiny_model_folder):
    assert np.abs(encoder.encode_products(TEXTS) - library(tiny_model_folder).encode(TEXTS)).max() < 1e-6


def test_one_by_one_equals_any_batch(encoder, tiny_products):
    texts = [product.title for product in tiny_products] + TEXTS
    together = encoder.encode_products(texts)
    alone = np.vstack([encoder.encode_products([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("batch_tokens", [1, 50, 300])
def test_the_token_budget_changes_no_vector(batch_tokens, encoder, tiny_model_folder):
    other = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), replace(RUNTIME, batch_tokens=batch_tokens))
    assert np.abs(other.encode_products(TEXTS) - encoder.encode_products(TEXTS)).max() < 1e-5


def test_no_texts_give_an_empty_matrix_of_the_right_width(encoder):
    assert encoder.encode_queries([]).shape == (0, 32)
    assert encoder.encode_products([]).dtype == np.float32


def test_a_word_is_known_that_is_one_token_and_not_the_unknown_one(encoder):
    assert [encoder.knows(word) for word in ("mouse", "mose", "wireless mouse", "\U0001f5b1", "")] == [
        True,
        *[False] * 4,
    ]


def test_queries_are_cut_at_their_own_length(encoder, tiny_model_folder):
    # Twelve tokens with [CLS] and [SEP]: the eleventh word is not read by queries, but by products.
    ten = "red blue green white black red blue green white black"
    assert np.abs(encoder.encode_queries([ten + " chair"]) - encoder.encode_queries([ten])).max() == 0
    assert np.abs(encoder.encode_products([ten + " chair"]) - encoder.encode_products([ten])).max() > 1e-3


def test_bf16_stays_close_to_fp32(encoder, tiny_model_folder, tiny_products):
    texts = [product.title for product in tiny_products]
    bf16 = DualEncoder.open(
        EncoderConfig(model=str(tiny_model_folder)), replace(RUNTIME, precision=Precision.bf16)
    ).encode_products(texts)
    fp32 = encoder.encode_products(texts)
    assert bf16.dtype == np.float32
    assert 1e-5 < np.abs(bf16 - fp32).max() < 0.05  # it is another arithmetic, and a near one
    assert np.sum(bf16 * fp32, axis=1).min() > 0.999


def test_weights_stored_in_half_precision_compute_in_fp32(folder, encoder):
    model = library(folder).half()
    model.save(str(folder.parent / "half"), create_model_card=False)
    half = DualEncoder.open(EncoderConfig(model=str(folder.parent / "half")), RUNTIME).encode_products(TEXTS)
    assert np.abs(half - encoder.encode_products(TEXTS)).max() < 5e-3
    assert np.abs(np.linalg.norm(half, axis=1) - 1).max() < 1e-6


def test_opening_half_precision_weights_does_not_change_what_other_threads_compute_in(folder, monkeypatch):
    library(folder).half().save(str(folder.parent / "half"), create_model_card=False)
    defaults, set_default = [], torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda dtype: (defaults.append(dtype), set_default(dtype))[1])
    DualEncoder.open(EncoderConfig(model=str(folder.parent / "half")), RUNTIME)
    assert set(defaults) == {torch.float32}


def test_a_folder_without_normalize_gives_unit_vectors_all_the_same(folder, encoder):
    entries = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(entries[:2]))
    raw = DualEncoder.open(EncoderConfig(model=str(folder)), RUNTIME).encode_products(TEXTS)
    assert np.abs(raw - encoder.encode_products(TEXTS)).max() < 1e-6


def test_a_truncated_dimension_is_normalised_again(folder, encoder):
    change(folder / "config_sentence_transformers.json", truncate_dim=8)
    short = DualEncoder.open(EncoderConfig(model=str(folder)), RUNTIME)
    expected = encoder.encode_products(TEXTS)[:, :8]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert short.dim == 8
    assert np.abs(short.encode_products(TEXTS) - expected).max() < 1e-6


def test_a_dense_module_is_part_of_the_tower(tiny_model_folder, tmp_path):
    import torch
    from sentence_transformers.base.modules import Dense, Normalize

    model = library(tiny_model_folder)
    torch.manual_seed(1)
    model.append(Dense(32, 12, activation_function=torch.nn.Tanh()))
    model.append(Normalize())
    model.save(str(tmp_path / "dense"), create_model_card=False)
    encoder = DualEncoder.open(EncoderConfig(model=str(tmp_path / "dense")), RUNTIME)
    assert encoder.dim == 12
    assert np.abs(encoder.encode_products(TEXTS) - model.encode(TEXTS)).max() < 1e-6


# --- prompts and saving -----------------------------------------------------------------------------------------------


def test_prompts_are_put_before_texts_by_role(tiny_model_folder, encoder):
    config = EncoderConfig(
        model=str(tiny_model_folder), query_prompt="red ", product_prompt="blue ", query_max_tokens=0
    )
    prompted = DualEncoder.open(config, RUNTIME)
    assert np.abs(prompted.encode_queries(["mouse"]) - encoder.encode_queries(["red mouse"])).max() < 1e-6
    assert np.abs(prompted.encode_products(["mouse"]) - encoder.encode_products(["blue mouse"])).max() < 1e-6


def test_a_saved_folder_gives_sentence_transformers_the_same_vectors(tiny_model_folder, tmp_path):
    config = EncoderConfig(
        model=str(tiny_model_folder), query_prompt="for you: ", product_prompt="new ", query_max_tokens=9,
        product_max_tokens=20,
    )  # fmt: skip
    encoder = DualEncoder.open(config, RUNTIME)
    encoder.save(tmp_path / "saved")
    plain = library(tmp_path / "saved")
    assert np.abs(plain.encode_query(TEXTS) - encoder.encode_queries(TEXTS)).max() < 1e-6
    assert np.abs(plain.encode_document(TEXTS) - encoder.encode_products(TEXTS)).max() < 1e-6
    again = DualEncoder.open(
        EncoderConfig(model=str(tmp_path / "saved"), query_max_tokens=0, product_max_tokens=0), RUNTIME
    )
    assert np.array_equal(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))


def test_a_prompt_left_out_of_the_pooling_is_left_out(folder, tmp_path):
    change(folder / "1_Pooling" / "config.json", include_prompt=False)
    config = EncoderConfig(model=str(folder), query_prompt="for you ")
    encoder = DualEncoder.open(config, RUNTIME)
    encoder.save(tmp_path / "saved")
    assert np.abs(library(tmp_path / "saved").encode_query(TEXTS[:4]) - encoder.encode_queries(TEXTS[:4])).max() < 1e-6


def test_saving_copies_only_what_the_model_needs(folder, tmp_path):
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"x")
    (folder / ".hidden").write_text("x")
    DualEncoder.open(EncoderConfig(model=str(folder)), RUNTIME).save(tmp_path / "saved")
    names = {path.relative_to(tmp_path / "saved").as_posix() for path in (tmp_path / "saved").rglob("*")}
    assert {"model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= names
    assert not any("onnx" in name or "hidden" in name for name in names)
    assert (tmp_path / "saved" / "model.safetensors").stat().st_nlink == 1


def test_saving_over_something_is_refused(encoder, tmp_path):
    (tmp_path / "kept.txt").write_text("x")
    with pytest.raises(StorageError, match="exists and is not empty; remove it or write somewhere else"):
        encoder.save(tmp_path)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_vectors_that_are_not_finite_name_their_positions(tiny_model_folder):
    import torch

    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RUNTIME)
    sofa = int(encoder.product_tokenizer.rows(["sofa"])[0][1])
    with torch.no_grad():
        encoder.model[0].auto_model.get_input_embeddings().weight[sofa] = torch.nan
    with pytest.raises(VectorError, match=r"for 2 of 3 texts, at positions 0, 2; check the weights") as caught:
        encoder.encode_products(["sofa", "red mouse", "sofa"])
    assert caught.value.positions == (0, 2)
    assert np.isfinite(encoder.encode_products(["red mouse"])).all()


def test_a_zero_vector_is_refused(tiny_model_folder):
    import torch

    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RUNTIME)
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            parameter.zero_()
    with pytest.raises(VectorError, match="not of unit length for 1 of 1 texts"):
        encoder.encode_queries(["mouse"])


def test_a_text_that_is_none_is_named(encoder):
    with pytest.raises(TypeError, match="got int at position 1"):
        encoder.encode_queries(["mouse", 3])


def test_a_missing_folder_is_named_before_the_library_is_imported(tmp_path):
    code = (
        "import sys\nfrom retrieval.config import Backend, EncoderConfig, RuntimeConfig\n"
        "from retrieval.encoder import DualEncoder\n"
        f"try: DualEncoder.open(EncoderConfig(model={str(tmp_path / 'none')!r}), RuntimeConfig())\n"
        "except Exception as error: print(type(error).__name__, 'torch' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "ConfigError False\n"


def test_a_pickle_beside_the_weights_is_refused(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactUntrusted, match=r"pytorch_model\.bin"):
        DualEncoder.open(EncoderConfig(model=str(folder)), RUNTIME)


def test_a_length_beyond_the_network_is_refused(tiny_model_folder):
    with pytest.raises(ConfigError, match=r"encoder\.product_max_tokens=512 is more than the 128 positions"):
        DualEncoder.open(EncoderConfig(model=str(tiny_model_folder), product_max_tokens=512), RUNTIME)


# --- behaviour --------------------------------------------------------------------------------------------------------


def test_progress_counts_every_text_once(encoder, tiny_model_folder):
    small = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), replace(RUNTIME, batch_tokens=40))
    steps = []
    small.encode_products(TEXTS * 3, progress=steps.append)
    assert sum(steps) == 18
    assert len(steps) > 2


@pytest.mark.parametrize("backend", [Backend.torch, Backend.openvino, Backend.packed])
def test_the_longest_text_of_every_batch_is_told_before_its_vectors_are_there(backend, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("retrieval.batches.TEXTS_AHEAD", 12)
    runtime = replace(RUNTIME, backend=backend, batch_tokens=40)
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), runtime)
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS * 3)]
    batches, told = [], []
    part = LaneInput.part
    monkeypatch.setattr(LaneInput, "part", lambda given, places: (batches.append(places), part(given, places))[1])
    encoder.encode_products(texts, progress=lambda count: told.append(-count), under_way=told.append)
    firsts = np.cumsum([0, *map(len, batches)]) // 12 * 12  # texts go in parts of twelve
    assert told[0::2] == [first + places[0] for first, places in zip(firsts, batches, strict=False)]
    assert told[1::2] == [-len(places) for places in batches]
    assert len(told) == 2 * len(batches) > 6


def test_threads_get_the_vectors_of_their_own_texts(encoder):
    texts = [f"{colour} mouse {number}" for number in range(20) for colour in ("red", "blue", "green white and black")]
    expected = {text: encoder.encode_queries([text]) for text in texts}
    start = threading.Barrier(8)

    def encode(own):
        start.wait()
        return [(text, encoder.encode_queries([text])) for text in own]

    with ThreadPoolExecutor(8) as threads:
        found = [pair for part in threads.map(encode, [texts[number::8] for number in range(8)]) for pair in part]
    assert len(found) == 60
    assert all(np.array_equal(vector, expected[text]) for text, vector in found)


def test_opening_draws_no_bar_tries_no_network_and_sets_no_environment(tiny_model_folder, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")  # the suite sets it; a shop's backend need not
    code = (
        "import os, socket\n"
        "socket.getaddrinfo = socket.socket.connect = lambda *_: print('network')\n"
        "before = dict(os.environ)\nfrom retrieval.config import Backend, EncoderConfig, RuntimeConfig\n"
        "from retrieval.encoder import DualEncoder\n"
        "changed_by_import = before != dict(os.environ)\n"
        f"DualEncoder.open(EncoderConfig(model={str(tiny_model_folder)!r}), RuntimeConfig(device='cpu', threads=1))\n"
        "print(changed_by_import)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
    assert found.stderr == ""


def test_minilm_gives_the_vectors_of_sentence_transformers():
    encoder = DualEncoder.open(EncoderConfig(), RUNTIME)
    texts = ["wireless mouse", "Logitech M185 wireless mouse, grey", "couch"]
    vectors = encoder.encode_products(texts)
    assert np.abs(vectors - library(encoder.folder).encode(texts)).max() < 1e-6
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_weights_that_do_not_fit_on_the_disk_are_a_storage_error(encoder, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from retrieval.folder import write_model_folder

    for cause, message in (
        (SafetensorError("I/O error: No space left on device"), "could not write the weights .*No space left"),
        (OSError(28, "No space left on device"), "could not write .*No space left"),
    ):

        def refuse(*_, cause=cause, **__):
            raise cause

        monkeypatch.setattr(encoder.model, "save", refuse)
        with pytest.raises(StorageError, match=message):
            write_model_folder(encoder.model, tmp_path / "model", settings=encoder.settings, records={})
        assert list(tmp_path.iterdir()) == []


def test_a_tower_at_another_precision_shares_weights_and_lane_and_computes_otherwise(tiny_model_folder):
    runtime = replace(RUNTIME, backend=Backend.torch)
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder), query_max_tokens=12), runtime)
    other = encoder.at_precision(Precision.bf16)
    assert other.model is encoder.model
    assert other.lane.lock is encoder.lane.lock
    assert (other.precision, encoder.precision) == (Precision.bf16, Precision.fp32)
    ours, theirs = encoder.encode_queries(TEXTS), other.encode_queries(TEXTS)
    assert np.abs(ours - theirs).max() > 1e-4
    assert (ours * theirs).sum(axis=1).min() > 0.99
    assert np.abs(other.at_precision(Precision.fp32).encode_queries(TEXTS) - ours).max() == 0
