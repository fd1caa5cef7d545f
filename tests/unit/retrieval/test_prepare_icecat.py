import csv
import dataclasses
import hashlib
import importlib.util
import json
import sys
import urllib.error
import zipfile
from pathlib import Path

import pytest

from indexing.errors import SourceDataError

TOOL = Path(__file__).parents[3] / "tools" / "prepare" / "icecat.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("prepare_icecat", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare_icecat"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["prepare_icecat"]


RATINGS = """query,docid,rating
usb hub,000,3
usb hub,004,0
laptop,999,2
toner,001,
toner,002,1
toner,002,2
usb hub,000,3
"""


@pytest.fixture
def chorus(tmp_path):
    """Return a folder laid out like a clone of Chorus, with five products in two small archives."""
    clone = tmp_path / "chorus"
    folder = clone / "data-encoder/ecommerce/vectors/data"
    folder.mkdir(parents=True)
    for number, ids in ((1, (0, 1, 2)), (2, (3, 4))):
        products = [{"id": f"{product:03d}", "title": f"Title {product}", "price": 100} for product in ids]
        with zipfile.ZipFile(folder / f"{number}.json.zip", "w") as archive:
            archive.writestr(f"{number}.json", json.dumps(products))
    (clone / "katas").mkdir()
    (clone / "katas" / "Broad_Query_Set_rated.csv").write_text(RATINGS)
    return clone


@pytest.fixture
def archives(tool, chorus):
    """Return the tool's first two archives with the digests of the small ones."""
    return [
        dataclasses.replace(archive, sha256=hashlib.sha256((chorus / archive.path).read_bytes()).hexdigest())
        for archive in tool.ARCHIVES[:2]
    ]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_clone_becomes_a_folder_that_the_reader_takes(tool, chorus, archives, tmp_path, capsys):
    out = tmp_path / "new" / "icecat"
    tool.prepare(out, local=chorus, archives=archives)
    assert sorted(path.name for path in out.iterdir()) == [
        "Broad_Query_Set_rated.csv",
        "judgments.csv",
        "products-1.json.zip",
        "products-2.json.zip",
    ]
    assert rows(out / "judgments.csv") == [
        ["query", "product_id", "grade", "source"],
        ["usb hub", "000", "3", "human"],
        ["usb hub", "004", "0", "human"],
    ]
    printed = capsys.readouterr().out
    assert "5 products, 1 queries, 2 judgments" in printed
    assert "{'product not in the catalogue': 1, 'unrated': 1, 'pair with two ratings': 1}" in printed


def test_archive_with_another_digest_is_refused_and_not_left_behind(tool, chorus, archives, tmp_path):
    wrong = [archives[0], dataclasses.replace(archives[1], sha256="0" * 64)]
    with pytest.raises(
        SourceDataError, match=r"products-2\.json\.zip: expected SHA-256 0{64}, got [0-9a-f]{64} from https"
    ):
        tool.prepare(tmp_path / "out", local=chorus, archives=wrong)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["products-1.json.zip"]


def test_archive_that_is_there_and_right_is_kept(tool, chorus, archives, tmp_path, capsys):
    out = tmp_path / "out"
    tool.prepare(out, local=chorus, archives=archives)
    (chorus / archives[0].path).write_bytes(b"changed since")
    tool.prepare(out, local=chorus, archives=archives)
    assert "products-1.json.zip: there already" in capsys.readouterr().out


def test_prepared_folder_is_copied_with_its_own_judgments(tool, chorus, archives, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    tool.prepare(first, local=chorus, archives=archives)
    (first / "judgments.csv").write_text("query,product_id,grade,source\ntoner,003,2,added\n")
    tool.prepare(second, local=first, archives=archives)
    assert rows(second / "judgments.csv")[1] == ["toner", "003", "2", "added"]
    tool.prepare(second, local=second, archives=archives)
    assert rows(second / "judgments.csv")[1] == ["toner", "003", "2", "added"]


def test_folder_that_lacks_a_file_is_refused(tool, archives, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceDataError, match=r"empty has neither products-1\.json\.zip nor data-encoder/"):
        tool.prepare(tmp_path / "out", local=tmp_path / "empty", archives=archives)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,id,rating\na,1,2\n", "expected the columns query, docid, rating"),
        ("query,docid,rating\na,1,2\nb,1,4\n", "row 3: expected query, docid and 0 to 3"),
        ("query,docid,rating\n,1,2\n", "row 2: expected query, docid and 0 to 3"),
    ],
)
def test_ratings_of_another_form_are_refused(tool, tmp_path, text, message):
    (tmp_path / "rated.csv").write_text(text)
    with pytest.raises(SourceDataError, match=message):
        tool.convert_ratings(tmp_path / "rated.csv", tmp_path / "judgments.csv", known={"1"})
    assert not (tmp_path / "judgments.csv").exists()


def test_download_asks_for_the_pinned_commit_and_what_arrives_is_checked(tool, chorus, archives, tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return (chorus / url.split("/", maxsplit=6)[6]).open("rb")

    monkeypatch.setattr(tool.urllib.request, "urlopen", urlopen)
    tool.prepare(tmp_path / "out", local=None, archives=archives)
    home = "https://raw.githubusercontent.com/querqy/chorus"
    assert asked == [f"{home}/{public.commit}/{public.path}" for public in (*archives, tool.RATINGS)]
    with (chorus / archives[0].path).open("ab") as file:
        file.write(b"!")
    with pytest.raises(SourceDataError, match=r"products-1\.json\.zip: expected SHA-256"):
        tool.prepare(tmp_path / "again", local=None, archives=archives)


def test_download_that_fails_says_how_to_go_on(tool, archives, tmp_path, monkeypatch):
    def urlopen(url, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(tool.urllib.request, "urlopen", urlopen)
    with pytest.raises(SourceDataError, match=r"cannot be fetched: .*no route.*; clone github\.com/querqy/chorus"):
        tool.prepare(tmp_path / "out", local=None, archives=archives)


def test_command_line_ends_with_the_exit_code_for_data(tool, tmp_path, capsys):
    assert tool.main(["--out", str(tmp_path / "out"), "--from", str(tmp_path)]) == 3
    assert "error: " in capsys.readouterr().err


@pytest.mark.shared
def test_real_archives_have_the_digests_on_record(tool, shared_data):
    for archive in tool.ARCHIVES:
        content = (shared_data / "icecat" / archive.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == archive.sha256
