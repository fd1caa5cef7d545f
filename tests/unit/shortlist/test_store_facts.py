import re
from collections import defaultdict

import pytest

from shortlist.store.departments import DEPARTMENTS, TYPES
from shortlist.store.facts import product_type
from shortlist.store.house import COLOURS, plain_words, term
from shortlist.store.listings import make_listings, model_prefix
from shortlist.store.unsold import UNSOLD


@pytest.fixture(scope="module")
def listings():
    return make_listings(7)


@pytest.fixture(scope="module")
def words_in_print(listings):
    text = " ".join(f"{listing.title} {listing.description}" for listing in listings).lower()
    return set(re.findall(r"[a-z]+", text))


@pytest.mark.parametrize(
    ("plain", "house", "asked"),
    [
        ("black", "raven", ("black",)),
        ("gray", "pewter", ("grey", "gray")),
        ("steel", "sst", ("stainless steel", "steel")),
        ("1.5 l", "1500 ml", ("1.5 l", "1.5 litre", "1.5l", "1.5 liter")),
        ("19 cm", "190 mm", ("19 cm", "19cm", "19 centimetre")),
        ("1 tb", "1024 GB", ("1 tb", "1tb")),
        ("27 inch", "27 in", ("27 inch", '27"', "27in")),
        ("3 seats", "3 st", ("3 seater", "3 seat")),
    ],
)
def test_a_term_is_written_one_way_by_the_house_and_several_by_shoppers(plain, house, asked):
    assert (term(plain).house, term(plain).asked) == (house, asked)


def test_terms_are_equal_when_the_house_writes_them_alike():
    assert term("2.5 m") == term("250 cm")
    assert term("grey") == term("gray")
    assert term("1 l") != term("1.5 l")


@pytest.mark.parametrize("unknown", ["mauve", "5 furlongs", ""])
def test_a_word_outside_the_house_language_is_refused_by_name(unknown):
    with pytest.raises(ValueError, match=f"got '{unknown}'; add it to house.py"):
        term(unknown)


def test_a_table_row_gives_every_number_the_unit_that_follows_the_last():
    kettle = product_type(
        "kettle", "boiler/urn", facets="colour; capacity: 0.5/1 l; material: glass/cast iron", price=9.0, says="A/B"
    )
    assert kettle.synonyms == ("boiler", "urn")
    assert kettle.plural == "kettles"
    assert kettle.says == ("A", "B")
    assert [term.house for term in kettle.facets["capacity"]] == ["500 ml", "1000 ml"]
    assert [term.house for term in kettle.facets["material"]] == ["gls", "cst"]
    assert [term.house for term in kettle.facets["colour"]] == list(COLOURS)


def test_a_facet_without_terms_is_refused_by_name():
    with pytest.raises(ValueError, match="facet 'material' names no terms"):
        product_type("kettle", facets="material:", price=9.0, says="A")


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("sofa", "sofas"),
        ("spade", "spades"),
        ("mattress", "mattresses"),
        ("torch", "torches"),
        ("baby", "babies"),
        ("tray", "trays"),
    ],
)
def test_nouns_take_the_usual_plural(noun, plural):
    assert product_type(noun, facets="colour", price=1.0, says="A").plural == plural


def test_the_shop_has_a_dozen_departments_and_types_with_unlike_names():
    nouns = [kind.noun for department in DEPARTMENTS for kind in department.types]
    synonyms = [synonym for kind in TYPES.values() for synonym in kind.synonyms]
    assert len(DEPARTMENTS) == 12
    assert len(nouns) == len(set(nouns)) == 136
    assert len(synonyms) == len(set(synonyms))
    assert not set(synonyms) & set(nouns)


def test_every_accessory_is_made_for_a_type_with_model_numbers():
    accessories = [kind for kind in TYPES.values() if kind.made_for]
    assert len(accessories) == 17
    assert all(TYPES[kind.made_for].coded for kind in accessories)


def test_what_the_shop_does_not_sell_is_none_of_its_types_by_any_name():
    names = {name for kind in TYPES.values() for name in (kind.noun, kind.plural, *kind.synonyms)}
    assert len(UNSOLD) == len(set(UNSOLD)) >= 100
    assert not set(UNSOLD) & names


def test_no_word_of_a_synonym_is_printed_in_the_catalogue(words_in_print):
    printed = {
        (kind.noun, word)
        for kind in TYPES.values()
        for synonym in kind.synonyms
        for word in synonym.split()
        if word in words_in_print
    }
    assert printed == set()


def test_no_plain_word_for_a_colour_material_feature_or_size_is_printed(words_in_print):
    single = {word for word in plain_words() if " " not in word and word.isalpha()}
    assert {"black", "waterproof", "cotton", "single"} <= single
    assert single & words_in_print == set()


def test_the_same_seed_makes_the_same_listings_and_another_seed_others(listings):
    assert make_listings(7) == listings
    assert [listing.title for listing in make_listings(8)] != [listing.title for listing in listings]


def test_there_are_some_three_thousand_products_in_shelf_order(listings):
    assert [listing.product_id for listing in listings] == [f"{number:05d}" for number in range(1, 2957)]
    assert len({listing.department for listing in listings[:100]}) == 12
    assert len({listing.brand for listing in listings}) == 45


def test_titles_have_at_most_twelve_words_and_descriptions_are_short(listings):
    assert max(len(listing.title.split()) for listing in listings) <= 12
    assert max(len(listing.description) for listing in listings) <= 120
    assert min(len(listing.description) for listing in listings) > 15


def test_variants_share_a_group_and_differ_only_in_their_facets(listings):
    groups = defaultdict(list)
    for listing in listings:
        groups[listing.variant_group].append(listing)
    assert len(groups) == 136 * 7
    for variants in groups.values():
        assert 2 <= len(variants) <= 4
        assert len({(v.type, v.brand, v.model, v.fits) for v in variants}) == 1
        assert len({tuple(term.house for term in v.facets.values()) for v in variants}) == len(variants)
        assert len({v.title for v in variants}) == len(variants)
        assert len({(v.description, v.price) for v in variants}) == 1


def test_a_model_number_names_one_make_and_a_brand_uses_a_line_name_once(listings):
    named = defaultdict(set)
    for listing in listings:
        if listing.model:
            key = listing.model if "-" in listing.model else (listing.brand, listing.model)
            named[key].add(listing.variant_group)
    assert all(len(groups) == 1 for groups in named.values())
    assert sum(isinstance(key, str) for key in named) > 300


def test_model_numbers_of_one_type_share_their_series(listings):
    kettles = {listing.model for listing in listings if listing.type == "kettle"}
    assert len(kettles) == 7
    assert len({re.fullmatch(r"[A-Z]{2}-(\d\d)\d\d", model).group(1) for model in kettles}) == 1


@pytest.mark.parametrize(("brand", "prefix"), [("Keldric", "KL"), ("Ardvale", "AR"), ("Ostrevik", "OS")])
def test_a_model_number_begins_with_letters_of_its_brand(brand, prefix):
    assert model_prefix(brand) == prefix


def test_an_accessory_names_in_its_title_the_model_that_it_fits(listings):
    models = {listing.model for listing in listings if listing.type == "mobile phone"}
    cases = [listing for listing in listings if listing.type == "phone case"]
    assert {case.fits for case in cases} == models
    assert all(f"f/ {case.fits}" in re.sub(r"f/ \w+ ", "f/ ", case.title) for case in cases)
    assert all("Made for this mobile phone." in case.description for case in cases)
