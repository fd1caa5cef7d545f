import pytest

from indexing.errors import SourceDataError
from retrieval.catalog import read_judgments_csv
from retrieval.readers.labels import query_id_of
from retrieval.records import Judgment, Query

KNOWN = [Query("q1", "usb hub"), Query("q2", "toner")]


def write(folder, text):
    path = folder / "judgments.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_take_the_ids_of_the_catalogue_and_new_ones_get_their_own(tmp_path):
    path = write(tmp_path, "query,product_id,grade\nred mouse,1,2\ntoner,007,3\nred mouse,2,0\n")
    queries, judgments = read_judgments_csv(path, KNOWN)
    assert queries == [Query("red-mouse", "red mouse"), Query("q2", "toner")]
    assert judgments == [Judgment("red-mouse", "1", 2), Judgment("q2", "007", 3), Judgment("red-mouse", "2", 0)]


def test_ids_have_to_be_those_of_the_catalogue(tmp_path):
    queries, judgments = read_judgments_csv(write(tmp_path, "query_id,product_id,grade\nq2,1,2\n"), KNOWN)
    assert (queries, judgments) == ([KNOWN[1]], [Judgment("q2", "1", 2)])
    path = write(tmp_path, "query_id,product_id,grade\nq2,1,2\nq3,1,1\n")
    with pytest.raises(
        SourceDataError, match=r"judgments\.csv\n    query_id: 'q3' is not among the queries \(1 row: 3\)"
    ):
        read_judgments_csv(path, KNOWN)


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceDataError, match=r"there is no file of judgments .*judgments\.csv"):
        read_judgments_csv(tmp_path / "judgments.csv", KNOWN)


@pytest.mark.parametrize("header", ["text,product_id,grade", "query,product_id,rating", "query_id,product,grade"])
def test_missing_column_is_refused(tmp_path, header):
    with pytest.raises(SourceDataError, match="column"):
        read_judgments_csv(write(tmp_path, f"{header}\na,b,1\n"), KNOWN)


def test_empty_text_is_refused_once_per_row(tmp_path):
    path = write(tmp_path, "query,product_id,grade\n,1,1\nx,1,1\n ,2,1\n")
    with pytest.raises(
        SourceDataError, match=r"2 rows cannot become judgments:\n.*\n    query: empty \(2 rows: 2, 4\)$"
    ):
        read_judgments_csv(path, KNOWN)


def test_text_whose_id_would_be_another_querys_is_refused(tmp_path):
    path = write(tmp_path, "query,product_id,grade\nq1,1,1\n")
    with pytest.raises(SourceDataError, match=r"query: its id 'q1' is that of another query \(1 row: 2\)"):
        read_judgments_csv(path, KNOWN)


def test_pair_with_two_grades_is_refused_and_one_given_twice_alike_is_not(tmp_path):
    _, judgments = read_judgments_csv(write(tmp_path, "query,product_id,grade\ntoner,1,1\ntoner,1,1\n"), KNOWN)
    assert len(judgments) == 1
    path = write(tmp_path, "query,product_id,grade\ntoner,1,1\ntoner,1,2\n")
    with pytest.raises(SourceDataError, match=r"grade: 2, but row 2 gives this pair 1 \(1 row: 3\)"):
        read_judgments_csv(path, KNOWN)


@pytest.mark.parametrize(
    ("text", "query_id"),
    [
        ("surround sound speakers", "surround-sound-speakers"),
        ("toner", "toner"),
        ("USB hub", "usb-hub-391e188b"),
        ("usb-hub", "usb-hub-d22cae0b"),
        ("红色 跑鞋", "红色-跑鞋-40ff4dff"),
        ("???", "a03b221c"),
    ],
)
def test_id_of_a_text_is_the_same_in_every_release(text, query_id):
    assert query_id_of(text) == query_id


def test_ids_of_texts_that_differ_little_differ():
    texts = ["usb hub", "usb-hub", "USB hub", "usb  hub", "usb hub!", "usbhub", " usb hub"]
    assert len({query_id_of(text) for text in texts}) == len(texts)
    assert all(len(query_id_of(text).split()) == 1 for text in texts)
