"""Products that are not there: found among the rows set aside, or meant by another id."""

import json
from types import SimpleNamespace

import pytest

from indexing.errors import ArtifactCorrupt
from shortlist.explain import absent
from shortlist.explain.absent import SetAside, like, set_aside


def bundle(folder, *records):
    (folder / "quarantine.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return SimpleNamespace(folder=folder)


def row(number, product_id, problem="title: empty"):
    return {"file": "/data/shop/a.csv", "row": number, "product_id": product_id, "problem": problem, "values": {}}


def test_the_first_row_of_the_id_is_found_with_its_file_row_and_problem(tmp_path):
    held = bundle(tmp_path, row(2, "a-1"), row(3, "1", "price: negative"), row(9, "1"))
    assert set_aside(held, "1") == SetAside("a.csv", 3, "price: negative")


def test_an_id_that_is_only_part_of_another_or_of_a_value_is_not_found(tmp_path):
    held = bundle(tmp_path, {**row(2, "11"), "values": {"rating": "1"}}, {**row(3, "x"), "values": ["1"]})
    assert set_aside(held, "1") is None


def test_an_id_outside_ascii_is_found(tmp_path):
    assert set_aside(bundle(tmp_path, row(4, 'stör "1"')), 'stör "1"').row == 4


def test_a_build_that_set_nothing_aside_has_nothing_to_find(tmp_path):
    assert set_aside(SimpleNamespace(folder=tmp_path), "1") is None


def test_rows_of_a_build_that_did_not_note_ids_are_passed_over(tmp_path):
    record = row(2, "1")
    del record["product_id"]
    assert set_aside(bundle(tmp_path, {**record, "values": {"product_id": "1"}}), "1") is None


@pytest.mark.parametrize(
    "line", ['{"product_id": "1"', '["1"]', '{"product_id": "1", "row": "x", "file": "", "problem": ""}']
)
def test_a_line_that_does_not_read_is_refused_with_its_place(tmp_path, line):
    (tmp_path / "quarantine.jsonl").write_text(f"{json.dumps(row(1, '0'))}\n{line}\n")
    with pytest.raises(ArtifactCorrupt, match=r"line 2 of .*quarantine\.jsonl is no quarantined row"):
        set_aside(SimpleNamespace(folder=tmp_path), "1")


def test_ids_that_a_spreadsheet_or_a_paste_would_have_changed_come_first():
    ids = ["00123", "0123", "AB-9", "abc", "124"]
    assert like("123", ids) == ("00123", "0123")
    assert like(" ab-9 ", ids) == ("AB-9",)


def test_the_nearest_id_in_letters_is_offered_and_a_strange_one_offers_nothing():
    ids = ["mouse-red", "mouse-blue", "sofa-red"]
    assert like("mouse-reed", ids) == ("mouse-red",)
    assert like("zzz", ids) == ()
    assert like("", ids) == ()


def test_only_so_many_ids_are_compared_letter_by_letter(monkeypatch):
    monkeypatch.setattr(absent, "COMPARED", 2)
    assert like("sku-1234", ["sku-998877", "sku-887766", "sku-1235"]) == ()
    assert like("sku-1234", ["sku-998877", "sku-1235", "sku-887766"]) == ("sku-1235",)
