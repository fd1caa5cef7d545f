"""The packed lane against torch's own network in fp32, by value: the same texts, without padding among them."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from indexing.errors import ConfigError, EnvironmentProblem
from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from retrieval.config import Backend, EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from retrieval.lanes import attention
from retrieval.lanes.attention import Spans, choose_attention, refusal, text_by_text
from retrieval.lanes.bert import BertWeights
from retrieval.lanes.lane import LaneInput
from retrieval.lanes.openvino_graph import Readout
from retrieval.lanes.packed_lane import PackedLane
from retrieval.lanes.packed_network import PackedBert, pack

TORCH = RuntimeConfig(device="cpu", threads=1, backend=Backend.torch)
PACKED = replace(TORCH, backend=Backend.packed)
TEXTS = ["wireless mouse", "", "red", "office chair with wheels " * 9, "红色", *(f"acme {n} sofa" for n in range(9))]


def both(folder, precision=Precision.fp32, **runtime):
    config = EncoderConfig(model=str(folder))
    return DualEncoder.open(config, TORCH), DualEncoder.open(config, replace(PACKED, precision=precision, **runtime))


def random_rows(count, seed, *, first=2, longest=40):
    """Rows of every length from one token on, the shortest and the longest among them."""
    random = np.random.default_rng(seed)
    lengths = [1, longest, *random.integers(1, longest + 1, count - 2)]
    return [np.array([first, *random.integers(5, 100, length - 1)], np.int32) for length in lengths]


def resaved(folder, target, pooling, *, include_prompt=True, prompts=None):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        dense = [Dense(32, 24), Dense(24, 16, bias=False, activation_function=torch.nn.Identity())]
    body = SentenceTransformer(str(folder), device="cpu")[0]
    modules = [body, Pooling(32, pooling_mode=pooling, include_prompt=include_prompt), *dense]
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save_pretrained(str(target))
    return target


# --- the dual encoder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 1, 50, 90])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_of_any_length_have_the_vectors_of_the_padded_network(tiny_model_folder, budget, seed):
    reference, fast = both(tiny_model_folder, batch_tokens=budget)
    given = LaneInput(random_rows(40, seed))
    expected, found = reference.lane.run(given), fast.lane.run(given)
    assert (fast.lane.backend, fast.lane.description) == (Backend.packed, "packed fp32 on cpu")
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, expected.shape, True)
    assert np.abs(found - expected).max() < 1e-6
    assert np.abs(expected[0] - expected[1]).max() > 0.1  # or the comparison above would mean little


@pytest.mark.parametrize(("pooling", "include_prompt"), [("mean", True), ("mean", False), ("cls", True)])
def test_prompts_pooling_and_dense_layers_are_those_of_torch(tiny_model_folder, tmp_path, pooling, include_prompt):
    prompts = {"query": "search for: ", "document": "a product: "}
    folder = resaved(tiny_model_folder, tmp_path / "m", pooling, include_prompt=include_prompt, prompts=prompts)
    reference, fast = both(folder)
    for role in ("encode_queries", "encode_products"):
        expected, found = getattr(reference, role)(TEXTS), getattr(fast, role)(TEXTS)
        assert np.abs(found - expected).max() < 1e-6
    assert np.abs(fast.encode_queries(TEXTS) - fast.encode_products(TEXTS)).max() > 1e-2  # a prompt makes a difference


def test_bf16_is_really_used_and_near(tiny_model_folder):
    reference, fast = both(tiny_model_folder, Precision.bf16)
    difference = np.abs(fast.encode_products(TEXTS) - reference.encode_products(TEXTS)).max()
    assert 1e-4 < difference < 3e-2


def test_roberta_counts_its_positions_from_two(tiny_roberta):
    rows = random_rows(6, 4, first=0)
    lane = PackedLane(
        BertWeights.of(tiny_roberta, named="tiny"), Readout(pooling="mean"),
        width=32, device="cpu", precision=Precision.fp32, batch_tokens=60,
    )  # fmt: skip
    with torch.inference_mode():
        states = [tiny_roberta(input_ids=torch.from_numpy(row)[None].long()).last_hidden_state[0] for row in rows]
    expected = np.stack([state.mean(0).numpy() for state in states])
    assert np.abs(lane.run(LaneInput(rows)) - expected).max() < 2e-6


def test_a_last_layer_for_the_first_token_alone_is_exact_and_computes_no_other(tiny_model_folder):
    network = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), TORCH).model[0].auto_model
    weights, readout = BertWeights.of(network, named="tiny"), Readout(pooling="cls")
    asked: list[int] = []

    def counted(query, *given):
        asked.append(len(query))
        return text_by_text(query, *given)

    batch = pack(LaneInput(random_rows(7, 6)), "cpu", pairs=False)
    with torch.inference_mode():
        cut, whole = (
            PackedBert(weights, readout, device="cpu", dtype=torch.float32, attention=counted, whole=whole)(batch)
            for whole in (False, True)
        )
    assert (cut - whole).abs().max() < 1e-6
    tokens = len(batch.tokens)
    assert asked == [*[tokens] * (weights.layers - 1), 7, *[tokens] * weights.layers]


def test_a_batch_holds_the_tokens_of_its_texts_and_nothing_else():
    rows = [np.array([2, 7, 9], np.int32), np.array([4], np.int32), np.array([5, 6], np.int32)]
    batch = pack(LaneInput(rows, unpooled=1), "cpu", pairs=False)
    assert batch.tokens.tolist() == [2, 7, 9, 4, 5, 6]
    assert batch.places.tolist() == [0, 1, 2, 0, 0, 1]
    assert (batch.spans.starts.tolist(), batch.spans.longest) == ([0, 3, 4, 6], 3)
    assert (batch.firsts.starts.tolist(), batch.firsts.longest) == ([0, 1, 2, 3], 1)
    assert (batch.pooled.tolist(), batch.bags.tolist()) == ([1, 2, 5], [0, 2, 2])  # a text of its prompt alone: none
    assert batch.segments is None


def test_a_row_without_tokens_gives_zeros_and_no_rows_give_none(tiny_model_folder):
    _, fast = both(tiny_model_folder)
    rows = [np.zeros(0, np.int32), np.array([2, 7, 3], np.int32)]
    found = fast.lane.run(LaneInput(rows))
    assert not found[0].any()
    assert np.abs(found[1] - fast.lane.run(LaneInput(rows[1:]))[0]).max() < 1e-6
    assert fast.lane.run(LaneInput([])).shape == (0, 32)


# --- the cross-encoder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["classifier", "pooled", "without segments"])
def test_scores_are_those_of_torch(tiny_model_folder, tiny_cross_encoder_folder, tmp_path, shape):
    folder = tiny_cross_encoder_folder
    if shape == "pooled":
        from rerank.model import new_cross_encoder

        folder = tmp_path / "ce"
        model = new_cross_encoder(tiny_model_folder, layers=2, max_tokens=48)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(9)
            torch.nn.init.normal_(model[2].linear.weight, std=1.0)
        model.save_pretrained(str(folder))
    config = CrossEncoderConfig(model=str(folder), weight=0.5)
    reference, fast = (CrossEncoderReranker.open(config, each) for each in (TORCH, replace(PACKED, batch_tokens=80)))
    if shape == "without segments":
        for each in (reference, fast):
            each.model.tokenizer.model_input_names = ["input_ids", "attention_mask"]
        fast.lane = fast._open_lane(Precision.fp32)
    pairs = [(query, text) for query in ("red shoes", "usb charger for my phone") for text in TEXTS]
    expected, found = reference.score_many(pairs), fast.score_many(pairs)
    assert fast.lane.description == "packed fp32 on cpu"
    assert np.ptp(expected) > 0.2
    assert np.abs(found - expected).max() < 2e-6


def test_fewer_layers_score_alike(tiny_cross_encoder_folder):
    config = CrossEncoderConfig(model=str(tiny_cross_encoder_folder), weight=0.5)
    reference, fast = (CrossEncoderReranker.open(config, each).variant(layers=1) for each in (TORCH, PACKED))
    assert fast.lane.backend is Backend.packed
    assert np.abs(fast.score("red shoes", TEXTS) - reference.score("red shoes", TEXTS)).max() < 2e-6


# --- one lane, many callers -------------------------------------------------------------------------------------------


def test_callers_in_many_threads_get_what_one_alone_gets(tiny_model_folder):
    _, fast = both(tiny_model_folder, batch_tokens=24)
    expected = {text: fast.encode_products([text])[0] for text in TEXTS}
    with ThreadPoolExecutor(4) as threads:
        shifted = [TEXTS[shift:] + TEXTS[:shift] for shift in range(len(TEXTS))]
        answers = list(threads.map(fast.encode_products, shifted))
    for texts, vectors in zip(shifted, answers, strict=True):
        assert np.abs(vectors - np.stack([expected[text] for text in texts])).max() < 1e-6


def test_the_next_batch_is_under_way_before_one_is_waited_for(tiny_model_folder, monkeypatch):
    _, fast = both(tiny_model_folder, batch_tokens=40)
    begun, order = fast.lane._start, []
    monkeypatch.setattr(fast.lane, "_start", lambda *given: (order.append("begun"), begun(*given))[1])
    fast.encode_products(TEXTS, progress=order.append)
    assert sum(each for each in order if each != "begun") == len(TEXTS)
    assert order.count("begun") > 2
    assert order[:3] == ["begun", "begun", order[2]]
    assert [each == "begun" for each in order[1:-1]] == [place % 2 == 0 for place in range(len(order) - 2)]


# --- attention --------------------------------------------------------------------------------------------------------


def in_place_of_torchs(monkeypatch, attend):
    """Stand in for ``torch.nn.attention.varlen.varlen_attn``: same arguments, by position."""

    def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
        assert (cu_seq_q.dtype, cu_seq_q.is_contiguous()) == (torch.int32, True)
        assert (max_q, max_k) == (int(cu_seq_q.diff().max()), int(cu_seq_k.diff().max()))
        return attend(query, key, value, Spans(cu_seq_q, max_q), Spans(cu_seq_k, max_k))

    module = ModuleType("torch.nn.attention.varlen")
    module.varlen_attn = varlen_attn
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_attention_text_by_text_is_that_of_the_formula():
    random = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(6, 2, 8, generator=random, dtype=torch.float64) for _ in range(3))
    spans = Spans(torch.tensor([0, 1, 6], dtype=torch.int32), 5)
    found = text_by_text(query, key, value, spans, spans)
    weights = torch.softmax(torch.einsum("qhw,khw->hqk", query[1:], key[1:]) / 8**0.5, dim=2)
    assert (found[1:] - torch.einsum("hqk,khw->qhw", weights, value[1:])).abs().max() < 1e-12
    assert torch.equal(found[0], value[0])  # a text of one token reads itself


def test_an_attention_of_torch_that_gives_the_same_is_taken(tiny_model_folder, monkeypatch):
    in_place_of_torchs(monkeypatch, text_by_text)
    assert refusal("cpu", heads=2, width=16) == ""
    monkeypatch.setattr(attention, "refusal", lambda *_, **__: "")
    assert choose_attention("cuda", heads=2, width=16) is attention.varlen
    reference, fast = both(tiny_model_folder)
    monkeypatch.setattr(fast.lane._network, "_attention", attention.varlen)
    assert np.abs(fast.encode_products(TEXTS) - reference.encode_products(TEXTS)).max() < 1e-6


def test_an_attention_of_torch_that_is_missing_fails_or_is_wrong_is_refused_with_the_reason(monkeypatch):
    assert refusal("cpu", heads=2, width=20) == "heads of 20 numbers, a multiple of 8 up to 256 expected"
    assert "none that works on cpu (NotImplementedError" in refusal("cpu", heads=2, width=16)  # torch's own
    in_place_of_torchs(monkeypatch, lambda query, key, value, *_: value)
    assert "gives it wrong on cpu, by " in refusal("cpu", heads=2, width=16)
    in_place_of_torchs(monkeypatch, lambda query, *_: query * torch.nan)
    assert "gives it wrong on cpu, by nan" in refusal("cpu", heads=2, width=16)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    assert "none that works on cpu (ModuleNotFoundError" in refusal("cpu", heads=2, width=16)
    monkeypatch.setattr(attention, "refusal", lambda *_, **__: "the reason")
    with pytest.raises(EnvironmentProblem, match=r"packed needs attention .*: the reason; set runtime.backend=torch"):
        choose_attention("cuda", heads=2, width=16)


def test_a_model_that_it_does_not_know_is_refused(tiny_model_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"it pools by max, mean or cls expected; set runtime.backend=torch"):
        both(resaved(tiny_model_folder, tmp_path / "max", "max"))
