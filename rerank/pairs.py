"""Query-product pairs as token rows, and token rows as the tensors a model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from retrieval.batches import TokenRow, pad
from retrieval.text import MAX_QUERY_CHARS

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer

MAX_PRODUCT_CHARS = 8192
"""Product text is cut here before any tokenizer sees it: more than any model reads, and what a build reads too."""

Pair = tuple[str, str]
"""Query text, product text."""


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One pair as the model reads it, special tokens included, without padding.

    Attributes:
        tokens: Token numbers, int32 [t].
        segments: 0 for the query's tokens, 1 for the product's (where the model tells them apart), int32 [t].
    """

    tokens: TokenRow
    segments: TokenRow


class PairTokenizer:
    """A private copy of a model's tokenizer, set up once and never changed, so threads may share it.

    transformers' own tokenizers keep truncation and padding as shared state that every call sets again, which in
    threads cuts texts at other callers' lengths without a word (tokenizers issue 2041). And a pair that the library
    cuts takes time in the product of both lengths, because it also builds every combination of the pieces it cuts off:
    88 ms for 512 + 8,192 signs and 128 tokens, 9 s for the hundred candidates of one such query. So the two texts are
    encoded apart, which is linear, then cut and joined here, to the same tokens.
    """

    def __init__(self, tokenizer: "Tokenizer", *, max_tokens: int) -> None:
        """Copy ``tokenizer``; pairs are cut to ``max_tokens``, from the longer text first."""
        self._tokenizer = type(tokenizer).from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._frame = _Frame.of(self._tokenizer)
        self.max_tokens = max_tokens

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Encode pairs in order; texts over the character limits are cut first, lone surrogates become ``?``."""
        queries = self._alone([query for query, _ in pairs], MAX_QUERY_CHARS)
        products = self._alone([product for _, product in pairs], MAX_PRODUCT_CHARS)
        return [self._frame.around(*self._cut(queries[query].ids, products[product].ids)) for query, product in pairs]

    def visible(self, query: str, product: str) -> Pair:
        """Return the pair without what is cut before the model reads it.

        Read by a WordPiece tokenizer, as BERT's, it gives the same tokens again: the pieces of a cut word are the first
        pieces of the whole one, since each is the longest that the vocabulary has.
        """
        query, product = _capped(query, MAX_QUERY_CHARS), _capped(product, MAX_PRODUCT_CHARS)
        first, second = (self._tokenizer.encode(text, add_special_tokens=False) for text in (query, product))
        kept = self._cut(first.ids, second.ids)
        return _read(query, first, len(kept[0])), _read(product, second, len(kept[1]))

    def _alone(self, texts: Sequence[str], chars: int) -> "dict[str, Encoding]":
        """Encode distinct texts, each by itself and without special tokens."""
        distinct = list(dict.fromkeys(texts))
        capped = [_capped(text, chars) for text in distinct]
        return dict(zip(distinct, self._tokenizer.encode_batch(capped, add_special_tokens=False), strict=True))

    def _cut(self, query: list[int], product: list[int]) -> tuple[list[int], list[int]]:
        """Cut two rows of tokens to what the pair has room for."""
        query_tokens, product_tokens = _longest_first(len(query), len(product), self.max_tokens - self._frame.size)
        return query[:query_tokens], product[:product_tokens]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The special tokens of a pair: those before the query, between the two, after the product; and all segments."""

    before: list[int]
    between: list[int]
    after: list[int]
    segments: tuple[int, int, int, int, int]  # of before, query, between, product, after

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> "_Frame":
        """Read the frame off a pair of two letters; it is the same around every pair."""
        probe = tokenizer.encode("a", "b")
        sides = probe.sequence_ids
        query, product = sides.index(0), sides.index(1)
        between, after = query + sides.count(0), product + sides.count(1)
        parts = [(0, query), (query, between), (between, product), (product, after), (after, len(sides))]
        ids = [probe.ids[start:end] for start, end in parts]
        types = [probe.type_ids[start] if start < end else 0 for start, end in parts]
        return cls(ids[0], ids[2], ids[4], (types[0], types[1], types[2], types[3], types[4]))

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, query: list[int], product: list[int]) -> EncodedPair:
        """Join two rows of tokens."""
        parts = (self.before, query, self.between, product, self.after)
        segments = np.repeat(np.asarray(self.segments, np.int32), [len(part) for part in parts])
        return EncodedPair(tokens=np.fromiter(chain.from_iterable(parts), np.int32, len(segments)), segments=segments)


def _longest_first(query: int, product: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each are kept: the shorter text whole if it takes no more than half of the room.

    Source: the strategy of that name in the tokenizers library (0.23, ``truncate_encodings``); of an odd room, the
    longer text has the odd token, the product when both are equal.
    """
    room = max(0, room)
    if query + product <= room:
        return query, product
    shorter = min(query, product, room // 2)
    return (room - shorter, shorter) if query > product else (shorter, room - shorter)


def features(pairs: Sequence[EncodedPair], *, pad_token: int, device: str) -> "dict[str, torch.Tensor]":
    """Return pairs as the tensors a BERT-like model takes, int64 [n, longest], padded at the end."""
    import torch

    tokens = pad([pair.tokens for pair in pairs], pad_token=pad_token)
    segments = pad([pair.segments for pair in pairs], pad_token=0)
    arrays = {"input_ids": tokens.tokens, "attention_mask": tokens.mask, "token_type_ids": segments.tokens}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _read(text: str, found: "Encoding", tokens: int) -> str:
    """Return as much of a text as its first ``tokens`` tokens hold."""
    if tokens == len(found.ids):
        return text
    return text[: max((end for _, end in found.offsets[:tokens]), default=0)]


def _capped(text: str, chars: int) -> str:
    return text[:chars].encode("utf-8", "replace").decode("utf-8")
