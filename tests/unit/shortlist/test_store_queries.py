import random
from collections import Counter
from dataclasses import replace

import pytest

from shortlist.store.grades import Intent
from shortlist.store.phrasing import phrase, suits
from shortlist.store.queries import QUOTAS, make_queries
from shortlist.store.shop import open_shop, stock
from shortlist.store.splits import parse_splits, read_splits
from shortlist.store.templates import NO_ANSWER_KINDS, TEMPLATES, Template
from shortlist.store.typos import NEIGHBOURS, mistype


@pytest.fixture(scope="module")
def shop():
    return open_shop(7)


@pytest.fixture(scope="module")
def queries(shop):
    return make_queries(shop, read_splits(), 7)


# --- splits -----------------------------------------------------------------------------------------------------------


def test_the_frozen_splits_cover_exactly_the_templates_and_the_synonym_groups(shop):
    splits = read_splits()
    assert splits.templates.keys() == {template.name for template in TEMPLATES}
    assert splits.synonym_groups.keys() == {noun for noun, kind in shop.types.items() if kind.synonyms}
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES) == 116


def test_each_split_holds_templates_of_its_own_kinds():
    split_of = read_splits().templates
    for template in TEMPLATES:
        assert (split_of[template.name] == "no_answer") == (template.kind in NO_ANSWER_KINDS)
    held_out = {name.split(":")[0] for name, split in split_of.items() if split == "test"}
    assert held_out == {template.kind for template in TEMPLATES} - NO_ANSWER_KINDS
    assert Counter(split_of.values()) == {"train": 56, "dev": 13, "test": 33, "no_answer": 14}
    assert Counter(read_splits().synonym_groups.values()) == {"train": 47, "dev": 8, "test": 23}


@pytest.mark.parametrize(
    ("part", "train", "test"),
    [("templates", ["brand: {brand}"], ["brand: {brand}"]), ("synonym_groups", ["sofa", "sofa"], [])],
)
def test_a_name_in_two_places_of_the_splits_is_refused(part, train, test):
    frozen = {"train": {part: train}, "dev": {}, "test": {part: test}, "no_answer": {}}
    with pytest.raises(ValueError, match=rf"{part} '.*' is in split train and again in (train|test); name it once"):
        parse_splits(frozen)


def test_queries_keep_to_the_split_of_their_template_and_of_their_synonym_group(queries):
    splits = read_splits()
    assert all(splits.templates[query.template] == query.split for query in queries)
    spoken = [query for query in queries if query.synonym_group]
    assert len(spoken) == sum(quota.get("synonym", 0) for quota in QUOTAS.values())
    assert all(splits.synonym_groups[query.synonym_group] == query.split for query in spoken)


def test_a_synonym_is_said_in_queries_of_its_group_only(shop, queries):
    for query in queries:
        said = {noun for noun, kind in shop.types.items() for word in kind.synonyms if f" {word} " in f" {query.text} "}
        assert said <= {query.synonym_group}, query.text
        assert not query.synonym_group or said, query.text


# --- queries ----------------------------------------------------------------------------------------------------------


def test_every_split_has_its_quota_of_every_kind(queries):
    counted = Counter((query.split, query.kind) for query in queries)
    assert counted == {(split, kind): n for split, quota in QUOTAS.items() for kind, n in quota.items()}
    assert Counter(query.split for query in queries) == {"train": 550, "dev": 100, "test": 270, "no_answer": 270}
    assert [query.query_id for query in queries][:2] == ["q0001", "q0002"]


def test_no_text_occurs_twice_and_no_intent_in_two_splits(queries):
    assert len({query.text for query in queries}) == len(queries)
    splits_of = {}
    for query in queries:
        splits_of.setdefault(query.intent.key(), set()).add(query.split)
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_every_template_is_used(queries):
    assert {query.template for query in queries} == {template.name for template in TEMPLATES}


def test_the_same_seed_asks_the_same_and_another_seed_something_else(shop, queries):
    assert make_queries(open_shop(7), read_splits(), 7) == queries
    assert [query.text for query in make_queries(shop, read_splits(), 8)] != [query.text for query in queries]


def test_intents_state_what_the_texts_say(queries):
    for query in queries:
        if query.kind in ("typo", "unsold"):
            continue
        if query.intent.brand:
            assert query.intent.brand.lower() in query.text
        for wish in query.intent.wishes.values():
            assert any(form in query.text for form in wish.asked), query.text
        if query.kind in ("model", "thing", "accessory", "variant", "no_such_model"):
            digits = (query.intent.model or query.intent.fits or query.intent.brand)[3:].lower()
            assert digits in query.text


def test_what_has_no_answer_does_not_exist(shop, queries):
    by_kind = {kind: [query.intent for query in queries if query.kind == kind] for kind in NO_ANSWER_KINDS}
    assert all(intent.type not in shop.types for intent in by_kind["unsold"])
    assert all(intent.model not in shop.models for intent in by_kind["no_such_model"])
    assert all(intent.brand not in shop.makers(intent.type) for intent in by_kind["no_such_pair"])
    assert all(intent.brand in shop.of_brand for intent in by_kind["no_such_pair"])


def test_a_shop_without_products_for_a_template_is_named(shop):
    kettles = stock([listing for listing in shop.listings if listing.type == "kettle"])
    with pytest.raises(RuntimeError, match=r"no product of the shop suits 'synonym: .*' in split test"):
        make_queries(kettles, read_splits(), 7)


def test_a_shop_too_small_for_the_quotas_is_refused(shop, monkeypatch):
    kettles = stock([listing for listing in shop.listings if listing.type == "kettle"])
    monkeypatch.setattr("shortlist.store.queries.QUOTAS", {"train": {"model": 500}})
    with pytest.raises(RuntimeError, match=r"4000th product gives a new query of 'model: .*'; lower its quota"):
        make_queries(kettles, read_splits(), 7)


# --- phrasing ---------------------------------------------------------------------------------------------------------


def one(shop, noun):
    return shop.of_type[noun][0]


def test_a_filled_template_says_what_its_intent_means(shop):
    kettle = one(shop, "kettle")
    made = phrase(Template("brand", "{colour} {types} by {brand}"), kettle, shop, random.Random(1))
    asked = kettle.facets["colour"].asked
    assert made.text in {f"{colour} kettles by {kettle.brand.lower()}" for colour in asked}
    assert made.intent == Intent("kettle", brand=kettle.brand, wishes={"colour": kettle.facets["colour"]})


def test_a_model_number_is_written_three_ways(shop):
    kettle = replace(one(shop, "kettle"), model="KL-4410")
    pattern = Template("model", "{model} {model_joined} {model_spaced}")
    made = phrase(pattern, kettle, shop, random.Random(1))
    assert made.text == "kl-4410 kl4410 kl 4410"
    assert made.intent == Intent("kettle", model="KL-4410")


def test_an_accessory_is_asked_for_by_what_it_fits(shop):
    case = one(shop, "phone case")
    made = phrase(Template("accessory", "{type} for {maker} {thing} {fits}"), case, shop, random.Random(1))
    maker = shop.maker_of(case.fits, "mobile phone")
    assert made.text == f"phone case for {maker} mobile phone {case.fits}".lower()
    assert made.intent == Intent("phone case", fits=case.fits)


@pytest.mark.parametrize(
    ("kind", "pattern", "noun", "expected"),
    [
        ("synonym", "{syn}", "sofa", True),
        ("synonym", "{syn}", "towel", False),
        ("model", "{model}", "kettle", True),
        ("model", "{model}", "sofa", False),
        ("variant", "{line}", "sofa", True),
        ("variant", "{line}", "kettle", False),
        ("variant", "{line}", "phone case", False),
        ("accessory", "{type} for {fits}", "phone case", True),
        ("accessory", "{type} for {fits}", "mobile phone", False),
        ("thing", "{type} {model}", "mobile phone", True),
        ("thing", "{type} {model}", "kettle", False),
        ("brand", "{colour} {type}", "mattress", False),
        ("unit", "{measure} {type}", "handbag", False),
        ("unit", "{measure} {type}", "kettle", True),
        ("attributes", "{wish} {wish2} {wish3}", "kettle", True),
        ("attributes", "{wish} {wish2} {wish3}", "saw blade", False),
    ],
)
def test_a_template_suits_a_type_that_has_its_facts(shop, kind, pattern, noun, expected):
    assert suits(Template(kind, pattern), shop.types[noun], shop) is expected


def test_a_template_with_more_wishes_than_the_product_has_is_refused(shop):
    blade = one(shop, "saw blade")
    with pytest.raises(ValueError, match=r"asks for more wishes than saw blade \d{5} has"):
        phrase(Template("attributes", "{wish} {wish2} {wish3}"), blade, shop, random.Random(1))


# --- typos ------------------------------------------------------------------------------------------------------------


def edits(word):
    """Every slip that a word of letters may suffer: the slow, obvious list."""
    inner = range(1, len(word) - 1)
    return (
        {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner}
        | {word[:i] + word[i + 1 :] for i in inner}
        | {word[:i] + 2 * word[i] + word[i + 1 :] for i in inner}
        | {word[:i] + near + word[i + 1 :] for i in inner for near in NEIGHBOURS[word[i]]}
    ) - {word}


def test_a_typo_is_one_slip_in_one_longer_word():
    rng = random.Random(3)
    seen = {mistype("red kettle 1500 ml", rng) for _ in range(500)}
    assert seen <= {f"red {word} 1500 ml" for word in edits("kettle")}
    assert len(seen) > 20


def test_short_words_and_codes_are_never_mistyped():
    assert mistype("red kl-4410 1500 ml cot", random.Random(3)) == "red kl-4410 1500 ml cot"


def test_neighbours_on_the_keyboard_are_mutual():
    assert sorted(NEIGHBOURS) == sorted("abcdefghijklmnopqrstuvwxyz")
    lonely = {(a, b) for a, near in NEIGHBOURS.items() for b in near if a not in NEIGHBOURS[b]}
    assert lonely == set()
    assert (NEIGHBOURS["g"], NEIGHBOURS["q"], NEIGHBOURS["m"]) == ("fhtyvb", "wa", "njk")


def test_typo_queries_differ_from_what_was_meant_by_their_slip_alone(queries):
    typos = [query for query in queries if query.kind == "typo"]
    assert all(query.template.endswith("~") and "~" not in query.text for query in typos)
    meant = [
        all(form not in query.text for form in (wish.asked)) for query in typos for wish in query.intent.wishes.values()
    ]
    assert 0 < sum(meant) < len(meant)
