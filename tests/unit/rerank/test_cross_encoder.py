import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexing.errors import ArtifactCorrupt, ConfigError
from rerank import open_reranker
from rerank.config import CrossEncoderConfig
from rerank.cross_encoder import CrossEncoderReranker
from rerank.final import Convex
from retrieval.config import Backend, Precision, RuntimeConfig

QUERIES = ("red running shoes", "usb charger", "wireless mouse for a small hand")
TEXTS = (
    "Acme red running shoes",
    "A black usb charger by Norvik for your phone. Charges two phones at a time, folds flat, comes with a cable",
    "mouse",
    "Solari green office chair, ergonomic, with arm rests and a head rest, for people who sit all day long at work",
    "wireless mouse pad",
    "",
    "sofa",
)


def opened(folder, *, weight=0.5, max_tokens=0, **runtime):
    config = CrossEncoderConfig(model=str(folder), weight=weight, max_tokens=max_tokens)
    return CrossEncoderReranker.open(config, RuntimeConfig(device="cpu", threads=1, **runtime))


@pytest.fixture(scope="module")
def reranker(tiny_cross_encoder_folder):
    return opened(tiny_cross_encoder_folder)


def test_scores_are_the_librarys_logits(reranker, tiny_cross_encoder_folder):
    import torch
    from sentence_transformers import CrossEncoder

    pairs = [(query, text) for query in QUERIES for text in TEXTS]
    library = CrossEncoder(str(tiny_cross_encoder_folder), device="cpu")
    expected = library.predict(pairs, activation_fn=torch.nn.Identity())
    assert reranker.score_many(pairs) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.1  # or the comparison above would mean nothing


def test_scores_do_not_depend_on_the_batch_size(tiny_cross_encoder_folder):
    pairs = [(query, text) for query in QUERIES for text in TEXTS]
    alone = opened(tiny_cross_encoder_folder, batch_tokens=1).score_many(pairs)
    together = opened(tiny_cross_encoder_folder, batch_tokens=100_000).score_many(pairs)
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_score_does_not_depend_on_the_other_candidates(reranker):
    whole = reranker.score(QUERIES[0], TEXTS)
    for place, text in enumerate(TEXTS):
        assert reranker.score(QUERIES[0], [text])[0] == pytest.approx(whole[place], abs=1e-5)


def test_scores_come_in_the_order_of_the_texts(reranker):
    whole = reranker.score(QUERIES[1], TEXTS)
    shuffled = [3, 0, 6, 2, 5, 1, 4]
    assert reranker.score(QUERIES[1], [TEXTS[i] for i in shuffled]) == pytest.approx(whole[shuffled], abs=1e-5)


def test_equal_texts_get_equal_scores_whatever_batch_they_fall_into(tiny_cross_encoder_folder):
    texts = [TEXTS[2], TEXTS[1], TEXTS[2], TEXTS[3], TEXTS[2]]
    scores = opened(tiny_cross_encoder_folder, batch_tokens=30, precision=Precision.bf16).score(QUERIES[2], texts)
    assert scores[0] == scores[2] == scores[4]


def test_no_texts_give_no_scores(reranker):
    scores = reranker.score("anything", [])
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


def test_bf16_scores_are_close_and_not_rounded_to_bf16(tiny_cross_encoder_folder, reranker):
    pairs = [(query, text) for query in QUERIES for text in TEXTS]
    exact = reranker.score_many(pairs)
    rounded = opened(tiny_cross_encoder_folder, precision=Precision.bf16).score_many(pairs)
    assert rounded.dtype == np.float32
    assert rounded == pytest.approx(exact, abs=0.1)
    assert not np.array_equal(rounded, exact)
    # A bfloat16 has 8 significant bits; scores from a head in float32 have more.
    assert any(float(score) * 2 ** (8 - math.frexp(score)[1]) % 1 for score in rounded)


def test_threads_get_the_scores_of_one_thread(reranker):
    queries = [QUERIES[i % 3] for i in range(40)]
    expected = [reranker.score(query, TEXTS).tolist() for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: reranker.score(query, TEXTS).tolist(), queries))
    assert found == expected


def test_a_pair_of_100_kb_is_cut_before_it_is_tokenised(reranker, monkeypatch):
    seen = []

    class Spy:
        def encode_batch(self, texts, **options):
            seen.extend(texts)
            return encoder.encode_batch(texts, **options)

    encoder = reranker.tokenizer._tokenizer
    monkeypatch.setattr(reranker.tokenizer, "_tokenizer", Spy())
    long = [("mouse " * 10_000, "wireless " * 10_000)]
    tokens = reranker.tokenizer.encode(long)[0].tokens
    assert [len(text) for text in seen] == [512, 8192]
    assert len(tokens) == 64  # the longest pair this model reads


def test_a_shorter_longest_pair_can_be_asked_for(tiny_cross_encoder_folder):
    reranker = opened(tiny_cross_encoder_folder, max_tokens=16)
    assert len(reranker.tokenizer.encode([(QUERIES[2], TEXTS[1])])[0].tokens) == 16


def test_a_longer_pair_than_the_model_has_positions_for_is_refused(tiny_cross_encoder_folder):
    with pytest.raises(ConfigError, match="max_tokens=999 is more than the 128 positions"):
        opened(tiny_cross_encoder_folder, max_tokens=999)


def test_lone_surrogates_are_scored_as_question_marks(reranker):
    assert reranker.score("usb \ud800", ["mouse \udfff"]).tolist() == reranker.score("usb ?", ["mouse ?"]).tolist()


def test_weights_that_are_not_finite_are_refused_at_opening(tiny_cross_encoder_folder, tmp_path):
    folder = spoiled(tiny_cross_encoder_folder, tmp_path, float("nan"))
    with pytest.raises(
        ArtifactCorrupt, match=r"1 weights of .* hold NaN or infinity, the first is 0\.model\.classifier"
    ):
        opened(folder)


def test_a_score_that_is_not_finite_is_an_error_that_counts(tiny_cross_encoder_folder, tmp_path):
    # Finite weights whose product is not: what a sum over 32 dimensions of 3e38 gives.
    reranker = opened(spoiled(tiny_cross_encoder_folder, tmp_path, 3e38))
    with pytest.raises(ArtifactCorrupt, match=r"scored [12] of 2 pairs NaN or infinite with precision=fp32"):
        reranker.score("red shoes", ["red shoes", "blue sofa for the wall"])


def spoiled(folder, tmp_path, value):
    """A copy of the folder whose head's weights are all ``value``."""
    from safetensors.numpy import load_file, save_file

    target = tmp_path / "spoiled"
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    tensors["classifier.weight"] = np.full_like(tensors["classifier.weight"], value)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_head_with_several_outputs_is_refused(tiny_cross_encoder_folder, tmp_path):
    from sentence_transformers import CrossEncoder

    folder = tmp_path / "four"
    body = CrossEncoder(str(tiny_cross_encoder_folder), device="cpu")
    body.model.classifier = type(body.model.classifier)(32, 4)
    body.model.config.num_labels = 4
    body.save_pretrained(str(folder))
    with pytest.raises(ConfigError, match="puts out 4 scores per pair, expected 1"):
        opened(folder)


def test_a_configured_model_opens_through_the_package(tiny_cross_encoder_folder):
    reranker = open_reranker(
        CrossEncoderConfig(model=str(tiny_cross_encoder_folder), weight=0.3), RuntimeConfig(device="cpu", threads=1)
    )
    assert isinstance(reranker, CrossEncoderReranker)
    assert (reranker.fusion, reranker.folder) == (Convex(0.3), tiny_cross_encoder_folder)


# --- variants ---------------------------------------------------------------------------------------------------------


def test_the_first_layers_score_as_a_model_that_has_no_others(reranker, tiny_cross_encoder_folder, tmp_path):
    shallow = shutil.copytree(tiny_cross_encoder_folder, tmp_path / "shallow")
    (shallow / "config.json").write_text(
        json.dumps(json.loads((shallow / "config.json").read_text()) | {"num_hidden_layers": 1})
    )
    whole = reranker.score("usb charger", TEXTS)
    cut = reranker.variant(layers=1)
    assert (reranker.layers, cut.layers) == (2, 1)
    assert cut.score("usb charger", TEXTS) == pytest.approx(opened(shallow).score("usb charger", TEXTS), abs=1e-6)
    assert np.abs(cut.score("usb charger", TEXTS) - whole).max() > 1e-3
    assert (reranker.score("usb charger", TEXTS) == whole).all()
    assert 0 < cut.parameter_bytes < reranker.parameter_bytes


def test_a_variant_shares_weights_weight_and_lock_and_differs_in_precision_alone(tiny_cross_encoder_folder):
    reranker = opened(tiny_cross_encoder_folder, backend=Backend.torch)
    other = reranker.variant(precision=Precision.bf16)
    pairs = zip(other.model.parameters(), reranker.model.parameters(), strict=True)
    assert all(theirs is ours for theirs, ours in pairs)
    cut = reranker.variant(layers=2)
    assert {id(p) for p in cut.model.parameters()} == {id(p) for p in reranker.model.parameters()}
    assert other.lane.lock is cut.lane.lock is reranker.lane.lock
    assert other.fusion is reranker.fusion
    assert other.tokenizer.max_tokens == reranker.tokenizer.max_tokens
    difference = np.abs(other.score("usb charger", TEXTS) - reranker.score("usb charger", TEXTS))
    assert 0 < difference.max() < 0.1


def test_layers_that_are_not_there_or_cannot_be_told_apart_are_refused(reranker):
    import torch

    with pytest.raises(ConfigError, match="expected 1 to 2 layers, got 3: the cross-encoder has 2"):
        reranker.variant(layers=3)
    other = reranker.variant(layers=1)
    other.model.append(torch.nn.ModuleList([torch.nn.Identity()]))
    with pytest.raises(ConfigError, match="expected one list of 1 layers in the cross-encoder, found 2"):
        other.variant(layers=1)
