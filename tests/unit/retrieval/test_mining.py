"""Mined negatives pass every veto, and how many good products pass is counted."""

import numpy as np
import pytest

from retrieval.mining import Candidates, Labels, Miner, MiningReport, mine, wilson
from retrieval.training_config import MiningConfig

TEXTS = {
    "p1": "red wireless mouse",
    "p2": "blue wireless mouse",
    "p3": "mouse pad",
    "p4": "wireless keyboard",
    "p5": "red wireless mouse",  # the text of p1 again
    "p6": "green wireless mouse for cats",
    "p7": "sofa",
}
LABELS = Labels(positives={"wireless mouse": ["p1", "p6"]}, variants={"p1": "mouse", "p2": "mouse"})
SCORES = {"p1": 0.9, "p2": 0.8, "p3": 0.5, "p4": 0.6, "p5": 0.9, "p6": 0.7, "p7": 0.1}


def candidates(query="wireless mouse", scores=SCORES, positives=("p1", "p6")):
    names = list(scores)
    values = np.array([scores[name] for name in names], dtype=np.float32)
    return Candidates(query, names, values, {name: scores[name] for name in positives})


def miner(cross_encoder=None, labels=LABELS, **changes):
    config = MiningConfig(**{"word_veto": False, "margin": 1.0, "per_query": 8} | changes)
    return Miner(config, texts=TEXTS, labels=labels, cross_encoder=cross_encoder)


def test_what_is_left_comes_hardest_first():
    assert miner().mine(candidates()) == ["p4", "p3", "p7"]
    assert miner(per_query=2).mine(candidates()) == ["p4", "p3"]


def test_every_veto_takes_out_its_own_and_counts_it():
    labels = Labels(positives={"mouse": ["p1"]}, variants=LABELS.variants)
    found = miner(word_veto=True, margin=0.6, labels=labels)
    mined = found.mine(candidates("mouse", positives=("p1",)))
    assert mined == ["p7"]  # p3 holds the word, p4 is too close at .6 >= .54
    assert found.vetoes == {
        "known to fit": 2,  # p1, and p5 of the same text
        "variant of one that fits": 1,
        "too close to the positives": 2,  # p4 and p6
        "holds every word of the query": 1,
    }


def test_the_margin_is_a_share_of_the_median_positive():
    # Positives .9 and .7: median .8. A negative must be below .8 * margin.
    assert miner(margin=0.7).mine(candidates()) == ["p3", "p7"]
    assert miner(margin=0.6).mine(candidates()) == ["p7"]


def test_a_query_without_a_known_positive_gives_nothing():
    assert miner(labels=Labels({}, {})).mine(candidates(positives=())) == []


def test_the_cross_encoder_takes_out_what_it_finds_as_good_as_the_positives():
    def score(query, texts):
        assert query == "wireless mouse"
        worth = {"red wireless mouse": 5, "green wireless mouse for cats": 3, "wireless keyboard": 4.5, "mouse pad": 2}
        return np.array([worth.get(text, 0) for text in texts], dtype=np.float32)

    found = miner(score)
    assert found.mine(candidates()) == ["p3", "p7"]
    assert found.vetoes["good to the cross-encoder"] == 1


def test_equal_scores_are_taken_in_the_order_of_ids():
    scores = {"p7": 0.3, "p4": 0.3, "p3": 0.3, "p1": 0.9, "p6": 0.9}
    assert miner().mine(candidates(scores=scores)) == ["p3", "p4", "p7"]


def test_the_order_of_candidates_decides_nothing():
    backwards = dict(reversed(SCORES.items()))
    assert miner().mine(candidates(scores=backwards)) == miner().mine(candidates())


def test_hidden_positives_are_counted_when_they_are_mined_and_change_nothing_else():
    labels = Labels({"wireless mouse": ["p1", "p6"], "one": ["p1"]}, {})
    stream = [candidates(), candidates("one", positives=("p1",))]
    found, report = mine(miner(labels=labels), iter(stream), labels=labels, hidden_share=1.0, seed=0)
    plain, without = mine(miner(labels=labels), iter(stream), labels=labels, hidden_share=0.0, seed=0)
    assert found == plain
    assert report.vetoes == without.vetoes
    assert (report.hidden, without.hidden) == (1, 0)  # a query of one positive has none to spare
    # Whichever is hidden: p6 (.7) is below the other's .9 and comes out; p1 (.9) is above p6's .7 and does not.
    outcomes = {
        mine(miner(labels=labels), iter(stream), labels=labels, hidden_share=1.0, seed=seed)[1].mined_anyway
        for seed in range(12)
    }
    assert outcomes == {0, 1}


def test_the_margin_lowers_the_share_of_good_products_that_are_mined():
    rng = np.random.default_rng(0)
    texts = {f"p{number}": f"text {number}" for number in range(40)}
    positives, stream = {}, []
    for number in range(200):
        query = f"query {number}"
        good = [f"p{place}" for place in rng.permutation(40)[:4]]
        scores = {name: float(rng.normal(0.7 if name in good else 0.3, 0.1)) for name in texts}
        positives[query] = good
        stream.append(candidates(query, scores, positives=good))
    labels = Labels(positives, {})
    shares = []
    for margin in (1.0, 0.9, 0.7):
        config = MiningConfig(word_veto=False, margin=margin, per_query=8)
        _, report = mine(
            Miner(config, texts=texts, labels=labels), iter(stream), labels=labels, hidden_share=1.0, seed=0
        )
        share, low, high = report.false_negatives
        assert (report.hidden, low <= share <= high) == (200, True)
        shares.append(share)
    assert shares[0] > shares[1] > shares[2]
    assert shares[0] == pytest.approx(0.5, abs=0.12)  # one of two exchangeable positives is below the others' median


def test_the_interval_of_a_share_is_wilsons():
    # By hand, 5 of 50: centre (.1 + .038416) / 1.076832, reach 1.96 * sqrt(.0018 + .00038416) / 1.076832.
    low, high = wilson(5, 50)
    assert (low, high) == pytest.approx((0.043477, 0.213603), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 20)[0] == 0.0
    assert MiningReport(queries=0, negatives=0, vetoes={}).false_negatives == (0.0, 0.0, 1.0)


def test_settings_that_cannot_be_meant_are_refused():
    for changes, message in (
        ({"margin": 0.0}, r"mining\.margin must be in \(0, 1\] and mining\.rate_share > 0, got 0\.0 and 0\.5"),
        ({"depth": 0}, r"mining\.depth must be at least 1, got 0"),
        ({"hidden_share": 2.0}, r"mining\.hidden_share must be in \[0, 1\], got 2\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            MiningConfig(**changes)
