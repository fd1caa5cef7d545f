"""Texts as token rows, and token rows as batches: one tokenizer per role, batches of bounded size, padding at the edge.

A Hugging Face tokenizer keeps its truncation setting in one shared object: on transformers 5.23 a fifth of the calls
from threads with different lengths were cut at another thread's length, without an error. So each role owns a
``tokenizers.Tokenizer`` whose truncation is set once, and padding is done here on the arrays.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from indexing.types import IntVector
from retrieval.tokens import unknown_token

TokenRow = npt.NDArray[np.int32]
"""Token numbers of one text, int32 [t], special tokens included."""

TEXTS_PER_CALL = 4096
"""Texts handed to the tokenizer at once: bounds its memory and leaves its threads enough to share."""

TEXTS_AHEAD = 2048
"""Texts that are tokenised while those before are encoded: half a segment of a build, and still enough of every length
that little is padded."""


class RoleTokenizer:
    """The tokenizer of one role (query or product): its prompt and its longest text are fixed when it is made.

    Attributes:
        prompt_tokens: Tokens that the prompt takes at the start of a row, the special token before it included.
    """

    def __init__(self, serialised: str, *, prompt: str, max_tokens: int) -> None:
        """Make a tokenizer of its own from a serialised one (``Tokenizer.to_str()``)."""
        self._tokenizer = Tokenizer.from_str(serialised)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._prompt = prompt
        self._unknown = unknown_token(self._tokenizer)
        start = self._tokenizer.encode(prompt)
        self.prompt_tokens = len(start.ids) - int(bool(start.special_tokens_mask) and start.special_tokens_mask[-1])

    def has_word(self, word: str) -> bool:
        """Whether a word is one token, at the start of a text or after a space, and not the unknown one."""
        found = [self._tokenizer.encode(text, add_special_tokens=False).ids for text in (word, f" {word}")]
        return any(len(ids) == 1 and ids[0] != self._unknown for ids in found)

    def rows(self, texts: Sequence[str]) -> list[TokenRow]:
        """Return the tokens of every text, prompt in front, cut at the longest length.

        Raises:
            TypeError: When a text is no string; the message names its position.
            ValueError: When a text holds a lone surrogate, which has no UTF-8 form.
        """
        _require_texts(texts)
        rows: list[TokenRow] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            prompted = [self._prompt + text for text in texts[start : start + TEXTS_PER_CALL]]
            rows += [np.asarray(found.ids, dtype=np.int32) for found in self._tokenizer.encode_batch_fast(prompted)]
        return rows

    def rows_ahead(self, texts: Sequence[str]) -> Iterator[list[TokenRow]]:
        """Yield what :meth:`rows` returns in parts; while one is worked on, a thread makes the next.

        There is always a part, if only an empty one.

        Raises:
            TypeError, ValueError: As :meth:`rows`, before the first part.
        """
        _require_texts(texts)
        parts = [texts[start : start + TEXTS_AHEAD] for start in range(0, len(texts), TEXTS_AHEAD)] or [texts]
        if len(parts) == 1:  # as for every query: no thread is worth starting
            yield self.rows(parts[0])
            return
        with ThreadPoolExecutor(1, "tokenise") as thread:
            ahead = thread.submit(self.rows, parts[0])
            for part in parts[1:]:
                rows, ahead = ahead.result(), thread.submit(self.rows, part)
                yield rows
            yield ahead.result()

    def read_chars(self, text: str) -> int:
        """Return how many characters of ``text`` come before the cut: all of them when nothing is cut."""
        found = self._tokenizer.encode(self._prompt + text)
        if not found.overflowing:
            return len(text)
        ends = [end for (_, end), special in zip(found.offsets, found.special_tokens_mask, strict=True) if not special]
        return max(0, max(ends, default=0) - len(self._prompt))


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Token rows of unequal length in one rectangle.

    Attributes:
        tokens: int64 [b, t]; places beyond a row's length hold the padding token.
        mask: int64 [b, t]; 1 where there is a token, 0 where there is padding.
    """

    tokens: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]


def pad(rows: Sequence[TokenRow], *, pad_token: int, left: bool = False) -> PaddedBatch:
    """Pad token rows to the longest of them; on the left for the models that read the last token."""
    longest = max((len(row) for row in rows), default=0)
    tokens = np.full((len(rows), longest), pad_token, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        tokens[number, place] = row
        mask[number, place] = 1
    return PaddedBatch(tokens=tokens, mask=mask)


def longest_first(lengths: Sequence[int] | IntVector) -> IntVector:
    """Return the positions of rows in the order in which every lane takes them; rows of one length as they come."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")


def token_budget_batches(lengths: Sequence[int] | IntVector, budget: int) -> Iterator[IntVector]:
    """Yield positions in batches such that rows times the longest row is at most ``budget``, longest rows first.

    Rows of like length share a batch, so little is padded. Longest first, so that a batch too large for the memory
    fails at once and the time left is never underestimated. A row beyond the budget makes a batch of its own. No rows
    give no batches.
    """
    order = longest_first(lengths)
    start = 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


def filled_batches(lengths: Sequence[int] | IntVector, budget: int) -> Iterator[IntVector]:
    """Yield positions in batches of at most ``budget`` tokens in all, for what pads nothing, longest rows first.

    A row beyond the budget makes a batch of its own. Rows without tokens are in no batch.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = longest_first(lengths)[: np.count_nonzero(lengths)]
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        yield order[start:stop]
        start = stop


def _require_texts(texts: Sequence[str]) -> None:
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected texts, got {type(text).__name__} at position {position}")
        if not text.isascii():
            _require_encodable(text, position)


def _require_encodable(text: str, position: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as cause:
        raise ValueError(
            f"the text at position {position} holds a lone surrogate at character {cause.start}; replace it by U+FFFD"
        ) from cause
