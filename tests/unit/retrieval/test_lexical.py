"""BM25 by hand, exact cuts, and files that say when they are not what they were."""

import math

import numpy as np
import pytest

from indexing.errors import ArtifactCorrupt, ArtifactIncompatible, ArtifactNotFound, StorageError
from indexing.storage import digest
from retrieval import postings
from retrieval.config import LexicalConfig
from retrieval.lexical import LexicalIndex
from retrieval.words import words

TEXTS = ["red mouse", "red red keyboard for mouse", "blue keyboard", "", "green lamp"]


@pytest.fixture
def index():
    return LexicalIndex.build(TEXTS, LexicalConfig())


@pytest.fixture
def folder(index, tmp_path):
    index.write(tmp_path / "lexical")
    return tmp_path / "lexical"


def test_scores_are_those_worked_by_hand(index):
    # 5 products of 2, 5, 2, 0, 2 words: mean 2.2. "red" and "mouse" are in 2 of them: idf = ln(1 + 3.5 / 2.5) = ln 2.4.
    short, long = 1.2 * (0.25 + 0.75 * 2 / 2.2), 1.2 * (0.25 + 0.75 * 5 / 2.2)
    expected = [
        math.log(2.4) * (1 / (1 + short) + 1 / (1 + short)),
        math.log(2.4) * (2 / (2 + long) + 1 / (1 + long)),
        0,
        0,
        0,
    ]
    assert index.scores("red mouse") == pytest.approx(expected, rel=1e-6)


def test_the_shares_of_the_words_are_those_worked_by_hand(index):
    long = 1.2 * (0.25 + 0.75 * 5 / 2.2)
    red, mouse, green, no = index.explain("mouse green zzz red red", 1)
    assert (red.word, red.in_query, red.in_product, red.products) == ("red", 2, 2, 2)
    assert red.score == pytest.approx(2 * math.log(2.4) * 2 / (2 + long))
    assert (mouse.word, mouse.in_query, mouse.in_product, mouse.products) == ("mouse", 1, 1, 2)
    assert mouse.score == pytest.approx(math.log(2.4) / (1 + long))
    assert (green.word, green.in_product, green.products, green.score) == ("green", 0, 1, 0)
    assert (no.word, no.in_product, no.products, no.score) == ("zzz", 0, 0, 0)


def test_the_shares_of_the_words_sum_to_the_score():
    random = np.random.default_rng(5)
    vocabulary = [f"w{number}" for number in range(30)]
    texts = [" ".join(random.choice(vocabulary, size=random.integers(0, 12))) for _ in range(50)]
    index = LexicalIndex.build(texts, LexicalConfig())
    for _ in range(20):
        query = " ".join(random.choice([*vocabulary, "nowhere"], size=random.integers(1, 6)))
        sums = [sum(share.score for share in index.explain(query, row)) for row in range(50)]
        assert sums == pytest.approx(index.scores(query).tolist(), rel=1e-6)


def test_a_query_without_words_has_no_shares_and_a_row_that_is_not_there_is_refused(index):
    assert index.explain("!?", 0) == ()
    with pytest.raises(IndexError, match=r"row must be in \[0, 5\), got 5"):
        index.explain("red", 5)


def test_a_product_that_shares_no_word_is_never_returned(index):
    rows, scores = index.search("red mouse", 5)
    assert rows.tolist() == [0, 1]
    assert (scores > 0).all()


@pytest.mark.parametrize("query", ["unknown words", "", "!?"])
def test_a_query_without_known_words_finds_nothing(index, query):
    rows, scores = index.search(query, 5)
    assert (rows.dtype, rows.tolist(), scores.dtype, scores.tolist()) == (np.int64, [], np.float32, [])


def test_a_word_the_query_repeats_counts_twice(index):
    assert index.scores("red red mouse") == pytest.approx(index.scores("red mouse") + index.scores("red"), rel=1e-6)


def test_the_order_of_the_query_words_does_not_change_a_bit():
    texts = [f"alpha{'beta ' * (n % 7)} gamma {'delta ' * (n % 5)}" for n in range(100)]
    index = LexicalIndex.build(texts, LexicalConfig())
    forward, backward = index.scores("beta gamma delta"), index.scores("delta beta gamma")
    assert forward.tobytes() == backward.tobytes()


def test_ties_at_the_cut_are_settled_by_tie_rank():
    index = LexicalIndex.build(["same text"] * 6 + ["text"], LexicalConfig())
    rows, scores = index.search("same", 3, tie_rank=np.array([5, 4, 0, 2, 1, 3, 6]))
    assert rows.tolist() == [2, 4, 3]
    assert len(set(scores.tolist())) == 1


def test_ties_fall_to_the_lower_row_when_nothing_is_said():
    index = LexicalIndex.build(["same text"] * 6, LexicalConfig())
    assert index.search("same", 4)[0].tolist() == [0, 1, 2, 3]


def test_only_eligible_rows_are_returned_and_scored_as_before(index):
    rows, scores = index.search("red mouse", 5, eligible=np.array([False, True, True, True, True]))
    assert rows.tolist() == [1]
    assert scores[0] == index.scores("red mouse")[1]


def test_no_eligible_row_gives_no_row(index):
    assert index.search("red", 5, eligible=np.zeros(5, dtype=np.bool_))[0].tolist() == []


def test_a_word_in_every_product_still_scores_above_zero():
    index = LexicalIndex.build(["usb", "usb hub"], LexicalConfig())
    assert index.search("usb", 2)[0].tolist() == [0, 1]


def test_k1_of_zero_counts_a_word_once_however_often_it_stands():
    index = LexicalIndex.build(["red red red", "red", "blue"], LexicalConfig(k1=0.0))
    scores = index.scores("red")
    assert scores[0] == scores[1] == pytest.approx(math.log(1 + 1.5 / 2.5))


@pytest.mark.parametrize("texts", [[], ["", "!"]])
def test_a_catalogue_without_words_finds_nothing(texts, tmp_path):
    LexicalIndex.build(texts, LexicalConfig()).write(tmp_path / "lexical")
    index = LexicalIndex.open(tmp_path / "lexical")
    assert index.count == len(texts)
    assert index.search("red", 5)[0].tolist() == []


def test_an_index_that_was_written_and_opened_answers_the_same(index, folder):
    opened = LexicalIndex.open(folder)
    assert opened.count == 5
    for query in ("red mouse", "keyboard", "for green", "nothing"):
        assert opened.scores(query).tobytes() == index.scores(query).tobytes()


def test_k1_and_b_are_kept_with_the_index(tmp_path):
    built = LexicalIndex.build(TEXTS, LexicalConfig(k1=0.9, b=0.4))
    built.write(tmp_path / "lexical")
    opened = LexicalIndex.open(tmp_path / "lexical")
    assert opened.scores("red mouse").tobytes() == built.scores("red mouse").tobytes()
    assert (
        opened.scores("red mouse").tobytes() != LexicalIndex.build(TEXTS, LexicalConfig()).scores("red mouse").tobytes()
    )


def test_writing_returns_the_digest_of_every_file(index, tmp_path):
    digests = index.write(tmp_path / "lexical")
    assert sorted(digests) == sorted(path.name for path in (tmp_path / "lexical").iterdir())
    assert all(digests[name] == digest(tmp_path / "lexical" / name) for name in digests)


def test_equal_texts_give_equal_files(folder, tmp_path):
    LexicalIndex.build(iter(TEXTS), LexicalConfig()).write(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_word_list_is_sorted_and_rows_rise_within_a_word(tmp_path):
    texts = [f"{'zebra ' * (n % 3)}alpha w{n % 7} é" for n in range(500)]
    LexicalIndex.build(texts, LexicalConfig()).write(tmp_path / "lexical")
    vocabulary = (tmp_path / "lexical" / "vocabulary.txt").read_text("utf-8").split("\n")[:-1]
    offsets = np.fromfile(tmp_path / "lexical" / "offsets.i64", dtype="<i8")
    rows = np.fromfile(tmp_path / "lexical" / "rows.i32", dtype="<i4")
    assert vocabulary == sorted({"zebra", "alpha", "é", *"0123456", "w", *(f"w{n}" for n in range(7))})
    for number, word in enumerate(vocabulary):
        holders = rows[offsets[number] : offsets[number + 1]].tolist()
        assert holders == [n for n, text in enumerate(texts) if word in words(text)]


def test_writing_over_an_index_is_refused(index, folder):
    with pytest.raises(StorageError, match=r"offsets\.i64"):
        index.write(folder)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_postings_do_not_depend_on_how_many_are_sorted_at_a_time(size, index, monkeypatch, tmp_path, folder):
    monkeypatch.setattr(postings, "_SLICE", size)
    LexicalIndex.build(TEXTS, LexicalConfig()).write(tmp_path / "sliced")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "sliced" / path.name).read_bytes()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(index, k):
    with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
        index.search("red", k)


@pytest.mark.parametrize("name", ["eligible", "tie_rank"])
def test_vectors_of_another_length_are_refused(index, name):
    with pytest.raises(ValueError, match=f"{name} must have one entry for each of the 5 products, got 4"):
        index.search("red", 2, **{name: np.ones(4, dtype=np.bool_ if name == "eligible" else np.int64)})


def test_a_missing_file_is_named(folder):
    (folder / "rows.i32").unlink()
    with pytest.raises(ArtifactNotFound, match=r"rows\.i32"):
        LexicalIndex.open(folder)


@pytest.mark.parametrize("name", ["offsets.i64", "rows.i32", "frequencies.i32", "lengths.i32"])
def test_an_array_of_another_size_is_refused(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt, match=name):
        LexicalIndex.open(folder)


def test_offsets_that_fall_are_refused(folder):
    offsets = np.fromfile(folder / "offsets.i64", dtype="<i8")
    offsets[1], offsets[2] = 5, 1
    offsets.tofile(folder / "offsets.i64")
    with pytest.raises(ArtifactCorrupt, match=r"rising offsets from 0 to 10 in .*offsets\.i64"):
        LexicalIndex.open(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"blue\nfor\n", "expected 7 different words in .*vocabulary.txt, found 2"),
        (b"blue\nblue\ngreen\nkeyboard\nlamp\nmouse\nred\n", "expected 7 different words in .*, found 6"),
        (b"\xff\n", "expected UTF-8 words in .*vocabulary.txt"),
    ],
)
def test_a_word_list_that_does_not_fit_is_refused(folder, content, message):
    (folder / "vocabulary.txt").write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=message):
        LexicalIndex.open(folder)


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        (
            '{"format": 2, "words_version": 1}',
            ArtifactIncompatible,
            "expected format 1 and words version 1 in .*, found 2 and 1",
        ),
        ('{"format": 1, "words_version": 9}', ArtifactIncompatible, "found 1 and 9; build the bundle again"),
        ("[]", ArtifactCorrupt, "expected a JSON object in .*postings.json, found list"),
        (
            '{"format": 1, "words_version": 1, "products": 5, "words": -7, "postings": 9}',
            ArtifactCorrupt,
            "expected the numbers of products, words, postings in .*-7",
        ),
        (
            '{"format": 1, "words_version": 1, "products": true, "words": 7}',
            ArtifactCorrupt,
            "expected the numbers of products, words, postings",
        ),
    ],
)
def test_a_header_of_another_format_is_refused(folder, header, error, message):
    (folder / "postings.json").write_text(header)
    with pytest.raises(error, match=message):
        LexicalIndex.open(folder)


@pytest.mark.parametrize("content", ["{}", "[1]", '{"k1": "x", "b": 1}', '{"k1": 1.2, "b": 3}'])
def test_constants_that_are_none_are_refused(folder, content):
    (folder / "bm25.json").write_text(content)
    with pytest.raises(ArtifactCorrupt, match=r"expected the numbers k1 and b in .*bm25\.json"):
        LexicalIndex.open(folder)
