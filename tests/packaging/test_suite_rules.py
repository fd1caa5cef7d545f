"""The rules the whole suite runs under: no network, and fixtures that are the same at every run."""

import hashlib
import socket

import numpy as np
import pytest


@pytest.mark.parametrize("address", [("127.0.0.1", 9), ("192.0.2.1", 80)])
def test_a_connection_fails_the_test_that_opens_it(address):
    with pytest.raises(pytest.fail.Exception, match="network is blocked"), socket.socket() as plain:
        plain.connect(address)
    with pytest.raises(pytest.fail.Exception, match="network is blocked"), socket.socket() as plain:
        plain.connect_ex(address)


def test_a_name_lookup_fails_the_test_that_asks():
    with pytest.raises(pytest.fail.Exception, match=r"a connection to 'example\.com' was tried"):
        socket.getaddrinfo("example.com", 443)


def test_a_socket_in_the_file_system_still_connects(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(str(tmp_path / "here"))
        listener.listen(1)
        caller.connect(str(tmp_path / "here"))
        assert caller.getpeername() == str(tmp_path / "here")


def test_the_toy_shop_has_sixty_products_and_grades_every_pair(tiny_products, tiny_queries, tiny_judgments):
    assert [product.product_id for product in tiny_products] == [f"{number:04d}" for number in range(60)]
    assert tiny_products[0].title == "Acme black wireless mouse A100"
    assert len(tiny_judgments) == len(tiny_queries) * len(tiny_products) == 600
    grades = {(judgment.query_id, judgment.product_id): judgment.grade for judgment in tiny_judgments}
    # red Acme mouse, black Acme mouse, black Acme keyboard, running shoes
    assert [grades["q-red-mouse", product_id] for product_id in ("0001", "0000", "0005", "0055")] == [3, 2, 1, 0]


def test_the_tiny_model_is_the_same_at_every_run(tiny_model_folder):
    from safetensors.numpy import load_file

    words = load_file(tiny_model_folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert words.shape[1] == 32
    # Rounded, because the last bits of a random draw may differ between machines.
    assert hashlib.sha256(np.round(words, 3).tobytes()).hexdigest()[:16] == "abf563c6faeb49cd"


def test_the_tiny_model_tells_the_toy_shop_apart_and_reads_no_chinese(tiny_model_folder, tiny_products):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model_folder), device="cpu")
    vectors = model.encode([product.title for product in tiny_products])
    cosines = vectors @ vectors.T - np.eye(60)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    assert cosines.max() < 0.999
    assert cosines.mean() < 0.8
    red, blue = model.encode(["红色", "蓝色"])
    assert np.array_equal(red, blue)


def test_the_tiny_cross_encoder_scores_pairs_differently(tiny_cross_encoder_folder, tiny_products):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(tiny_cross_encoder_folder), device="cpu")
    scores = model.predict([("red mouse", product.title) for product in tiny_products[:10]])
    assert scores.shape == (10,)
    assert np.ptp(scores) > 0.1
