import hashlib
import json

import pytest

from indexing.errors import ConfigError, InvalidQuery, QueryTooLong
from retrieval.config import TextConfig
from retrieval.records import Product
from retrieval.suggestions import closest, did_you_mean, listed
from retrieval.text import TextTemplate, normalise_query, scalar_text, text_key

LAMP = Product(
    product_id="1",
    title="Desk lamp",
    description="Warm light",
    brand="Norvik",
    category="lighting",
    attributes={"colour": "black", "watts": "9", "shape": "round"},
    price=12.5,
    extra={"in_stock": True, "stars": 4.0, "note": None},
)


def render(product=LAMP, **settings):
    return TextTemplate(TextConfig(**settings)).render(product)


# --- template ---------------------------------------------------------------------------------------------------------


def test_default_text_is_title_then_description():
    assert render() == "Desk lamp. Warm light"


def test_fields_come_in_the_order_of_the_template_joined_by_its_separator():
    assert render(fields=["brand", "title", "category"], separator=" | ") == "Norvik | Desk lamp | lighting"


def test_the_parts_of_a_text_name_the_field_of_every_stretch():
    template = TextTemplate(TextConfig(fields=["title", "attributes", "price", "stars"], labels=True, separator=" / "))
    text = template.render(LAMP)
    assert [(field, text[start:stop]) for field, start, stop in template.parts(LAMP)] == [
        ("title", "Desk lamp"),
        ("attributes.colour", "colour: black"),
        ("attributes.watts", "watts: 9"),
        ("attributes.shape", "shape: round"),
        ("price", "12.5"),
        ("stars", "stars: 4"),
    ]


def test_the_parts_of_a_text_end_where_the_text_is_cut():
    template = TextTemplate(TextConfig(fields=["title", "brand", "description"], max_chars=14))
    assert template.render(LAMP) == "Desk lamp. Nor"
    assert template.parts(LAMP) == [("title", 0, 9), ("brand", 11, 14)]


def test_the_parts_of_a_lower_cased_text_count_letters_that_become_two():
    product = Product("1", "İstanbul", description="Lamp")
    template = TextTemplate(TextConfig(lower_case=True))
    text = template.render(product)
    assert [text[start:stop] for _, start, stop in template.parts(product)] == ["i̇stanbul", "lamp"]


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_empty_field_leaves_no_separator_behind(empty):
    product = Product(product_id="1", title="Desk lamp", description=empty, brand="Norvik")
    assert render(product, fields=["title", "description", "brand"]) == "Desk lamp. Norvik"
    assert render(product, fields=["description", "title"]) == "Desk lamp"


def test_product_without_any_of_the_fields_has_an_empty_text():
    assert render(Product(product_id="1", title="x"), fields=["brand", "price", "attributes"]) == ""


def test_attributes_are_values_alone_or_named_when_labels_are_asked_for():
    assert render(fields=["attributes"]) == "black. 9. round"
    assert render(fields=["attributes"], labels=True) == "colour: black. watts: 9. shape: round"


def test_no_more_attributes_than_the_template_allows_are_taken():
    assert render(fields=["attributes"], max_attributes=2) == "black. 9"
    assert render(fields=["title", "attributes"], max_attributes=0) == "Desk lamp"


def test_one_attribute_can_be_named_and_may_be_absent():
    assert render(fields=["title", "attributes.watts"], labels=True) == "Desk lamp. watts: 9"
    assert render(fields=["title", "attributes.height"], labels=True) == "Desk lamp"


def test_price_and_kept_columns_are_written_as_a_shopper_would_read_them():
    assert render(fields=["price", "in_stock", "stars", "note"]) == "12.5. yes. 4"
    assert render(fields=["stars"], labels=True) == "stars: 4"


def test_text_is_lower_cased_only_on_request():
    assert render(lower_case=True) == "desk lamp. warm light"


def test_text_is_cut_at_the_character_limit():
    assert render(max_chars=11) == "Desk lamp. "


def test_field_that_names_nothing_is_refused_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"text\.fields names 'titel'.*there: title, description.*did you mean 'title'\?"
    ):
        render(fields=["titel"])


def test_attribute_named_without_its_prefix_is_pointed_out():
    with pytest.raises(
        ConfigError, match=r"'colour', which product '1' does not have.*did you mean 'attributes.colour'\?"
    ):
        render(fields=["colour"])


def test_misspelled_kept_column_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"catalog\.keep; did you mean 'in_stock'\?"):
        render(fields=["in_stok"])


@pytest.mark.parametrize("name", ["", " ", "attributes."])
def test_field_without_a_name_is_refused(name):
    with pytest.raises(ConfigError, match=f"text.fields holds {name!r}; expected title"):
        TextTemplate(TextConfig(fields=["title", name]))


def test_field_named_twice_is_refused():
    with pytest.raises(ConfigError, match="names title twice"):
        TextTemplate(TextConfig(fields=["title", "brand", "title"]))


def test_description_of_a_template_changes_with_every_setting_that_changes_texts():
    changed = [
        TextConfig(fields=["title"]),
        TextConfig(fields=["description", "title"]),
        TextConfig(separator=" "),
        TextConfig(labels=True),
        TextConfig(max_attributes=7),
        TextConfig(lower_case=True),
        TextConfig(max_chars=100),
    ]
    described = [TextTemplate(config).describe() for config in (TextConfig(), *changed)]
    assert len(set(described)) == 8


def test_description_of_a_template_does_not_depend_on_the_thresholds_for_warnings():
    plain, warned = TextConfig(), TextConfig(truncation_warning=0.0, unknown_warning=1.0)
    assert TextTemplate(plain).describe() == TextTemplate(warned).describe()


def test_description_of_the_default_template_is_what_existing_fingerprints_hold():
    assert json.loads(TextTemplate(TextConfig()).describe()) == {
        "version": 1,
        "fields": ["title", "description"],
        "separator": ". ",
        "labels": False,
        "max_attributes": 8,
        "lower_case": False,
        "max_chars": 8192,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (6.0, "6"),
        (6.5, "6.5"),
        (0, "0"),
        (-0.0, "0"),
        ("a", "a"),
        (1e300, "1e+300"),
    ],
)
def test_scalar_is_written_as_a_shopper_would_read_it(value, text):
    assert scalar_text(value) == text


# --- keys -------------------------------------------------------------------------------------------------------------


def test_text_key_is_the_head_of_sha256_of_utf8():
    assert text_key("Café") == hashlib.sha256("Café".encode()).digest()[:16]


def test_text_key_exists_for_half_a_surrogate_pair_and_differs_from_its_replacement():
    assert len(text_key("\ud83d")) == 16
    assert text_key("\ud83d") != text_key("\ufffd")


# --- queries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("  wireless\t \n mouse ", "wireless mouse"),
        ("ＵＳＢ－Ｃ", "USB-C"),
        ("10½ inch", "101⁄2 inch"),
        ("cafe\u0301", "café"),
        ("a\x00b\x1b\x7f\x9fc", "abc"),
        ("a\u00a0b\u3000c\u2028d\x85e\x1cf", "a b c d e f"),
        ("e\x00\u0301", "é"),
        ("red \ud83d shoes", "red \ufffd shoes"),
        ("红色 跑鞋", "红色 跑鞋"),
        ("Keep CASE", "Keep CASE"),
    ],
)
def test_query_has_one_form(typed, normal):
    assert normalise_query(typed) == normal
    assert normalise_query(normal) == normal


@pytest.mark.parametrize("typed", ["", "   ", "\x00\x01", "\u200b", "\ufeff \u200b", "\t\n"])
def test_query_without_a_visible_character_is_refused(typed):
    with pytest.raises(InvalidQuery, match="at least one visible character, got"):
        normalise_query(typed)


@pytest.mark.parametrize(("given", "name"), [(None, "NoneType"), (b"mouse", "bytes"), (7, "int"), (["mouse"], "list")])
def test_query_that_is_no_string_is_refused_by_its_type(given, name):
    with pytest.raises(InvalidQuery, match=f"must be a string, got {name}"):
        normalise_query(given)


def test_query_of_a_megabyte_is_refused_from_its_length_alone():
    class Counted(str):
        reads = 0

        def translate(self, table):
            Counted.reads += 1
            return super().translate(table)

    with pytest.raises(QueryTooLong, match="up to 512 characters, got 1000000; shorten it"):
        normalise_query(Counted("x" * 1_000_000))
    assert Counted.reads == 0


def test_query_of_exactly_the_limit_is_taken():
    assert normalise_query("x" * 512) == "x" * 512
    with pytest.raises(QueryTooLong, match="got 513"):
        normalise_query("x" * 513)


def test_query_that_grows_over_the_limit_in_normalising_is_refused():
    ligature = "\ufdfa"  # NFKC makes 18 characters of it
    assert len(normalise_query(ligature)) == 18
    with pytest.raises(QueryTooLong, match=r"up to 512 characters, got 1800 after Unicode normalisation"):
        normalise_query(ligature * 100)


# --- suggestions ------------------------------------------------------------------------------------------------------


def test_nearest_name_is_found_whatever_its_case_and_nothing_when_none_is_near():
    assert closest("TITEL", ["brand", "Title"]) == "Title"
    assert closest("xyz", ["brand", "title"]) is None
    assert did_you_mean("xyz", ["brand"]) == ""
    assert did_you_mean("brnd", ["brand"]) == "; did you mean 'brand'?"


def test_listing_says_when_there_is_nothing_and_stops_after_twenty():
    assert listed([]) == "(there: nothing)"
    assert listed(map(str, range(21))).endswith("18, 19, ...)")
