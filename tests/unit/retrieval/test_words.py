"""What text becomes, script by script."""

import pytest

from retrieval.words import WORDS_VERSION, parts, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wireless Mouse", ["wireless", "mouse"]),
        ("iPhone15Pro", ["iphone15pro", "iphone", "15", "pro"]),
        ("256GB", ["256gb", "256", "gb"]),
        ("HP-65XL", ["hp", "65xl", "65", "xl"]),
        ("red_shoe", ["red", "shoe"]),
        ("2.4 GHz", ["2", "4", "ghz"]),
        ("men's", ["men", "s"]),
    ],
)
def test_latin_runs_are_kept_whole_and_followed_by_their_parts(text, expected):
    assert words(text) == expected


def test_parts_are_the_same_however_a_model_number_is_joined():
    assert (
        parts("Kettles KX-4410b")
        == parts("kettle kx4410B")
        == parts("kettle KX 4410 b")
        == ["kettle", "kx", "4410", "b"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("无线鼠标", ["无线", "线鼠", "鼠标"]),
        ("鞋", ["鞋"]),
        ("红色iPhone15手机", ["红色", "iphone15", "iphone", "15", "手机"]),
        ("キーボード", ["キー", "ーボ", "ボー", "ード"]),
        ("コーヒー・メーカー", ["コー", "ーヒ", "ヒー", "メー", "ーカ", "カー"]),
        ("한국어 책", ["한국", "국어", "책"]),
        ("人々", ["人々"]),
        ("𠮷野家", ["𠮷野", "野家"]),
    ],
)
def test_chinese_japanese_and_korean_become_pairs(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("ＡＢＣ１２", "abc12"),
        ("ｷｰﾎﾞｰﾄﾞ", "キーボード"),
        ("STRASSE", "straße"),
        ("cafe\u0301", "café"),
        ("ﬁlter", "filter"),
        ("m²", "m2"),
        ("Ϊ\u0301", "ΐ"),  # folding the one keeps a composed letter, folding the other takes it apart
        ("key\u00adboard", "keyboard"),
    ],
)
def test_forms_of_the_same_text_give_the_same_words(text, same):
    assert words(text) == words(same) != []


def test_vowel_signs_do_not_break_a_hindi_word():
    assert words("हिन्दी किताब") == ["हिन्दी", "किताब"]


def test_a_mark_without_a_letter_is_no_word():
    assert words("\u0301 ❤\ufe0f") == []


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("mice", "mice"),
        ("shoes", "shoes"),  # -oes is left alone ("canoe", "potato")
        ("batteries", "battery"),
        ("movies", "movy"),  # wrong, and the same for products and queries
        ("tvs", "tv"),
        ("cables", "cable"),
        ("boxes", "boxe"),
        ("glass", "glass"),
        ("status", "status"),
        ("is", "is"),
        ("ies", "ies"),
        ("lies", "ly"),
    ],
)
def test_plural_endings_are_taken_off(plural, singular):
    assert words(plural) == [singular]


def test_the_parts_of_a_run_lose_their_plural_too_but_the_whole_does_not():
    assert words("2cables") == ["2cables", "2", "cable"]


@pytest.mark.parametrize("text", ["", " \n\t", "!?★ – …", "\ud800", "__"])
def test_text_without_letters_and_digits_has_no_words(text):
    assert words(text) == []


def test_words_of_version_1_stay_as_they_are():
    """An index holds words: what `words` returns may change only together with WORDS_VERSION."""
    text = "Xerox 006R90321 toners (6x) 15.6″ Ünïcödé ½ ™ ㎝ Привет ١٢ שלום ไทย 跑鞋2024款 l'été"
    expected = "xerox 006r90321 006 r 90321 toner 6x 6 x 15 6 ünïcödé 1 2 tm cm привет ١٢ שלום ไทย 跑鞋 2024 款 l été"
    assert WORDS_VERSION == 1
    assert " ".join(words(text)) == expected
