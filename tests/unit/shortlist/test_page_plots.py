"""Plots of the page as text: every value in its place, every label escaped."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from shortlist.evaluation.page.axes import linear_axis, log_axis, recall_axis
from shortlist.evaluation.page.bars import MOST_BARS, axis_row, difference_row, gain_bars, interval_row, shares_row
from shortlist.evaluation.page.points import Point, Series, point_plot
from shortlist.evaluation.page.svg import frame, label, legend_marker, log_ticks, nice_ticks, plain, signed_label

TICKS = [0.4, 0.5, 0.6, 0.7, 0.8]


def parts_of(plot, tag, kind=""):
    """Return the elements of a plot with this tag and, if given, this class among theirs."""
    found = ElementTree.fromstring(plot).iter(tag)
    return [part for part in found if not kind or kind in part.get("class", "").split()]


# --- rows of a table --------------------------------------------------------------------------------------------------


def test_an_interval_lies_on_the_axis_of_its_table():
    plot = interval_row(0.5, 0.4, 0.6, TICKS)
    # Ticks run from .4 to .8, drawn from 2 % to 98 % of the width.
    assert [dot.get("cx") for dot in parts_of(plot, "circle")] == ["26.00%"]
    (whisker,) = parts_of(plot, "line", "whisker")
    assert (whisker.get("x1"), whisker.get("x2")) == ("2.00%", "50.00%")
    assert len(parts_of(plot, "line", "grid")) == 5
    assert parts_of(plot, "svg", "emphasised") == []
    assert len(parts_of(interval_row(0.5, 0.4, 0.6, TICKS, emphasised=True), "svg", "emphasised")) == 1


def test_a_difference_starts_at_zero_whichever_way_it_goes():
    ticks = [-0.1, 0.0, 0.1, 0.2, 0.3]
    gain = difference_row(0.1, 0.0, 0.2, ticks, solid=True)
    (bar,) = parts_of(gain, "rect", "gain")
    assert (bar.get("x"), bar.get("width"), bar.get("class")) == ("26.00%", "24.00%", "gain")
    (loss,) = parts_of(difference_row(-0.1, -0.1, 0.1, ticks, solid=False), "rect")
    assert (loss.get("x"), loss.get("width"), loss.get("class")) == ("2.00%", "24.00%", "loss faint")
    reach = parts_of(gain, "line", "reach")[0]
    assert (reach.get("x1"), reach.get("x2")) == ("26.00%", "74.00%")
    assert [line.get("x1") for line in parts_of(gain, "line", "zero")] == ["26.00%"]


def test_an_axis_names_its_ticks_or_with_signs_the_ends_and_zero():
    assert [text.text for text in parts_of(axis_row(TICKS), "text")] == ["0.4", "0.5", "0.6", "0.7", "0.8"]
    assert [text.text for text in parts_of(axis_row([0, 1, 2, 3, 4, 5]), "text")] == ["0", "2", "4"]
    signed = axis_row([-0.2, -0.1, 0.0, 0.1], signs=True)
    assert [text.text for text in parts_of(signed, "text")] == ["−0.2", "0", "+0.1"]
    # An end next to zero would lie on its label.
    near = axis_row([-0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25], signs=True)
    assert [text.text for text in parts_of(near, "text")] == ["0", "+0.25"]


def test_shares_fill_the_width_and_small_ones_go_without_a_label():
    plot = shares_row([("3", "l4", 0.5), ("2", "l3", 0.0), ("1", "l1", 0.05), ("0", "l0", 0.45)])
    boxes = [(box.get("class"), box.get("x"), box.get("width")) for box in parts_of(plot, "rect")]
    assert boxes == [("l4", "0.00%", "50.00%"), ("l1", "50.00%", "5.00%"), ("l0", "55.00%", "45.00%")]
    assert [(text.text, text.get("x")) for text in parts_of(plot, "text")] == [("3", "25.00%"), ("0", "77.50%")]


# --- gains per query --------------------------------------------------------------------------------------------------


def test_gain_bars_are_sorted_and_stand_on_zero():
    plot = gain_bars([-0.5, 0.0, 1.0, 0.25], title="t")
    (zero,) = parts_of(plot, "line", "zero")
    bars = parts_of(plot, "rect")
    # The query without a difference has a place but no bar.
    assert [bar.get("class") for bar in bars] == ["gain", "gain", "loss"]
    assert [bar.get("x") for bar in bars] == ["0.000%", "25.000%", "75.000%"]
    tops, heights = ([float(bar.get(name)) for bar in bars] for name in ("y", "height"))
    middle = float(zero.get("y1"))
    assert tops[0] + heights[0] == pytest.approx(middle, abs=0.11)
    assert tops[2] == middle
    assert heights[0] == pytest.approx(4 * heights[1], abs=0.3) == pytest.approx(2 * heights[2], abs=0.3)


def test_more_queries_than_pixels_are_thinned_and_both_ends_stay():
    plot = gain_bars([number / 5000 - 0.5 for number in range(5000)] + [2.0, -3.0], title="t")
    bars = parts_of(plot, "rect")
    assert MOST_BARS - 5 <= len(bars) <= MOST_BARS
    heights = [float(bar.get("height")) for bar in bars]
    assert heights[-1] == max(heights)
    assert heights[0] == pytest.approx(heights[-1] * 2 / 3, rel=0.01)


def test_gains_of_no_query_are_an_empty_plot():
    assert parts_of(gain_bars([], title="t"), "rect") == []


# --- points -----------------------------------------------------------------------------------------------------------


def plot_of(*series, **options):
    """Draw on axes from 0 to 1, 12 % to 95 % of the width and 258 to 22 pixels from the top."""
    axes = {"x": linear_axis("across", [0.0, 1.0]), "y": linear_axis("up", [0.0, 1.0])}
    return point_plot(series, title="points", **(axes | options))


def test_a_point_is_carried_to_its_place_with_its_interval():
    plot = plot_of(Series(0, [Point(x=0.5, y=0.25, low=0.0, high=0.5, title="<b>", label="1")]))
    _, mark, pin = parts_of(plot, "svg")
    assert (mark.get("x"), mark.get("y")) == (pin.get("x"), pin.get("y")) == ("53.50%", "199.0")
    assert [title.text for title in mark.iter("title")] == ["<b>"]
    assert [text.text for text in pin.iter("text")] == ["1"]
    (reach,) = parts_of(plot, "line", "reach")
    assert (reach.get("y1"), reach.get("y2"), reach.get("x1")) == ("258.0", "140.0", "53.50%")


def test_labels_of_points_that_lie_together_take_different_sides():
    points = [Point(x=0.5 + n / 1000, y=0.5, title="", label=str(n)) for n in range(4)]
    pins = parts_of(plot_of(Series(0, points)), "text", "pin")
    assert [(pin.text, pin.get("x"), pin.get("y")) for pin in pins] == [
        ("0", "8", "-7"), ("1", "-8", "-7"), ("2", "8", "16"), ("3", "-8", "16"),
    ]  # fmt: skip


def test_a_point_without_a_place_on_a_logarithmic_axis_is_left_out():
    points = [Point(x=x, y=0.5, title=str(x)) for x in (0.0, 1.0, 10.0)]
    plot = plot_of(Series(0, points), x=log_axis("ms", [0.0, 1.0, 10.0]))
    assert [title.text for title in parts_of(plot, "title")] == ["1.0", "10.0"]
    assert list(log_axis("ms", [0.0]).ticks) == [1.0, 2.0]


def test_an_axis_of_recall_gives_halved_misses_equal_steps_and_ends_at_one():
    axis = recall_axis("recall", [0.81, 1.0])
    assert list(axis.ticks) == [0.8, 0.9, 0.95, 0.99, 0.999, 1.0]
    assert axis.share(0.95) - axis.share(0.9) == pytest.approx(axis.share(0.9) - axis.share(0.8), rel=0.02)
    assert (axis.share(0.8), axis.share(1.0)) == (0.0, 1.0)
    assert [axis.text(tick) for tick in axis.ticks] == ["0.8", "0.9", "0.95", "0.99", "0.999", "1"]
    assert list(recall_axis("recall", [1.0, 1.0]).ticks) == [0.9, 0.95, 0.99, 0.999, 1.0]
    assert list(recall_axis("recall", [0.0]).ticks) == [0.0, 0.5, 0.8, 0.9, 0.99, 0.999, 1.0]


def test_series_differ_in_shape_and_not_in_colour_alone():
    plot = plot_of(*(Series(n, [Point(x=0.5, y=0.5, title="")]) for n in range(6)))
    marks = [group for group in parts_of(plot, "g") if group.get("class", "").startswith("s")]
    shapes = [ElementTree.tostring(next(iter(group))) for group in marks]
    assert len(set(shapes)) == 6
    assert len({group.get("class") for group in marks}) == 6
    assert "s1" in legend_marker(1)


def test_joined_points_are_a_curve_in_their_order_and_hollow_ones_an_outline():
    points = [Point(x=x, y=x, title="", hollow=x > 0) for x in (0.0, 0.5, 1.0)]
    plot = plot_of(Series(0, points, joined=True))
    assert [(line.get("x1"), line.get("x2")) for line in parts_of(plot, "line", "curve")] == [
        ("12.00%", "53.50%"),
        ("53.50%", "95.00%"),
    ]
    assert len(parts_of(plot, "g", "hollow")) == 2
    assert parts_of(plot_of(Series(0, points)), "line", "curve") == []


def test_outlines_lie_below_what_is_filled_and_a_trail_below_both():
    filled, outline = Point(x=0.2, y=0.2, title="filled"), Point(x=0.8, y=0.8, title="outline", hollow=True)
    plot = plot_of(Series(0, [filled]), Series(1, [outline]), trail=[filled, outline])
    assert [title.text for title in parts_of(plot, "title")] == ["outline", "filled"]
    (line,) = parts_of(plot, "line", "trail")
    assert (line.get("x1"), line.get("x2")) == ("28.60%", "78.40%")
    assert plot.index("trail") < plot.index("outline")


def test_the_diagonal_runs_where_both_are_equal():
    (line,) = parts_of(plot_of(diagonal=True), "line", "zero")
    assert [line.get(name) for name in ("x1", "y1", "x2", "y2")] == ["12.00%", "258.0", "95.00%", "22.0"]


def test_a_logarithmic_axis_puts_equal_factors_equally_far_apart():
    axis = log_axis("ms", [2.0, 90.0])
    assert list(axis.ticks) == [2, 5, 10, 20, 50, 100]
    assert axis.share(20.0) - axis.share(2.0) == pytest.approx(math.log(10) / math.log(50))
    assert (axis.share(2.0), axis.share(100.0)) == (0.0, 1.0)


# --- ticks and labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.41, 0.83, [0.4, 0.6, 0.8, 1.0]),
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (-0.5, 0.4, [-0.5, -0.25, 0.0, 0.25, 0.5]),
        (0.8032, 0.8049, [0.803, 0.8035, 0.804, 0.8045, 0.805]),
        (0.7, 0.7, [0.7, 0.725]),
        (0.0, 0.0, [0.0, 0.025]),
        (0.796707580991, 0.7967075809910001, [0.775, 0.8]),
    ],
)
def test_ticks_are_round_and_enclose_what_is_drawn(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.4, 0.4, [0.2, 0.5]),
        (1.0, 1.0, [1.0, 2.0]),
        (0.3, 7.0, [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]),
        (0.4, 248.0, [0.1, 1.0, 10.0, 100.0, 1000.0]),
        (900.0, 11_000.0, [500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0]),
    ],
)
def test_logarithmic_ticks_are_round_and_enclose_what_is_drawn(low, high, ticks):
    found = log_ticks(low, high)
    assert found == pytest.approx(ticks)
    assert all(a < b for a, b in pairwise(found))


def test_a_logarithmic_axis_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"needs values above 0, got 0\.0"):
        log_ticks(0.0, 1.0)


def test_labels_tell_ticks_apart_and_carry_real_minus_signs():
    assert [label(tick, [0.0, 0.25, 0.5]) for tick in (0.0, 0.25, 0.5)] == ["0.00", "0.25", "0.50"]
    assert [signed_label(tick, [-0.5, 0, 0.5]) for tick in (-0.5, 0, 0.5)] == ["−0.5", "0", "+0.5"]
    assert [plain(value) for value in (0.05, 2.0, 150.0, 5000.0, 20_000.0, 3e6)] == [
        "0.05", "2", "150", "5000", "20k", "3M",
    ]  # fmt: skip


def test_a_plot_is_named_or_hidden_from_those_who_listen():
    assert 'role="img" aria-label="a &lt;b&gt; &quot;c&quot;"' in frame([], 10, 'a <b> "c"')
    assert 'aria-hidden="true"' in frame([], 10)
