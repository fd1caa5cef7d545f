"""Passages: how a product's text is taken apart, and which stretch is nearest."""

import numpy as np
import pytest

from retrieval.config import EncoderConfig, RuntimeConfig, TextConfig
from retrieval.encoder import DualEncoder
from retrieval.passages import ProductTower, nearest_passages
from retrieval.records import Product
from retrieval.text import TextTemplate

MOUSE = Product(
    "1",
    "Mouse No. 5",
    description="For small hands. Red!\nRuns 2.5 years; no cable",
    attributes={"colour": "red. very"},
)


class Tower:
    """Puts texts with the letter d on the query's axis, nearer the shorter they are; reads 30 characters."""

    def encode_products(self, texts):
        cosines = np.array([1 / len(text) if "d" in text else 0 for text in texts])
        return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)

    def read_chars(self, text):
        return min(30, len(text))


def nearest(product=MOUSE, **settings):
    settings = {"fields": ["title", "description", "attributes"], **settings}
    return nearest_passages(Tower(), TextTemplate(TextConfig(**settings)), product, np.array([1, 0], np.float32))


def test_fields_are_passages_and_running_text_is_cut_into_sentences():
    assert sorted((passage.field, passage.text) for passage in nearest()) == [
        ("attributes.colour", "red. very"),
        ("description", "For small hands."),
        ("description", "Red!"),
        ("description", "Runs 2.5 years;"),
        ("description", "no cable"),
        ("title", "Mouse No. 5"),
    ]


def test_the_nearest_comes_first_and_equal_ones_keep_the_order_of_the_text():
    found = nearest()
    assert [passage.text for passage in found] == [
        "Red!",
        "red. very",
        "For small hands.",
        "Mouse No. 5",
        "Runs 2.5 years;",
        "no cable",
    ]
    assert [passage.cosine for passage in found[:3]] == pytest.approx([1 / 4, 1 / 9, 1 / 16])


def test_a_passage_that_begins_beyond_what_the_encoder_reads_is_marked():
    # "Mouse No. 5. For small hands. Red!": Red! begins at character 30.
    assert {passage.text: passage.is_read for passage in nearest()} == {
        "Mouse No. 5": True,
        "For small hands.": True,
        "Red!": False,
        "Runs 2.5 years;": False,
        "no cable": False,
        "red. very": False,
    }


def test_sentences_without_blanks_between_them_are_told_apart():
    product = Product("1", "鼠标", description="无线鼠标。红色！很小")
    assert sorted(p.text for p in nearest(product, fields=["description"])) == ["很小", "无线鼠标。", "红色！"]


def test_a_product_without_any_of_the_fields_has_no_passage():
    assert nearest(Product("1", "Mouse"), fields=["description"]) == ()


def test_the_dual_encoder_is_a_tower_whose_passages_have_its_own_cosines(tiny_model_folder):
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RuntimeConfig(device="cpu", threads=1))
    assert isinstance(encoder, ProductTower)
    (query,) = encoder.encode_queries(["red shoes"])
    long = Product("1", "Sofa", description="Red running shoes. " + "blue lamp " * 60 + ". Red shoes.")
    template = TextTemplate(TextConfig())
    found = nearest_passages(encoder, template, long, query)
    assert found[0].text == "Red shoes."
    assert found[0].cosine == pytest.approx(float(encoder.encode_products(["Red shoes."])[0] @ query), abs=1e-5)
    assert {passage.text[:9]: passage.is_read for passage in found} == {
        "Red shoes": False,  # behind 64 tokens
        "Red runni": True,
        "Sofa": True,
        "blue lamp": True,
    }
