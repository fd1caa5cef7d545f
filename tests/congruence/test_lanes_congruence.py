"""Every lane against torch in fp32, by value: the same network, written down by hand, in another library."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from indexing.errors import ConfigError
from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.lane import LaneInput
from retrieval.lanes.openvino_graph import Readout, rounded_rows, write_graph
from retrieval.lanes.openvino_lane import SINGLE_TOKENS, OpenVinoLane, group_size

TORCH = RuntimeConfig(device="cpu", threads=2, backend=Backend.torch)
OPENVINO = RuntimeConfig(device="cpu", threads=2, backend=Backend.openvino)
TOLERANCE = {Precision.fp32: 1e-5, Precision.bf16: 2e-2, Precision.int8: 3e-2}
"""Largest difference of a number of a unit vector; 32 dimensions of a random network lose more than a real one's."""

TEXTS = [
    "wireless mouse",
    "",
    "red",
    "office chair with wheels and a very long list of words " * 5,
    "红色",
    "P200",
    *(f"acme {colour} {kind}" for colour in ("red", "blue", "green") for kind in ("sofa", "mouse", "case", "shoes")),
]


def both(folder, precision, **config):
    encoder = EncoderConfig(model=str(folder), **config)
    return DualEncoder.open(encoder, TORCH), DualEncoder.open(encoder, replace(OPENVINO, precision=precision))


def resaved(folder, target, modules=None, prompts=None, include_prompt=True, pooling="mean"):
    """Save the tiny tower with another pooling, further modules, or prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    body = SentenceTransformer(str(folder), device="cpu")[0]
    pooled = Pooling(32, pooling_mode=pooling, include_prompt=include_prompt)
    SentenceTransformer(modules=[body, pooled, *(modules or [])], device="cpu", prompts=prompts).save_pretrained(
        str(target)
    )
    return target


# --- the dual encoder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_openvino_gives_the_vectors_of_torch(tiny_model_folder, precision):
    reference, fast = both(tiny_model_folder, precision)
    expected, found = reference.encode_products(TEXTS), fast.encode_products(TEXTS)
    assert (fast.lane.backend, fast.precision) == (Backend.openvino, precision)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, expected.shape, True)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert np.abs(found - expected).max() < TOLERANCE[precision]
    assert np.abs(expected[0] - expected[2]).max() > 0.1  # or the comparison above would mean little
    assert np.abs(fast.encode_queries(TEXTS) - reference.encode_queries(TEXTS)).max() < TOLERANCE[precision]


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.int8])
def test_a_coarser_arithmetic_is_really_used(tiny_model_folder, precision):
    reference, fast = both(tiny_model_folder, precision)
    assert np.abs(fast.encode_products(TEXTS) - reference.encode_products(TEXTS)).max() > 1e-4


def test_int8_rounds_more_than_bf16_alone(tiny_model_folder):
    _, int8 = both(tiny_model_folder, Precision.int8)
    bf16 = int8.at_precision(Precision.bf16)
    assert (bf16.lane.backend, bf16.precision) == (Backend.openvino, Precision.bf16)
    assert np.abs(int8.encode_products(TEXTS) - bf16.encode_products(TEXTS)).max() > 1e-4


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_a_vector_does_not_depend_on_what_shares_its_batch(tiny_model_folder, precision):
    _, fast = both(tiny_model_folder, precision)
    together = fast.encode_products(TEXTS)
    alone = np.concatenate([fast.encode_products([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < (1e-5 if precision is Precision.fp32 else 8e-3)
    assert np.abs(fast.encode_products(TEXTS[::-1])[::-1] - together).max() < 1e-6


def test_the_same_texts_give_the_same_bytes(tiny_model_folder):
    _, fast = both(tiny_model_folder, Precision.int8)
    again = DualEncoder.open(fast.config, replace(OPENVINO, precision=Precision.int8))
    assert fast.encode_products(TEXTS).tobytes() == again.encode_products(TEXTS).tobytes()


@pytest.mark.parametrize(("pooling", "include_prompt"), [("mean", True), ("mean", False), ("cls", True)])
def test_prompts_and_pooling_are_those_of_torch(tiny_model_folder, tmp_path, pooling, include_prompt):
    prompts = {"query": "search for: ", "document": "a product: "}
    folder = resaved(
        tiny_model_folder, tmp_path / "model", prompts=prompts, include_prompt=include_prompt, pooling=pooling
    )
    reference, fast = both(folder, Precision.fp32)
    assert np.abs(fast.encode_queries(TEXTS) - reference.encode_queries(TEXTS)).max() < 1e-5
    assert np.abs(fast.encode_products(TEXTS) - reference.encode_products(TEXTS)).max() < 1e-5
    alone = np.concatenate([fast.encode_queries([text]) for text in TEXTS])
    assert np.abs(alone - reference.encode_queries(TEXTS)).max() < 1e-5
    plain, _ = both(resaved(tiny_model_folder, tmp_path / "plain", pooling=pooling), Precision.fp32)
    assert np.abs(plain.encode_queries(TEXTS) - reference.encode_queries(TEXTS)).max() > 1e-2


def test_a_single_text_may_have_any_length(tiny_model_folder):
    reference, fast = both(tiny_model_folder, Precision.fp32)
    texts = ["red " * words for words in range(2 * max(SINGLE_TOKENS))]
    alone = np.concatenate([fast.encode_queries([text]) for text in texts])
    assert np.abs(alone - reference.encode_queries(texts)).max() < 1e-5


def test_dense_layers_and_a_shorter_dimension_are_those_of_torch(tiny_model_folder, tmp_path):
    from sentence_transformers.base.modules import Dense

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        modules = [Dense(32, 24), Dense(24, 16, bias=False, activation_function=torch.nn.Identity())]
    folder = resaved(tiny_model_folder, tmp_path / "model", modules)
    reference, fast = both(folder, Precision.fp32)
    assert reference.dim == 16
    assert np.abs(fast.encode_products(TEXTS) - reference.encode_products(TEXTS)).max() < 1e-5


def test_roberta_counts_its_positions_from_two(tiny_roberta):
    rows = [np.array([0, 7, 9, 30, 2], np.int32), np.array([0, 8, 2], np.int32)]
    graph = write_graph(BertWeights.of(tiny_roberta, named="tiny"), Readout(pooling="mean"), int8=False, pairs=False)
    lane = OpenVinoLane(graph, width=32, hidden=32, precision=Precision.fp32, threads=1, batch_tokens=64, pad_token=1)
    tokens = torch.tensor([[0, 7, 9, 30, 2], [0, 8, 2, 1, 1]])
    with torch.inference_mode():
        states = tiny_roberta(input_ids=tokens, attention_mask=(tokens != 1).long()).last_hidden_state
    expected = np.stack([states[0].mean(0).numpy(), states[1, :3].mean(0).numpy()])
    assert np.abs(lane.run(LaneInput(rows)) - expected).max() < 1e-5


def test_a_single_text_is_read_as_among_others_and_padding_never_for_it(tiny_roberta):
    weights = BertWeights.of(tiny_roberta, named="tiny")
    assert weights.positions == tiny_roberta.config.max_position_embeddings - 2
    rows = [np.array([0, 7, 9, 30, 2], np.int32), np.array([0, 8, 2], np.int32)]
    lane = OpenVinoLane(
        write_graph(weights, Readout(pooling="cls"), int8=False, pairs=False),
        width=32, hidden=32, precision=Precision.fp32, threads=1, batch_tokens=64, pad_token=1, singles=[16],
    )  # fmt: skip
    alone = np.concatenate([lane.run(LaneInput([row])) for row in rows])
    assert np.abs(alone - lane.run(LaneInput(rows))).max() < 1e-5
    with pytest.raises(ValueError, match=r"shape mismatch: value array of shape \(0,32\)"):
        lane.run(LaneInput([np.empty(0, np.int32)]))  # there is no first token


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_a_last_layer_for_the_first_token_alone_is_exact(tiny_model_folder, precision):
    network = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), TORCH).model[0].auto_model
    weights = BertWeights.of(network, named="tiny")
    rows = [np.array([2, 7, 9, 30, 40, 3], np.int32), np.array([2, 8, 3], np.int32), np.array([2, 3], np.int32)]
    found = [
        OpenVinoLane(
            write_graph(
                weights, Readout(pooling="cls"), int8=precision is Precision.int8, pairs=False, whole=whole
            ),
            width=32, hidden=32, precision=precision, threads=1, batch_tokens=64, pad_token=0,
        ).run(LaneInput(rows))
        for whole in (True, False)
    ]  # fmt: skip
    assert np.abs(found[0] - found[1]).max() < (1e-5 if precision is Precision.fp32 else 2e-2)
    assert np.abs(found[0][0] - found[0][1]).max() > 0.1


# --- the cross-encoder ------------------------------------------------------------------------------------------------


def scorers(folder, precision):
    config = CrossEncoderConfig(model=str(folder), weight=0.5)
    runtimes = (TORCH, replace(OPENVINO, precision=precision))
    return [CrossEncoderReranker.open(config, runtime) for runtime in runtimes]


def pooled_cross_encoder(tiny_model_folder: Path, target: Path) -> Path:
    """Save a cross-encoder of the shape that training here writes: transformer, mean, one linear layer."""
    from rerank.model import new_cross_encoder

    model = new_cross_encoder(tiny_model_folder, layers=2, max_tokens=48)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        torch.nn.init.normal_(model[2].linear.weight, std=1.0)
    model.save_pretrained(str(target))
    return target


@pytest.mark.parametrize("precision", list(TOLERANCE))
@pytest.mark.parametrize("shape", ["classifier", "pooled"])
def test_openvino_gives_the_scores_of_torch(tiny_model_folder, tiny_cross_encoder_folder, tmp_path, precision, shape):
    pooled = shape == "pooled"
    folder = pooled_cross_encoder(tiny_model_folder, tmp_path / "ce") if pooled else tiny_cross_encoder_folder
    reference, fast = scorers(folder, precision)
    pairs = [(query, text) for query in ("red shoes", "usb charger for my phone") for text in TEXTS]
    expected, found = reference.score_many(pairs), fast.score_many(pairs)
    assert fast.lane.description == f"openvino {precision.name}, 2 threads"
    assert np.ptp(expected) > 0.5
    share = {Precision.fp32: 1e-5, Precision.bf16: 0.03, Precision.int8: 0.06}[precision]
    assert np.abs(found - expected).max() < share * np.ptp(expected)
    assert len(np.unique(found)) >= len(np.unique(expected)) - 1  # the head is in float32: good candidates do not tie


def test_fewer_layers_score_alike_in_both_libraries(tiny_cross_encoder_folder):
    reference, fast = (each.variant(layers=1) for each in scorers(tiny_cross_encoder_folder, Precision.fp32))
    assert fast.lane.backend is Backend.openvino
    assert np.abs(fast.score("red shoes", TEXTS) - reference.score("red shoes", TEXTS)).max() < 1e-4
    whole = scorers(tiny_cross_encoder_folder, Precision.fp32)[1]
    assert np.abs(fast.score("red shoes", TEXTS) - whole.score("red shoes", TEXTS)).max() > 1e-3


# --- one lane, many callers -------------------------------------------------------------------------------------------


def test_callers_in_many_threads_get_what_one_alone_gets(tiny_model_folder):
    _, fast = both(tiny_model_folder, Precision.fp32)
    fast.lane._batch_tokens = 24  # many batches for few streams
    expected = {text: fast.encode_products([text])[0] for text in TEXTS}
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(lambda shift: fast.encode_products(TEXTS[shift:] + TEXTS[:shift]), range(len(TEXTS)))
        )
    for shift, vectors in enumerate(answers):
        for text, vector in zip(TEXTS[shift:] + TEXTS[:shift], vectors, strict=True):
            assert np.abs(vector - expected[text]).max() < 1e-5


def test_one_call_uses_no_more_streams_than_its_threads_and_leaves_the_others_free(tiny_model_folder, monkeypatch):
    from retrieval.lanes import openvino_lane

    monkeypatch.setattr(openvino_lane, "available_cores", lambda: 3)
    config = EncoderConfig(model=str(tiny_model_folder))
    fast = DualEncoder.open(config, replace(OPENVINO, threads=1))
    fast.lane._batch_tokens = 24
    free: list[int] = []
    fast.encode_products(TEXTS, progress=lambda _: free.append(fast.lane._requests.qsize()))
    assert len(free) > 3
    assert set(free) == {3}  # its one stream just given back, two never taken


def test_progress_counts_every_text_once_and_no_texts_give_no_rows(tiny_model_folder):
    _, fast = both(tiny_model_folder, Precision.fp32)
    counted: list[int] = []
    fast.encode_products(TEXTS, progress=counted.append)
    assert sum(counted) == len(TEXTS)
    assert len(counted) >= 2  # for every stream something to do
    assert fast.encode_products([]).shape == (0, 32)


def test_an_error_in_one_call_leaves_the_lane_whole(tiny_model_folder):
    _, fast = both(tiny_model_folder, Precision.fp32)
    expected = fast.encode_products(TEXTS)

    def broken(_: int) -> None:
        raise RuntimeError("stop here")

    for _ in range(5):  # more often than there are streams: a stream that is not given back would be waited for
        with pytest.raises(RuntimeError, match="stop here"):
            fast.encode_products(TEXTS, progress=broken)
    assert np.abs(fast.encode_products(TEXTS) - expected).max() < 1e-6


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_rounded_row_is_off_by_half_a_step_at_most_and_zero_stays_zero():
    weight = np.random.default_rng(3).standard_normal((5, 40)).astype(np.float32)
    weight[2] = 0
    scale, whole = rounded_rows(weight)
    assert (scale.shape, whole.dtype) == ((5, 1), np.int8)
    assert (np.abs(weight - whole * scale) <= scale / 2 * 1.0001).all()
    assert np.abs(whole[[0, 1, 3, 4]]).max(axis=1).tolist() == [127] * 4
    assert not whole[2].any()


@pytest.mark.parametrize(("hidden", "size"), [(384, 64), (768, 64), (1024, 64), (32, 32), (312, 52), (1, 1)])
def test_a_group_divides_the_width(hidden, size):
    assert group_size(hidden) == size


# --- what cannot run so -----------------------------------------------------------------------------------------------


def test_another_kind_of_network_is_refused_by_name(tiny_model_folder):
    import transformers

    network = transformers.DistilBertModel(
        transformers.DistilBertConfig(vocab_size=20, dim=8, n_layers=1, n_heads=1, hidden_dim=8)
    )
    with pytest.raises(ConfigError, match=r"can run shop: its kind is distilbert.* set runtime.backend=torch"):
        BertWeights.of(network, named="shop")


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [("hidden_act", "relu", "its activation is relu, gelu expected"), ("is_decoder", True, "it is a decoder")],
)
def test_another_arithmetic_of_a_known_network_is_refused(tiny_model_folder, setting, value, reason):
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), TORCH)
    network = encoder.model[0].auto_model
    setattr(network.config, setting, value)
    with pytest.raises(ConfigError, match=reason):
        BertWeights.of(network, named="tiny")


def test_another_pooling_or_activation_is_refused(tiny_model_folder, tmp_path):
    from sentence_transformers.base.modules import Dense

    with pytest.raises(ConfigError, match=r"it pools by max, mean or cls expected; set runtime.backend=torch"):
        both(resaved(tiny_model_folder, tmp_path / "max", pooling="max"), Precision.fp32)
    with pytest.raises(ConfigError, match="it pools the first token behind the prompt"):
        both(resaved(tiny_model_folder, tmp_path / "behind", pooling="cls", include_prompt=False), Precision.fp32)
    relu = [Dense(32, 8, activation_function=torch.nn.ReLU())]
    with pytest.raises(ConfigError, match="a Dense layer has the activation ReLU, Identity or Tanh expected"):
        both(resaved(tiny_model_folder, tmp_path / "relu", relu), Precision.fp32)


def test_a_cross_encoder_with_another_head_is_refused(tiny_cross_encoder_folder, tmp_path):
    folder = shutil.copytree(tiny_cross_encoder_folder, tmp_path / "other")
    from rerank.lanes import classification_head
    from rerank.model import load_cross_encoder

    network = load_cross_encoder(folder)[0].auto_model
    network.classifier = torch.nn.Identity()
    with pytest.raises(ConfigError, match="its head is neither BERT's nor RoBERTa's"):
        classification_head(network, named="other")
