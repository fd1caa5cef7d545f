"""Results on disk: what is written is read again, the newest wins, and the page says what the results say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tools.bench.speed import publish
from tools.bench.speed.document import FORMAT, RESULTS, Recorded, newest, read_file, record, write
from tools.bench.speed.records import Compared, Measurement, Plot, Quality, Row, Side, Target

MACHINE = {"processor": "Zen", "cores": 2, "system": "Linux", "python": "3.12", "packages": {"numpy": "2.3"}}

NOISE = {"slowdown": 0.0, "margin": 0.0, "noisy": 0, "points": 2}


def measurement(name="encode", **changes) -> Measurement:
    row = Row(
        job="encode 3 products",
        compared=Compared.faster,
        ours=Side(name="ours", values=(1.0, 1.5, 2.0, 2.5, 3.0), raw=(0.5, 0.5)),
        peer=Side(name="peer", values=(4.0, 5.0, 6.0, 7.0, 8.0)),
        target=Target(at_least=2.0),
        work=3,
        per="products",
        quality=(Quality(name="nDCG", value=0.0, low=-0.001, high=0.002, within=0.01),),
        limited_by="memory",
    )
    missing = Row(
        job="on a GPU", compared=Compared.share, target=Target(at_most=1.5), not_run="no CUDA device", against="b"
    )
    count = Row(job="violations", compared=Compared.alone, unit="", ours=Side(name="ours", values=(0.0,)))
    plot = Plot(file="growth", title="Growth", x="products", y="s", series={"build": ((1e4, 1.0), (1e5, 12.0))})
    about = {"rows": (row, missing, count), "threads": 2, "noise": {**NOISE, "others": None}, "plots": (plot,)}
    return Measurement(**({"name": name, "notes": ("seed 7",), "facts": {"seed": 7}} | about | changes))


def recorded(name="encode", *, commit="abc", date="2026-11-30T03:00:00+00:00", **changes) -> Recorded:
    return Recorded(measurement=measurement(name, **changes), commit=commit, date=date, machine=MACHINE)


def test_what_is_written_is_read_again(tmp_path):
    (path,) = write([recorded()], tmp_path)
    assert path.name == "abc.json"
    (again,) = read_file(path)
    expected = recorded(noise=NOISE)  # what is empty is not kept
    assert again == expected


def test_measurements_of_one_commit_share_a_document_and_replace_their_elders(tmp_path):
    write([recorded("encode"), recorded("ann")], tmp_path)
    write([recorded("encode", date="2026-11-30T04:00:00+00:00", threads=1)], tmp_path)
    found = {each.measurement.name: each for each in read_file(tmp_path / "abc.json")}
    assert set(found) == {"encode", "ann"}
    assert found["encode"].measurement.threads == 1
    assert found["ann"].measurement.threads == 2


def test_the_newest_of_every_name_is_taken_over_all_documents(tmp_path):
    write([recorded(commit="new", date="2026-12-02T00:00:00+00:00")], tmp_path)
    write([recorded(commit="old"), recorded("ann", commit="old")], tmp_path)
    (tmp_path / "reliability-old.json").write_text(json.dumps({"figures": []}), encoding="utf-8")
    assert {name: each.commit for name, each in newest(tmp_path).items()} == {"encode": "new", "ann": "old"}


def test_a_document_of_another_format_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"format": "shortlist-speed/9"}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"expected format '{FORMAT}', got 'shortlist-speed/9' in .*x\.json"):
        read_file(tmp_path / "x.json")


def test_times_keep_five_digits_and_numpys_numbers_become_plain(tmp_path):
    side = Side(name="ours", values=(np.float64(1.23456789), 2.0, 3.0, 4.0, 5.0))
    row = Row(job="one", compared=Compared.alone, ours=side)
    (path,) = write([recorded(rows=(row,), facts={"count": np.int64(3)}, plots=())], tmp_path)
    stored = json.loads(path.read_text())["measurements"][0]
    assert stored["rows"][0]["ours"]["values"][0] == 1.2346
    assert stored["facts"] == {"count": 3}


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match=r"expected what JSON can hold, got set: \{1\}"):
        write([recorded(facts={"seen": {1}})], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_record_names_commit_processor_and_versions_and_no_path():
    made = record(measurement())
    assert made.commit
    assert made.machine["packages"]["numpy"] == np.__version__
    assert "/" not in json.dumps({name: made.machine[name] for name in ("processor", "system", "python")})


def test_the_page_exchanges_what_lies_between_the_marks_and_nothing_else(tmp_path):
    page = tmp_path / "evaluation.md"
    page.write_text(f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n", encoding="utf-8")
    made = publish.pages({"encode": recorded()}, page=page, pictures=tmp_path)
    text = made[page]
    assert text.startswith(f"before\n{publish.BEGIN}\n| job |")
    assert text.endswith(f"{publish.END}\nafter\n")
    assert "old" not in text
    assert made[tmp_path / "growth.svg"].startswith("<svg ")


@pytest.mark.parametrize("text", ["no marks", publish.BEGIN, f"{publish.END}{publish.BEGIN}", publish.BEGIN * 2])
def test_a_page_without_its_marks_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match=r"expected '<!-- speed: .*' and then '<!-- end of speed -->', once each, in"):
        publish.spliced(text, "table", tmp_path / "page.md")


def test_a_figure_that_was_edited_by_hand_is_stale(tmp_path):
    page = tmp_path / "evaluation.md"
    page.write_text(f"{publish.BEGIN}\n{publish.END}\n", encoding="utf-8")
    made = publish.pages({"encode": recorded(plots=())}, page=page, pictures=tmp_path)
    assert publish.stale(made) == [page]
    page.write_text(made[page], encoding="utf-8")
    assert publish.stale(made) == []
    page.write_text(made[page].replace("3x", "4x"), encoding="utf-8")
    assert publish.stale(made) == [page]


def test_the_committed_page_and_pictures_are_what_the_committed_results_say():
    assert [path.name for path in publish.stale(publish.pages(newest(RESULTS)))] == []


def test_no_committed_result_is_of_a_checkout_that_held_changes():
    assert [name for name, each in newest(RESULTS).items() if each.commit.endswith("-dirty")] == []


def test_a_later_measurement_changes_the_page(tmp_path):
    page = tmp_path / "evaluation.md"
    page.write_text(f"{publish.BEGIN}\n{publish.END}\n", encoding="utf-8")
    first = publish.pages({"encode": recorded()}, page=page, pictures=tmp_path)[page]
    other = replace(recorded(), date="2026-12-01T00:00:00+00:00")
    assert publish.pages({"encode": other}, page=page, pictures=tmp_path)[page] != first
