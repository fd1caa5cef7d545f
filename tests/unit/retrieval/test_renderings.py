"""Texts with fields left out: never the title, never the whole text, and every field now and then."""

from retrieval.config import TextConfig
from retrieval.renderings import DROPPED, renderings
from retrieval.text import TextTemplate

TEXT = TextConfig(fields=["title", "description", "brand", "category", "attributes"], labels=True)


def test_the_title_stays_and_something_is_missing(tiny_products):
    found = renderings(tiny_products, TEXT)
    template = TextTemplate(TEXT)
    assert len(found) > 40
    for product in tiny_products:
        for text in found.get(product.product_id, ()):
            assert text.startswith(product.title)
            assert text != template.render(product)
            assert len(text) < len(template.render(product))


def test_every_field_is_left_out_about_as_often_as_stated(tiny_products):
    products = tiny_products * 20
    lost = dict.fromkeys(("category", "colour", "description"), 0)
    for number, product in enumerate(products):
        for (text,) in renderings([product], TEXT, copies=1, seed=number).values():
            lost["category"] += f". {product.category}." not in f"{text}."
            lost["colour"] += "colour: " not in text
            lost["description"] += product.description not in text
    whole = len(products)  # those that lost nothing are not rendered, so they count as whole
    assert abs(lost["category"] / whole - DROPPED["category"]) < 0.05
    assert abs(lost["colour"] / whole - DROPPED["attributes"]) < 0.05
    assert abs(lost["description"] / whole - DROPPED["description"]) < 0.05


def test_a_product_of_a_title_alone_has_none(tiny_products):
    assert renderings(tiny_products, TextConfig(fields=["title"])) == {}


def test_the_seed_and_the_place_decide(tiny_products):
    assert renderings(tiny_products, TEXT) == renderings(tiny_products, TEXT)
    assert renderings(tiny_products, TEXT) != renderings(tiny_products, TEXT, seed=8)
