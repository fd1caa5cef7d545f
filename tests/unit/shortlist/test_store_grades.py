from dataclasses import replace

import pytest

from shortlist.store.grades import Intent, grade
from shortlist.store.house import term
from shortlist.store.judgments import judge
from shortlist.store.listings import Listing
from shortlist.store.queries import make_queries
from shortlist.store.shop import open_shop
from shortlist.store.splits import read_splits

KETTLE = Listing(
    product_id="00001",
    type="kettle",
    brand="Keldric",
    model="KL-4410",
    fits="",
    facets={"colour": term("black"), "capacity": term("1.5 l"), "material": term("glass")},
    title="Keldric KL-4410 kettle 1500 ml raven",
    description="",
    department="Kitchen",
    price=30.0,
    stock=1,
    variant_group="g1",
)
CASE = replace(KETTLE, type="phone case", brand="Tessivo", model="", fits="NV-4038", facets={"colour": term("red")})


def wishes(**plain):
    return {facet: term(word) for facet, word in plain.items()}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # everything that was asked for
        (Intent("kettle"), 3),
        (Intent("kettle", brand="Keldric"), 3),
        (Intent("kettle", model="KL-4410"), 3),
        (Intent("kettle", brand="Keldric", wishes=wishes(colour="black", capacity="1.5 l")), 3),
        # one soft wish off, something else holds
        (Intent("kettle", wishes=wishes(colour="red", capacity="1.5 l")), 2),
        (Intent("kettle", brand="Keldric", wishes=wishes(colour="red")), 2),
        (Intent("kettle", model="KL-4410", wishes=wishes(capacity="2 l")), 2),
        (Intent("kettle", wishes=wishes(colour="red", capacity="1.5 l", material="glass")), 2),
        # the only wish off
        (Intent("kettle", wishes=wishes(colour="red")), 1),
        # two soft wishes off
        (Intent("kettle", wishes=wishes(colour="red", capacity="2 l")), 1),
        (Intent("kettle", brand="Keldric", wishes=wishes(colour="red", capacity="2 l")), 1),
        # another brand
        (Intent("kettle", brand="Zumarra"), 1),
        (Intent("kettle", brand="Zumarra", wishes=wishes(colour="black")), 1),
        # another brand and a wish off; three wishes off
        (Intent("kettle", brand="Zumarra", wishes=wishes(colour="red")), 0),
        (Intent("kettle", brand="Zumarra", wishes=wishes(colour="red", capacity="1.5 l", material="glass")), 0),
        (Intent("kettle", wishes=wishes(colour="red", capacity="2 l", material="ceramic")), 0),
        # another type, another model: nothing else counts
        (Intent("toaster", wishes=wishes(colour="black")), 0),
        (Intent("kettle", brand="Keldric", model="KL-4411"), 0),
        # a wish for a facet that the type does not have
        (Intent("kettle", wishes=wishes(storage="64 gb")), 1),
    ],
)
def test_a_kettle_is_graded_by_its_facts(asked, expected):
    assert grade(asked, KETTLE) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Intent("phone case", fits="NV-4038"), 3),
        (Intent("phone case", fits="NV-4038", wishes=wishes(colour="blue")), 2),
        (Intent("phone case", fits="NV-4039"), 0),
        (Intent("phone case", fits="NV-4038", brand="Orlanth"), 1),
        # the phone that the case is for is another type
        (Intent("mobile phone", model="NV-4038"), 0),
        (Intent("mobile phone"), 0),
    ],
)
def test_an_accessory_answers_for_the_thing_that_it_fits_and_never_for_the_thing(asked, expected):
    assert grade(asked, CASE) == expected


def test_measures_are_compared_by_what_they_measure():
    pot = replace(KETTLE, type="jug", facets={"length": term("250 cm")})
    assert grade(Intent("jug", wishes={"length": term("2.5 m")}), pot) == 3


@pytest.fixture(scope="module")
def shop():
    return open_shop(7)


@pytest.fixture(scope="module")
def queries(shop):
    return make_queries(shop, read_splits(), 7)


def test_judgments_hold_every_product_above_zero_and_only_true_grades(shop, queries):
    for query in queries[::20]:
        listed = {judgment.product_id: judgment.grade for judgment in judge(query, shop, 7)}
        slow = {listing.product_id: grade(query.intent, listing) for listing in shop.listings}
        assert {product: points for product, points in slow.items() if points} == {
            product: points for product, points in listed.items() if points
        }
        assert all(slow[product] == points for product, points in listed.items())


def test_judgments_come_best_first_and_name_a_product_once(shop, queries):
    for query in queries[::50]:
        judgments = judge(query, shop, 7)
        assert judgments == sorted(judgments, key=lambda judgment: (-judgment.grade, judgment.product_id))
        assert len({judgment.product_id for judgment in judgments}) == len(judgments)


def test_every_answerable_query_has_an_answer_and_no_other_has_even_a_good_one(shop, queries):
    best = {query.query_id: max((x.grade for x in judge(query, shop, 7)), default=0) for query in queries}
    assert {best[query.query_id] for query in queries if query.answerable} == {3}
    assert max(best[query.query_id] for query in queries if not query.answerable) == 1


def test_near_misses_of_a_thing_include_its_own_accessories(shop, queries):
    things = [query for query in queries if query.kind == "thing" and query.intent.model]
    assert len(things) > 20
    by_id = {listing.product_id: listing for listing in shop.listings}
    for query in things:
        worthless = [by_id[x.product_id] for x in judge(query, shop, 7) if x.grade == 0]
        assert any(listing.fits == query.intent.model for listing in worthless)


def test_every_answerable_query_has_near_misses_of_grade_zero(shop, queries):
    worthless = [sum(x.grade == 0 for x in judge(query, shop, 7)) for query in queries if query.answerable]
    assert min(worthless) >= 4
    assert max(worthless) <= 16
