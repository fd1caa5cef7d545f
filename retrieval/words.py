r"""Text into words for the lexical index: the same function for products and for queries.

Compatibility forms and case are folded away (NFKC, casefold). Then, for each run of letters and digits:

- Chinese, Japanese and Korean characters become overlapping pairs (无线鼠标 -> 无线, 线鼠, 鼠标); a single one stays;
- the rest is kept whole, and followed by its parts where letters meet digits (iPhone15Pro -> iphone15pro, iphone, 15,
  pro): the whole makes an exact model number strong, the parts let "256 GB" find "256GB";
- English plurals lose their ending.

There are no stop words. The result depends on the text and on Python's Unicode tables alone.

Measured with BM25, nDCG@10, on Icecat (title + ". " + description; all judgments, human ones alone) and Home Depot
(titles, dev), and fused with all-MiniLM-L6-v2 (reciprocal ranks, 1,000 rows a source) on Icecat:

===========================================  =============  ==========  =============
variant                                      Icecat BM25    Home Depot  Icecat fused
===========================================  =============  ==========  =============
lower-cased ``\w+``                          .6633  .7209   .3310       .7929  .7478
split where letters meet digits, parts only  .6447  .7098   .3353
whole and parts                              .6517  .7245   .3365       .7928  .7634
plurals                                      .6803  .7687   .3780       .8081  .7816
plurals, parts only                          .6617  .7551   .3824
plurals, whole and parts (this module)       .6648  .7649   .3831       .8117  .7998
===========================================  =============  ==========  =============
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

WORDS_VERSION = 1
"""Raised with every change of what `words` returns; an index of another version must be built again."""

_PARTS = re.compile(r"\d+|\D+")

# Han, kana, bopomofo and Hangul, after NFKC (which makes half-width kana full-width and composes Hangul).
CJK = "\u3005\u3007\u3040-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_SCRIPTS = re.compile(f"[{CJK}]+|[^{CJK}]+")
_CJK_FIRST = re.compile(f"[{CJK}]")

_SOFT_HYPHEN = "\u00ad"  # invisible unless a line breaks there: feeds made from HTML have them inside words
_FIRST_MARK, _BEYOND_MARKS = 0x300, 0x20000  # every combining mark but the variation selectors of plane 14 (Unicode 16)


def words(text: str) -> list[str]:
    """Return the words of ``text`` in reading order, repeats included.

    Args:
        text: Any string; lone surrogates, symbols and punctuation separate words.

    Returns:
        Lower-case words, none of them empty; an empty list when the text has no letter and no digit.
    """
    found: list[str] = []
    for run in _runs().findall(_folded(text)):
        if run.isascii():
            found += _latin(run)
            continue
        for piece in _SCRIPTS.findall(run):
            found += _pairs(piece) if _CJK_FIRST.match(piece) else _latin(piece)
    return found


def parts(text: str) -> list[str]:
    """Return the words of ``text`` in reading order, each broken where letters meet digits and not kept whole.

    ``KX-4410``, ``KX 4410`` and ``kx4410`` have the same parts.
    """
    return [_singular(part) for run in _runs().findall(_folded(text)) for part in _PARTS.findall(run)]


def runs(text: str) -> Iterator[re.Match[str]]:
    """Yield the runs of letters, digits and marks that `words` makes words of, where they stand in a text as typed."""
    return _runs().finditer(text)


def _folded(text: str) -> str:
    """Fold case and compatibility forms (full-width letters, ligatures, superscripts) away."""
    if text.isascii():
        return text.lower()
    once = unicodedata.normalize("NFKC", text.replace(_SOFT_HYPHEN, "")).casefold()
    return unicodedata.normalize("NFKC", once)  # folding can undo the composition


@cache
def _runs() -> re.Pattern[str]:
    r"""Runs of letters, digits and the marks on them (Python's ``\w`` leaves the vowel signs of Indic scripts out)."""
    marks = "".join(chr(c) for c in range(_FIRST_MARK, _BEYOND_MARKS) if unicodedata.category(chr(c))[0] == "M")
    marks += _SOFT_HYPHEN  # folded text has none
    return re.compile(f"[^\\W_](?:[^\\W_]|[{marks}])*")


def _latin(run: str) -> list[str]:
    """The run, and its parts when letters and digits meet in it."""
    if run.isalpha():
        return [_singular(run)]
    parts = _PARTS.findall(run)
    return [run] if len(parts) == 1 else [run, *(_singular(part) for part in parts)]


def _pairs(run: str) -> list[str]:
    """Overlapping pairs of characters; a single character stays."""
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def _singular(word: str) -> str:
    """Take an English plural ending off: often right, and wrong in products and queries alike.

    Source: Harman, "How effective is suffixing?", JASIS 42(1), 1991 (the S stemmer), with the exceptions of Lucene's
    EnglishMinimalStemmer.
    """
    if len(word) < 3 or word[-1] != "s" or word[-2] in "us":
        return word
    if word.endswith("ies") and len(word) > 3 and word[-4] not in "ae":
        return word[:-3] + "y"
    if word[-2] == "e" and word[-3] in "iaoe":
        return word
    return word[:-1]
