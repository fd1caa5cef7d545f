"""What micro-batches cost: the fit, what it predicts, and how it follows."""

import math

import numpy as np
import pytest

from rerank.config import CrossEncoderConfig
from rerank.cost import CALIBRATION_PAIRS, CALIBRATION_RUNS, FIXED_SHARE, BatchCost, calibrate, fit_line
from rerank.cross_encoder import CrossEncoderReranker
from rerank.final import Convex
from rerank.stepping import steps_of
from retrieval.config import RuntimeConfig


def test_a_line_is_found_though_a_point_in_four_is_far_off():
    points = [(10, 3.0), (20, 4.0), (40, 6.0), (80, 10.0)]
    assert fit_line(points) == pytest.approx((2.0, 0.1))
    assert fit_line([*points[:2], (40, 60.0), points[3]]) == pytest.approx((2.0, 0.1), rel=0.3)


def test_a_line_has_no_negative_part():
    assert fit_line([(10, 5.0), (20, 4.0)]) == (4.5, 0.0)
    assert fit_line([(10, 1.0), (20, 3.0)]) == (0.0, 0.2)  # its height would be -1
    assert fit_line([(1, 0.0), (2, 0.0)]) == (1e-6, 0.0)


def test_a_prediction_is_the_fixed_part_and_the_tokens_at_the_pace():
    cost = BatchCost(2.0, 0.1)
    assert cost.predict_ms(30) == pytest.approx(5.0)
    assert cost.affordable_tokens(5.0) == pytest.approx(30)
    assert cost.affordable_tokens(1.0) < 0
    assert cost.step_tokens * 0.1 == pytest.approx(2.0 * (1 / FIXED_SHARE - 1))
    assert BatchCost(2.0, 0.0).affordable_tokens(3.0) == math.inf
    assert BatchCost(2.0, 0.0).affordable_tokens(1.0) == -math.inf


def test_nine_batches_in_ten_end_within_what_is_predicted():
    random = np.random.default_rng(5)
    cost, late = BatchCost(1.0, 0.1), 0
    for number in range(8000):
        tokens = int(random.integers(20, 400))
        taken = (1.0 + 0.1 * tokens) * math.exp(random.normal(0.3, 0.2))
        late += number >= 1000 and taken > cost.predict_ms(tokens)
        cost.observe(tokens, taken)
    assert 0.07 < late / 7000 < 0.13


def test_one_stalled_batch_moves_the_pace_no_further_than_one_that_was_barely_late():
    stalled, barely = BatchCost(1.0, 0.1), BatchCost(1.0, 0.1)
    stalled.observe(10, 1000.0)
    barely.observe(10, 2.01)
    assert stalled.pace == barely.pace < 1.05


@pytest.mark.parametrize("parts", [(-1.0, 1.0), (0.0, 0.0), (math.nan, 1.0), (1.0, math.inf)])
def test_a_cost_that_is_none_is_refused(parts):
    with pytest.raises(ValueError, match=rf"not both 0, got batch_ms={parts[0]} token_ms={parts[1]}"):
        BatchCost(*parts)


def test_calibrating_measures_batches_of_every_size_on_a_clock():
    now = [0.0]
    asked = []

    class Reranker:
        fusion = Convex(0.5)

        def score(self, query, texts):
            asked.append((query, len(texts)))
            now[0] += (3.0 + 0.5 * len(texts)) / 1000
            return np.zeros(len(texts), dtype=np.float32)

    cost = calibrate(Reranker(), "red mouse", ["one", "two", "three"], clock=lambda: now[0])
    assert (cost.batch_ms, cost.token_ms) == pytest.approx((3.0, 0.5))
    assert asked == [("red mouse", size) for size in CALIBRATION_PAIRS for _ in range(CALIBRATION_RUNS)]
    with pytest.raises(ValueError, match="needs at least one text, got none"):
        calibrate(Reranker(), "red mouse", [])


def test_a_cross_encoder_s_steps_count_padded_tokens_and_score_what_it_scores(tiny_cross_encoder_folder):
    config = CrossEncoderConfig(model=str(tiny_cross_encoder_folder), weight=0.5)
    reranker = CrossEncoderReranker.open(config, RuntimeConfig(device="cpu", threads=1))
    steps = steps_of(reranker)
    texts = ["a red mouse", "a wireless keyboard for the office desk"]
    prepared = steps.prepare("mouse", texts)
    assert steps.tokens(prepared) == 2 * max(len(pair.tokens) for pair in prepared)
    assert steps.tokens(prepared[:1]) == len(prepared[0].tokens)
    assert steps.tokens([]) == 0
    np.testing.assert_allclose(steps.score(prepared), reranker.score("mouse", texts), atol=1e-5)
