"""The Markdown table and the plots: every cell by hand, nothing left out, and what was not run stands there."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tools.bench.speed.document import Recorded
from tools.bench.speed.plot import draw
from tools.bench.speed.records import Compared, Measurement, Plot, Quality, Row, Side, Target
from tools.bench.speed.table import COLUMNS, cells, number, render

MACHINE = {"processor": "Zen", "cores": 2, "system": "Linux", "python": "3.12", "packages": {"numpy": "2.3"}}
OURS = Side(name="Shortlist, int8", values=(1.0, 2.0, 2.0, 2.0, 4.0))
PEER = Side(name="peer 1.0", values=(8.0, 8.0, 8.0, 8.0, 10.0))


def recorded(*rows, name="encode", **changes):
    made = Measurement(name=name, rows=rows, threads=2, **changes)
    return Recorded(measurement=made, commit="abc", date="2026-11-30T03:00:00+00:00", machine=MACHINE)


def test_a_row_shows_rates_ratio_spread_target_and_quality():
    row = Row(
        job="encode 1,000 products",
        compared=Compared.faster,
        ours=OURS,
        peer=PEER,
        target=Target(at_least=5.0),
        work=1_000,
        per="products",
        quality=(Quality(name="top-10 overlap", value=0.983, at_least=0.97),),
    )
    assert cells(row) == [
        "encode 1,000 products",
        "peer 1.0",
        "500,000 products/s",
        "125,000 products/s",
        "4x (2.5 to 8)",
        "≥ 5x",
        "top-10 overlap 0.983 (≥ 0.97)",
        "**no**",
    ]


def test_a_share_is_shown_in_per_cent_and_an_interval_with_its_signs():
    quality = Quality(name="nDCG@10 difference", value=0.001, low=-0.002, high=0.02, within=0.01)
    row = Row(
        job="memory",
        compared=Compared.share,
        unit="MiB",
        ours=Side(name="ours", values=(450.0,)),
        peer=Side(name="fp32 HNSW", values=(1000.0,)),
        target=Target(at_most=0.45),
        quality=(quality,),
    )
    assert cells(row)[2:] == [
        "450 MiB",
        "1,000 MiB",
        "45 %",
        "≤ 45 %",
        "nDCG@10 difference +0.0010 [-0.0020, +0.0200] (within ±0.01) MISSED",
        "**no**",
    ]


def test_a_figure_without_a_peer_has_no_ratio():
    row = Row(
        job="repeat", compared=Compared.alone, ours=Side(name="ours", values=(0.1,) * 5), target=Target(at_most=0.3)
    )
    assert cells(row) == ["repeat", "-", "0.1 ms", "-", "-", "≤ 0.3 ms", "-", "yes"]


def test_what_was_not_run_stands_in_the_table_with_its_target():
    row = Row(job="encode on a GPU", compared=Compared.faster, target=Target(at_least=4.0), not_run="no CUDA device")
    assert cells(replace(row, against="peer 1.0"))[1] == "peer 1.0"
    assert cells(row) == ["encode on a GPU", "-", "not run: no CUDA device", "-", "-", "≥ 4x", "-", "-"]


def test_fewer_rounds_are_told_in_the_row():
    few = Side(name="ours", values=(20.0, 21.0))
    row = Row(job="build", compared=Compared.alone, unit="s", ours=few, few_because="half an hour each")
    assert cells(row)[2] == "20.5 s (2 rounds: half an hour each)"


def test_the_section_has_every_row_reason_note_plot_and_origin_in_the_targets_order():
    slow = Row(
        job="second", compared=Compared.faster, ours=OURS, peer=PEER, target=Target(at_least=9.0), limited_by="the bus."
    )
    plot = Plot(file="deadline", title="Quality against deadline", x="ms", y="nDCG@10", series={"a": ((1, 2),)})
    noise = {"slowdown": 0.031, "margin": 0.02, "noisy": 1, "points": 4, "others": 0.5}
    text = render(
        {
            "ann": recorded(slow, name="ann", notes=("seed 7.",), plots=(plot,), noise=noise),
            "zzz": recorded(Row(job="last", compared=Compared.alone, ours=OURS), name="zzz"),
            "encode": recorded(Row(job="first", compared=Compared.alone, ours=OURS)),
        }
    )
    jobs = re.findall(r"^\| (\w+) \|", text, flags=re.MULTILINE)
    assert jobs == ["job", "first", "second", "last"]
    assert all(line.count("|") == len(COLUMNS) + 1 for line in text.splitlines() if line.startswith("|"))
    assert "- **second**: the bus.\n" in text
    assert "- `ann`: seed 7.\n" in text
    assert "![Quality against deadline](pictures/deadline.svg)" in text
    assert "Zen, 2 cores, Python 3.12, numpy 2.3:" in text
    assert (
        "`ann`: 2026-11-30, commit `abc`, 2 threads; control task 3 % over quiet, means within 2 % of their middle, "
        "1 of 4 contestants noisy, others kept 0.50 cores busy" in text
    )
    assert "`zzz`: 2026-11-30, commit `abc`, 2 threads; nothing timed" in text


def test_without_results_the_section_says_so():
    assert render({}) == "Nothing was measured yet; `make bench` measures.\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00012345, "0.000123"),
        (0.5, "0.5"),
        (12.345, "12.3"),
        (999.9, "1,000"),
        (123456, "123,000"),
        (0, "0"),
        (-3.0, "-3"),
    ],
)
def test_numbers_have_three_digits_and_thousands_commas(value, text):
    assert number(value) == text


def test_a_plot_draws_every_point_where_its_axes_say():
    series = {"build": ((1e4, 1.0), (1e5, 10.0), (1e6, 100.0)), "encode <fp32>": ((1e4, 100.0),)}
    plot = Plot(file="growth", title="Growth & time", x="products", y="s", series=series, log_x=True, log_y=True)
    root = ElementTree.fromstring(draw(plot))
    marks = [each for each in root.iter() if each.get("class") in ("s0", "s1") and each.tag.endswith("}g")]
    places = [tuple(map(float, re.findall(r"[\d.]+", each.get("transform")))) for each in marks]
    build, (other,) = places[:3], places[3:4]
    assert build[1][0] - build[0][0] == pytest.approx(build[2][0] - build[1][0], abs=0.2)
    assert build[0][1] - build[1][1] == pytest.approx(build[1][1] - build[2][1], abs=0.2)
    assert build[0][1] > build[2][1]
    assert other == (build[0][0], build[2][1])
    texts = [each.text for each in root.iter() if each.tag.endswith("}text")]
    assert {"Growth & time", "products", "s", "build", "encode <fp32>"} <= set(texts)


def test_a_plot_tells_its_numbers_to_who_cannot_see_it():
    plot = Plot(file="a", title="A", x="ms", y="nDCG@10", series={"a": ((1.0, 0.5), (2.0, 0.75))})
    assert "ms across, nDCG@10 upwards. a: 1 0.5, 2 0.75" in draw(plot)


def test_a_plot_without_points_is_refused():
    with pytest.raises(ValueError, match="empty: expected at least one point, got none"):
        draw(Plot(file="empty", title="", x="", y="", series={"a": ()}))


def test_a_long_legend_goes_on_in_lines_within_the_picture_and_lines_are_not_filled():
    names = [f"a pipeline of a long name, number {place}" for place in range(5)]
    svg = draw(Plot(file="x", title="t", x="x", y="y", series=dict.fromkeys(names, ((1, 1), (2, 2)))))
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    places = [re.search(rf'<text x="(\d+)" y="(\d+)">{name}', svg).groups() for name in names]
    assert all(int(x) + 6 * len(names[0]) <= width and int(y) < height for x, y in places)
    assert len({y for _, y in places}) > 1
    assert "path.line{fill:none" in svg  # the series' colours are set by one class, so the tag makes this one win
