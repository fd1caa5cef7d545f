"""Grades of the single raters."""

from pathlib import Path

import pytest

from indexing.errors import SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import IcecatCatalog
from retrieval.raters import read_rater_grades
from retrieval.records import Query

QUERIES = [Query("usb-hub", "usb hub"), Query("mouse", "mouse")]


def written(folder: Path, *lines: str) -> Path:
    path = folder / "rater_grades.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_grade_column_is_a_rater_and_an_empty_cell_no_grade(tmp_path):
    path = written(tmp_path, "query,product_id,grade_ann,grade_2", "usb hub,007,3,", "usb hub,8,0,1", "mouse,8,1,2")
    assert read_rater_grades(path, QUERIES) == {
        "ann": {"usb-hub": {"007": 3, "8": 0}, "mouse": {"8": 1}},
        "2": {"usb-hub": {"8": 1}, "mouse": {"8": 2}},
    }


def test_queries_may_be_given_by_id_and_others_are_passed_over(tmp_path):
    path = written(tmp_path, "query_id,product_id,grade_1", "mouse,8,1", "elsewhere,8,1")
    assert read_rater_grades(path, QUERIES) == {"1": {"mouse": {"8": 1}}}


def test_a_file_without_a_grade_column_is_refused(tmp_path):
    with pytest.raises(SourceDataError, match="has no column 'grade_1'"):
        read_rater_grades(written(tmp_path, "query,product_id,grade", "mouse,8,1"), QUERIES)


def test_a_grade_that_is_no_whole_number_is_refused_with_its_row(tmp_path):
    path = written(tmp_path, "query,product_id,grade_1,grade_2", "mouse,8,1,1", "mouse,9,1,good")
    with pytest.raises(SourceDataError, match=r"grade_2: expected a whole number from 0, got 'good'.*3"):
        read_rater_grades(path, QUERIES)


@pytest.mark.shared
def test_three_raters_of_icecat_graded_the_same_pairs(shared_data):
    folder = shared_data / "icecat"
    queries = open_catalog(IcecatCatalog(name="icecat"), folder).queries()
    raters = read_rater_grades(folder / "rater_grades.csv", queries)
    assert {name: sum(map(len, of.values())) for name, of in raters.items()} == {"1": 2083, "2": 2083, "3": 2083}
    assert [raters[name]["surround-sound-speakers"]["478578"] for name in "123"] == [2, 2, 3]
