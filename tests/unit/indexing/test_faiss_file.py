"""The skeleton of a FAISS file: types and lengths are checked before FAISS allocates or follows anything."""

import struct

import faiss
import numpy as np
import pytest

from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfPqConfig, IvfRabitqConfig, IvfSq8Config
from indexing.errors import ArtifactCorrupt, ArtifactError, ArtifactUntrusted
from indexing.faiss_file import Header, check_faiss_file, rabitq_bytes
from indexing.faiss_index import build_index
from indexing.vectors import ArrayVectors

ROWS = np.random.default_rng(5).normal(size=(280, 8)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
KINDS = {
    b"IxFI": FlatConfig(),
    b"IHNf": HnswConfig(links=4),
    b"IwSq": IvfSq8Config(lists=4),
    b"IwPQ": IvfPqConfig(lists=4, code_bytes=2),
    b"IHNs": HnswSq8Config(links=4),
    b"Iwrq": IvfRabitqConfig(lists=4, bits=1),
    b"Iwrr": IvfRabitqConfig(lists=4, bits=5),
}


@pytest.fixture(params=KINDS, ids=bytes.decode)
def written(request, tmp_path):
    build_index(KINDS[request.param], ArrayVectors(ROWS), threads=1).write(tmp_path)
    return request.param, tmp_path / "faiss.index"


def test_what_is_written_is_walked_to_its_last_byte(written):
    fourcc, path = written
    assert check_faiss_file(path, fourcc) == Header(dim=8, count=280, metric=0)


def test_an_index_of_one_vector_and_one_with_empty_lists_are_walked(tmp_path):
    build_index(HnswConfig(links=4), ArrayVectors(ROWS[:1])).write(tmp_path / "one")
    assert check_faiss_file(tmp_path / "one" / "faiss.index", b"IHNf").count == 1
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(8), 8, 100, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.train(ROWS)
    index.add(ROWS[:3])  # most lists stay empty: FAISS writes sparse sizes
    faiss.write_index(index, str(tmp_path / "sparse"))
    assert b"sprs" in (tmp_path / "sparse").read_bytes()
    assert check_faiss_file(tmp_path / "sparse", b"IwSq").count == 3


def test_every_truncation_and_a_byte_too_many_are_corrupt(written, tmp_path):
    fourcc, path = written
    content = path.read_bytes()
    short = tmp_path / "short"
    lengths = [*range(400), *range(400, len(content), 211), len(content) - 1]
    for length in lengths:
        short.write_bytes(content[:length])
        with pytest.raises(ArtifactCorrupt, match=r"bytes too early|an array of|an index of|lists of"):
            check_faiss_file(short, fourcc)
    short.write_bytes(content + b"\0")
    with pytest.raises(ArtifactCorrupt, match="1 bytes behind its end"):
        check_faiss_file(short, fourcc)


@pytest.mark.parametrize("number", [-1, 2**31, 2**40, 2**62])
def test_a_length_that_does_not_fit_is_refused_wherever_it_stands(written, tmp_path, number):
    """Eight bytes at each place of the beginning overwritten: refused, or they are no length and nothing changes."""
    fourcc, path = written
    content = path.read_bytes()
    refused = 0
    for place in range(4, min(len(content) - 8, 500)):
        (tmp_path / "other").write_bytes(content[:place] + struct.pack("<q", number) + content[place + 8 :])
        try:
            check_faiss_file(tmp_path / "other", fourcc)
        except ArtifactError:
            refused += 1
    assert refused >= 8


@pytest.mark.parametrize("fourcc", [b"IxF2", b"IxMp", b"IBwF", b"ilod", b"\0\0\0\0"])
def test_another_type_is_untrusted(written, tmp_path, fourcc):
    expected, path = written
    (tmp_path / "other").write_bytes(fourcc + path.read_bytes()[4:])
    with pytest.raises(ArtifactUntrusted, match=f"expected the FAISS type {expected.decode()} in .*, found"):
        check_faiss_file(tmp_path / "other", expected)


def test_another_type_inside_a_type_that_is_written_is_untrusted(tmp_path):
    graph = faiss.IndexHNSWFlat(8, 4, faiss.METRIC_INNER_PRODUCT)
    graph.add(ROWS)
    quantiser = faiss.IndexHNSWFlat(8, 4, faiss.METRIC_INNER_PRODUCT)
    lists = faiss.IndexIVFScalarQuantizer(quantiser, 8, 4, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    lists.train(ROWS)
    faiss.write_index(lists, str(tmp_path / "lists"))
    with pytest.raises(ArtifactUntrusted, match=r"expected the FAISS type IxFI in .*, found b'IHNf'"):
        check_faiss_file(tmp_path / "lists", b"IwSq")
    squared = faiss.IndexHNSWFlat(8, 4)
    squared.add(ROWS)
    faiss.write_index(squared, str(tmp_path / "squared"))
    with pytest.raises(ArtifactCorrupt, match="an index of 280 vectors of dimension 8 with metric 1"):
        check_faiss_file(tmp_path / "squared", b"IHNf")


def test_codes_of_another_width_are_refused(tmp_path):
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(8), 8, 4, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.train(ROWS)
    faiss.write_index(index, str(tmp_path / "wide"))
    with pytest.raises(ArtifactCorrupt, match="codes of type"):
        check_faiss_file(tmp_path / "wide", b"IwSq")


def test_no_flip_of_a_byte_gives_an_error_without_a_type(written, tmp_path):
    fourcc, path = written
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        flipped = bytearray(content)
        flipped[place] ^= 0x80
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            check_faiss_file(tmp_path / "flipped", fourcc)
        except ArtifactError:
            continue


def test_rabitq_codes_whose_bits_and_bytes_do_not_fit_are_refused(tmp_path):
    """FAISS trusts the bits and not the bytes, and would read past the end of every code."""
    build_index(IvfRabitqConfig(lists=4, bits=5), ArrayVectors(ROWS)).write(tmp_path)
    content = (tmp_path / "faiss.index").read_bytes()
    code = struct.pack("<qqiq", 8, rabitq_bytes(8, 5), 0, 5)
    assert content.count(code) == 1
    for bits in (0, 4, 6, 10):
        (tmp_path / "other").write_bytes(content.replace(code, code[:-8] + struct.pack("<q", bits)))
        with pytest.raises(ArtifactCorrupt, match=f"codes of 25 bytes, 8 numbers with {bits} bits"):
            check_faiss_file(tmp_path / "other", b"Iwrr")


@pytest.mark.parametrize("dim", [8, 12, 100, 384, 385])
def test_the_bytes_of_a_rabitq_code_are_those_of_faiss(dim):
    for bits in range(1, 10):
        assert rabitq_bytes(dim, bits) == faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT, bits).code_size
