"""Pairs encoded apart and joined here are, token for token, what the tokenizers library makes of them together."""

import random

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rerank.pairs import PairTokenizer

WORDS = ["red", "mouse", "usb-c", "!", "!!", "红色", "keyboards", "é", "\u200b", "[SEP]", "👨\u200d👩", "10½", "a"]
SPECIAL = {"<s>": 0, "</s>": 1, "<unk>": 2}


@pytest.fixture(scope="module")
def bert(tiny_cross_encoder_folder):
    return Tokenizer.from_file(str(tiny_cross_encoder_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def roberta():
    """Return a tokenizer whose pairs have two special tokens in the middle, and one segment."""
    return framed("<s> $A </s> </s> $B </s>")


@pytest.fixture(scope="module")
def t5():
    return framed("$A </s> $B </s>")


@pytest.fixture(scope="module")
def bare():
    return framed("$A $B")


def framed(pair):
    tokenizer = Tokenizer(
        models.WordLevel(SPECIAL | {word: n for n, word in enumerate(["red", "mouse", "a", "b"], 3)}, "<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    used = [(name, number) for name, number in SPECIAL.items() if name in pair]
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair=pair, special_tokens=used)
    return tokenizer


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5", "bare"])
def test_tokens_and_segments_are_the_librarys_at_every_length(kind, request):
    tokenizer = request.getfixturevalue(kind)
    generator = random.Random(7)
    for max_tokens in (4, 5, 8, 9, 16, 17, 64):
        library = Tokenizer.from_str(tokenizer.to_str())
        library.no_padding()
        library.enable_truncation(max_tokens, strategy="longest_first")
        pairs = [
            tuple(
                " ".join(generator.choices(WORDS, k=generator.choice(sizes)))
                for sizes in ((0, 1, 3, 12), (0, 1, 5, 40))
            )
            for _ in range(40)
        ]
        expected = library.encode_batch(pairs)
        found = PairTokenizer(tokenizer, max_tokens=max_tokens).encode(pairs)
        assert [pair.tokens.tolist() for pair in found] == [pair.ids for pair in expected]
        assert [pair.segments.tolist() for pair in found] == [pair.type_ids for pair in expected]


def test_a_pair_of_equal_lengths_gives_an_odd_place_to_the_product_and_of_unequal_ones_to_the_longer(bare):
    def kept(query, product):
        (pair,) = PairTokenizer(bare, max_tokens=7).encode([("red " * query, "mouse " * product)])
        return pair.tokens.tolist().count(3), pair.tokens.tolist().count(4)

    assert kept(9, 9) == (3, 4)
    assert kept(9, 8) == (4, 3)
    assert kept(8, 9) == (3, 4)
    assert kept(2, 9) == (2, 5)
    assert kept(9, 2) == (5, 2)
    assert kept(3, 4) == (3, 4)


def test_nothing_is_cut_off_in_pieces_by_the_library():
    """What made a pair cost the product of its lengths: the pieces beyond the cut, in every combination."""
    tokenizer = framed("<s> $A </s> </s> $B </s>")
    pairs = PairTokenizer(tokenizer, max_tokens=16)
    (found,) = pairs._tokenizer.encode_batch(["! " * 4000], add_special_tokens=False)
    assert len(found.ids) == 4000
    assert found.overflowing == []


def test_what_is_visible_of_a_pair_is_what_its_tokens_hold(bare):
    pairs = PairTokenizer(bare, max_tokens=7)
    assert pairs.visible("red mouse", "a b a b a b a b") == ("red mouse", "a b a b a")
    assert pairs.visible("red", "a b") == ("red", "a b")
    assert pairs.visible("red " * 9, "a") == ("red red red red red red", "a")
