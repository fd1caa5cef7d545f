"""What nobody should send: texts of kinds that have broken tokenizers, files or servers before, and wrong arguments."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from tools.reliability.harness.shop import WORDS

Random = random.Random
Draw = Callable[[Random], str]

MEGABYTE = 1_000_000
_SURROGATES = range(0xD800, 0xE000)
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\U000e0001\U000e0041"
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069\u200f\u061c"
_FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
_EMOJI = [
    _FAMILY,
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\U0001f44d\U0001f3fd",
    "\u2764\ufe0f",
    "\U0001f1e9\U0001f1ea",
]
_SCRIPTS = "مرحبا שלום ภาษาไทย हिन्दी 한국어 无线鼠标 ﾊﾝｶｸ ελληνικά ქართული"
_EXPANDING = "\ufdfa\ufb03\u3300\u2474\u00bd\u1e9e\u0130\u0345\u1fb7"  # one character becomes up to 18 under NFKC
_MARKUP = (
    "<script>alert(1)</script>",
    "'; DROP TABLE products; --",
    "{{7*7}} ${7*7} %s %n {0} {x}",
    "[CLS] [SEP] [MASK] [PAD] <s> </s>",
    "../../etc/passwd\0.txt",
    "=cmd|'/c calc'!A1",
    "(a+)+$ .*.*.*=.*",
    "\x1b[31mred\x1b[0m \r\n\r\n",
)


def plain(draw: Random) -> str:
    """Draw what shoppers type."""
    return " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))


def with_surrogates(draw: Random) -> str:
    """Draw words with halves of surrogate pairs among and inside them."""
    text = list(plain(draw))
    for _ in range(draw.randint(1, 5)):
        text.insert(draw.randint(0, len(text)), chr(draw.choice(_SURROGATES)))
    return "".join(text)


def _sprinkled(signs: str | list[str]) -> Draw:
    def drawn(draw: Random) -> str:
        text = list(plain(draw))
        for _ in range(draw.randint(1, 20)):
            text.insert(draw.randint(0, len(text)), draw.choice(signs))
        return "".join(text)

    return drawn


def _alone(signs: str | list[str]) -> Draw:
    return lambda draw: "".join(draw.choices(signs, k=draw.randint(1, 60)))


def _near_the_limit(draw: Random) -> str:
    return draw.choice(["a", "!", "\u7ea2", "a ", "1a", "\U0001d56c", "\u0301"]) * draw.randint(240, 530)


def _any_code_points(draw: Random) -> str:
    """Draw from all planes: unassigned, private and non-characters included, surrogates not."""
    points = (draw.randrange(0x110000) for _ in range(draw.randint(1, 80)))
    return "".join(chr(point) for point in points if point not in _SURROGATES)


def _megabyte(draw: Random) -> str:
    piece = draw.choice(["x", " ", "a b ", "!", "\u0301", "\u7ea2", "\ufdfa", "\0", "\U0001f468\u200d", "\ud800"])
    return piece * (MEGABYTE // len(piece))


TEXTS: Mapping[str, Draw] = {
    "plain": plain,
    "surrogates": with_surrogates,
    "surrogates alone": lambda draw: "".join(chr(draw.choice(_SURROGATES)) for _ in range(draw.randint(1, 40))),
    "NUL and controls": _sprinkled([chr(code) for code in _CONTROLS]),
    "controls alone": _alone([chr(code) for code in _CONTROLS]),
    "invisible": _sprinkled(_INVISIBLE),
    "invisible alone": _alone(_INVISIBLE),
    "right to left": _sprinkled(_BIDI),
    "emoji": _sprinkled(_EMOJI),
    "combining marks": lambda draw: plain(draw) + chr(draw.randrange(0x300, 0x370)) * draw.randint(1, 500),
    "scripts": lambda draw: "".join(draw.choices(_SCRIPTS, k=draw.randint(1, 80))),
    "expanding": _alone(_EXPANDING),
    "any code points": _any_code_points,
    "markup": lambda draw: draw.choice(_MARKUP),
    "near the limit": _near_the_limit,
    "a megabyte": _megabyte,
}


def has_surrogate(text: str) -> bool:
    """Tell whether a text holds half a surrogate pair, which UTF-8 cannot write."""
    return any(ord(character) in _SURROGATES for character in text)


# --- arguments --------------------------------------------------------------------------------------------------------

HUGE = 10**5_000
"""More digits than Python writes, and more than a float holds."""

NO_TEXTS: Sequence[Any] = (
    *(None, 0, 5, -1.5, math.nan, True, HUGE, 1j, Decimal(1), date.min, np.float32(1), np.array(["mouse"]), object()),
    *(b"mouse", bytearray(b"\xff"), memoryview(b"a"), ["mouse"], ("mouse",), {"mouse"}, {"q": "mouse"}, str, print),
)
BAD_NUMBERS: Sequence[Any] = (
    *(0, -1, -(10**30), HUGE, -HUGE, 2**63, 2.5, 3.0, math.nan, math.inf, "3", b"3", True, [1], (), 1j, object()),
)
BAD_DEADLINES: Sequence[Any] = (
    *(
        -1,
        -0.001,
        HUGE,
        -HUGE,
        math.nan,
        math.inf,
        -math.inf,
        "50",
        True,
        [50],
        1j,
        Decimal(5),
        np.array([5]),
        object(),
    ),
)
GOOD_DEADLINES: Sequence[Any] = (None, 0, 0.0, 5, 1e9, np.float64(50), 10**300)

ITSELF: list[Any] = []
ITSELF.append(ITSELF)
_NO_COLUMNS = ("pric", "", "\ud800", "\0", "attributes", "attributes.", "attributes." + "x" * 900, "x" * MEGABYTE)
_NO_SIGNS = ("~", "", None, "\ud800", "IN", "<>", b"<", 5, "=" * MEGABYTE, ITSELF)
_NO_PRICES = (
    None,
    math.nan,
    math.inf,
    10**400,
    -HUGE,
    "5",
    b"5",
    True,
    1j,
    [5],
    {},
    np.array([5]),
    Decimal(5),
    date.min,
)
_NO_TITLES = (5, None, True, "\ud800", b"x", ["x"], np.datetime64("2020-01-01"), object())
_NO_LISTS = ("abc", b"abc", 5, None, iter("ab"), {"a": 1}, ["a", 1], [["a"]], ["\udfff"], [math.nan], ITSELF)
BAD_FILTERS: Sequence[Any] = (
    *("price", 5, b"x", {"price": 5}, {("price", "<", 5)}, ("price", "<", 5), [[]], [()], [("price",)], [None], ITSELF),
    *([("price", "<", 5, 6)], [[[("price", "<", 5)]]], [(5, "==", 5)], [[("price", "<", 5)], []], object()),
    *([(column, "==", "x")] for column in _NO_COLUMNS),
    *([("price", sign, 5)] for sign in _NO_SIGNS),
    *([("price", "<", value)] for value in _NO_PRICES),
    *([("title", "==", value)] for value in _NO_TITLES),
    *([("title", "in", values)] for values in _NO_LISTS),
)
GOOD_FILTERS: Sequence[Any] = (
    *(None, [], (("price", ">=", -0.0),), [("price", "<", np.float32(5))], [("price", "==", 5e-324)]),
    *(
        [("stock", "<", 10**30)],
        [("stock", "==", -(10**30))],
        [("stock", "in", [1e300, 1])],
        [[("price", "<", 5)]] * 500,
    ),
    *(
        [("title", "==", "x" * MEGABYTE)],
        [("title", "in", {"a"})],
        [("title", "in", [])],
        [("title", ">", "\U0010ffff")],
    ),
)
