"""Files: what is written is whole, what is read is what was written, and errors say what to do."""

import hashlib
import json
import os
import re

import numpy as np
import pytest

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactNotFound, ArtifactUntrusted, StorageError
from indexing.storage import FileDigest, FileSystem


class StingyFileSystem(FileSystem):
    """Takes three bytes a call, as a socket or a nearly full disk may."""

    def write(self, descriptor, content):
        return super().write(descriptor, content[:3])


class LyingFileSystem(FileSystem):
    """Reports success and drops the last byte of every write."""

    def write(self, descriptor, content):
        super().write(descriptor, content[:-1])
        return len(content)


@pytest.fixture(params=["plain", "a=b, c d", "größe"])
def folder(tmp_path, request):
    path = tmp_path / request.param
    path.mkdir()
    return path


def test_bytes_come_back_with_their_digest_whatever_the_path(folder):
    content = bytes(range(256)) * 9000  # more than two read units
    written = storage.write_bytes(folder / "x.bin", content)
    assert written == FileDigest(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert storage.read_bytes(folder / "x.bin") == content
    assert storage.digest(folder / "x.bin") == written


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", bytearray(b"abc"), memoryview(b"abc"), np.arange(6, dtype="<i4").reshape(2, 3), np.empty((0, 4))],
)
def test_anything_with_a_buffer_can_be_written(tmp_path, content):
    storage.write_bytes(tmp_path / "x", content)
    assert (tmp_path / "x").read_bytes() == bytes(np.asarray(content).tobytes() if len(content) else b"")


def test_short_writes_are_continued_until_everything_is_there(tmp_path):
    with storage.using(StingyFileSystem()):
        written = storage.write_bytes(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    assert written.size_bytes == 10


def test_a_file_system_that_keeps_less_than_it_takes_is_found_out(tmp_path):
    with (
        storage.using(LyingFileSystem()),
        pytest.raises(StorageError, match=r"expected 10 bytes in .*x, the file system kept 9"),
    ):
        storage.write_bytes(tmp_path / "x", b"0123456789")
    assert not (tmp_path / "x").exists()


def test_a_write_that_takes_nothing_is_an_error_and_not_an_endless_loop(tmp_path):
    class Refusing(FileSystem):
        def write(self, descriptor, content):
            return 0

    with storage.using(Refusing()), pytest.raises(StorageError, match="0 of 3 bytes were taken"):
        storage.write_bytes(tmp_path / "x", b"abc")


def test_an_existing_file_is_never_overwritten_nor_removed(tmp_path):
    storage.write_bytes(tmp_path / "x", b"first")
    with pytest.raises(StorageError, match=r"could not create .*x: File exists; .*remove it"):
        storage.write_bytes(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"


def test_a_writer_removes_its_file_when_the_block_fails(tmp_path):
    def write_half():
        with storage.writer(tmp_path / "x") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_json_is_sorted_indented_utf8_with_a_final_newline(tmp_path):
    storage.write_json(tmp_path / "x.json", {"b": [1, 2.5], "a": "größe"})
    expected = '{\n "a": "größe",\n "b": [\n  1,\n  2.5\n ]\n}\n'
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == expected
    assert storage.read_json(tmp_path / "x.json") == {"a": "größe", "b": [1, 2.5]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_a_meaning_elsewhere_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "x.json", {"recall": value})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("content", [b'{"a": NaN}', b'{"a":', b"\xff\xfe", b"", b"[" * 100_000])
def test_json_that_does_not_parse_is_corrupt(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=rf"expected UTF-8 JSON in .*x\.json, got {len(content)} bytes"):
        storage.read_json(tmp_path / "x.json")


def test_a_missing_file_is_not_found_by_every_reader(tmp_path):
    path = tmp_path / "gone"
    for read in (storage.read_bytes, storage.read_json, storage.digest, storage.adopt):
        with pytest.raises(ArtifactNotFound, match=r"there is no file .*gone"):
            read(path)
    with pytest.raises(ArtifactNotFound, match="there is no file"):
        storage.map_array(path, "<f4", (1,))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactNotFound, match="there is no file"):
        storage.read_bytes(tmp_path / "file" / "below a file")


def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ArtifactUntrusted, match=f"expected a regular file at .*{name}"):
            storage.read_bytes(tmp_path / name)


def test_replacing_leaves_the_new_content_and_nothing_beside_it(tmp_path):
    storage.replace_json(tmp_path / "CURRENT", {"version": 1})
    storage.replace_json(tmp_path / "CURRENT", {"version": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]
    assert json.loads((tmp_path / "CURRENT").read_text()) == {"version": 2}


def test_a_mapped_array_has_the_values_and_cannot_be_written(tmp_path):
    values = np.arange(12, dtype="<f4").reshape(3, 4)
    storage.write_bytes(tmp_path / "x.f32", values)
    mapped = storage.map_array(tmp_path / "x.f32", "<f4", (3, 4))
    assert np.array_equal(mapped, values)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1


def test_a_mapped_array_of_nothing_needs_an_empty_file(tmp_path):
    storage.write_bytes(tmp_path / "x.f32", b"")
    assert storage.map_array(tmp_path / "x.f32", "<f4", (0, 4)).shape == (0, 4)


@pytest.mark.parametrize("size", [0, 47, 49])
def test_a_mapped_file_of_another_size_is_corrupt(tmp_path, size):
    (tmp_path / "x.f32").write_bytes(bytes(size))
    with pytest.raises(ArtifactCorrupt, match=rf"expected 48 bytes \(float32 \[3, 4\]\) in .*x\.f32, found {size}"):
        storage.map_array(tmp_path / "x.f32", "<f4", (3, 4))


def test_adopting_gives_the_digest_of_what_a_library_wrote(tmp_path):
    (tmp_path / "model").write_bytes(b"weights")
    assert storage.adopt(tmp_path / "model") == storage.digest(tmp_path / "model")


def test_adopting_refuses_a_file_that_a_full_disk_left_empty(tmp_path):
    (tmp_path / "faiss.index").write_bytes(b"")
    message = re.escape(f"expected at least 1 bytes in {tmp_path / 'faiss.index'}, found 0; is the disk full?")
    with pytest.raises(StorageError, match=message):
        storage.adopt(tmp_path / "faiss.index")


def test_a_link_is_the_same_file_and_a_copy_where_links_are_not_possible(tmp_path):
    class NoLinks(FileSystem):
        def link(self, source, target):
            raise OSError(18, "Invalid cross-device link")

    storage.write_bytes(tmp_path / "source", b"content")
    storage.link_or_copy(tmp_path / "source", tmp_path / "linked")
    with storage.using(NoLinks()):
        storage.link_or_copy(tmp_path / "source", tmp_path / "copied")
    assert (tmp_path / "linked").samefile(tmp_path / "source")
    assert not (tmp_path / "copied").samefile(tmp_path / "source")
    assert (tmp_path / "copied").read_bytes() == b"content"


def test_linking_refuses_a_missing_source_and_a_taken_target(tmp_path):
    storage.write_bytes(tmp_path / "taken", b"old")
    with pytest.raises(ArtifactNotFound, match=r"there is no file .*source"):
        storage.link_or_copy(tmp_path / "source", tmp_path / "target")
    storage.write_bytes(tmp_path / "source", b"new")
    with pytest.raises(StorageError, match=r"could not link .*taken: File exists"):
        storage.link_or_copy(tmp_path / "source", tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"old"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' comes twice"),
        (b'{"a": 9223372036854775808}', "9223372036854775808 does not fit into 64 bits"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "do not parse"),
    ],
)
def test_json_that_parsers_read_differently_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=message):
        storage.read_json(tmp_path / "a.json")


def test_another_library_s_json_may_hold_whole_numbers_of_any_size(tmp_path):
    (tmp_path / "a.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert storage.read_json(tmp_path / "a.json", foreign=True) == {"model_max_length": 1000000000000000019884624838656}
    with pytest.raises(ArtifactCorrupt, match="64 bits"):
        storage.read_json(tmp_path / "a.json")
