"""Query-product pairs as token rows, and token rows as the tensors a model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.batches import TokenRow, pad
from retrieval.text import MAX_QUERY_CHARS

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

MAX_PRODUCT_CHARS = 8192
"""Product text is cut here before any tokenizer sees it. Cutting a pair by tokens takes time and memory in the product
of both lengths (tokenizers issue 2035: 22 s and 5 GB for 20,000 + 20,000 characters; 9 ms for 30 + 10,000)."""

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
    threads cuts texts at other callers' lengths without a word (tokenizers issue 2041).
    """

    def __init__(self, tokenizer: "Tokenizer", *, max_tokens: int) -> None:
        """Copy ``tokenizer``; pairs are cut to ``max_tokens``, from the longer text first."""
        self._tokenizer = type(tokenizer).from_str(tokenizer.to_str())
        self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self._tokenizer.no_padding()
        self.max_tokens = max_tokens

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Encode pairs in order; texts over the character limits are cut first, lone surrogates become ``?``."""
        capped = [(_capped(query, MAX_QUERY_CHARS), _capped(product, MAX_PRODUCT_CHARS)) for query, product in pairs]
        return [
            EncodedPair(tokens=np.asarray(found.ids, np.int32), segments=np.asarray(found.type_ids, np.int32))
            for found in self._tokenizer.encode_batch(capped)
        ]

    def visible(self, query: str, product: str) -> Pair:
        """Return the pair without what is cut before the model reads it; a word that is cut in two goes as a whole."""
        query, product = _capped(query, MAX_QUERY_CHARS), _capped(product, MAX_PRODUCT_CHARS)
        found = self._tokenizer.encode(query, product)
        if not found.overflowing:
            return query, product
        ends = [0, 0]
        for (_, end), sequence in zip(found.offsets, found.sequence_ids, strict=True):
            if sequence is not None:
                ends[sequence] = max(ends[sequence], end)
        return _whole_words(query, ends[0]), _whole_words(product, ends[1])


def features(pairs: Sequence[EncodedPair], *, pad_token: int, device: str) -> "dict[str, torch.Tensor]":
    """Return pairs as the tensors a BERT-like model takes, int64 [n, longest], padded at the end."""
    import torch

    tokens = pad([pair.tokens for pair in pairs], pad_token=pad_token)
    segments = pad([pair.segments for pair in pairs], pad_token=0)
    arrays = {"input_ids": tokens.tokens, "attention_mask": tokens.mask, "token_type_ids": segments.tokens}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _whole_words(text: str, end: int) -> str:
    """Cut before ``end``, and before the word that ``end`` lies in."""
    if end < len(text) and text[end - 1 : end].isalnum() and text[end].isalnum():
        end = max(text.rfind(" ", 0, end), 0) or end
    return text[:end]


def _capped(text: str, chars: int) -> str:
    return text[:chars].encode("utf-8", "replace").decode("utf-8")
