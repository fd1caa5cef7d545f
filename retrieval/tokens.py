"""How many tokens texts have, how many of them the model does not know, and how many texts it will cut.

Reads the tokenizer file of a model folder with the ``tokenizers`` library alone: no torch, no transformers.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from indexing.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CHUNK = 1024
"""Texts per call of the tokenizer: enough to keep its threads busy, a few MB of encodings at a time."""

NO_LIMIT = 1_000_000
"""A stated length from here on means none (transformers: ``VERY_LARGE_INTEGER`` = 1e30)."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Sums over some texts; add two with ``+``.

    Attributes:
        texts: Texts counted.
        tokens: Tokens of all texts, whole (uncut), special tokens and prompt included.
        truncated: Texts with more tokens than the model reads.
        unknown: Tokens that the model maps to its unknown token; 0 for a vocabulary without one (byte-level).
    """

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    unknown: int = 0

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        """Return the counts over both."""
        return TokenCounts(
            texts=self.texts + other.texts,
            tokens=self.tokens + other.tokens,
            truncated=self.truncated + other.truncated,
            unknown=self.unknown + other.unknown,
        )

    @property
    def truncated_share(self) -> float:
        """Share of texts that are cut; 0 without texts."""
        return self.truncated / self.texts if self.texts else 0.0

    @property
    def unknown_share(self) -> float:
        """Share of all tokens that are unknown; 0 without tokens."""
        return self.unknown / self.tokens if self.tokens else 0.0


class TokenCounter:
    """Counts with one tokenizer that is set up once and never changed, so threads may share it."""

    def __init__(self, model_folder: str | Path, *, prompt: str = "", max_tokens: int) -> None:
        """Open the tokenizer of a model.

        Args:
            model_folder: A sentence-transformers (or transformers) folder with a ``tokenizer.json``.
            prompt: Put before every text, as the encoder does.
            max_tokens: Longest text the model reads, special tokens included; 0 takes the model's own limit.

        Raises:
            ConfigError: If there is no readable ``tokenizer.json``, or ``max_tokens`` is 0 and the model has no limit.
        """
        folder = _tokenizer_folder(Path(model_folder))
        self.prompt = prompt
        self.max_tokens = max_tokens or _own_limit(folder)
        self._tokenizer = _open(folder / "tokenizer.json")
        self._unknown_id = unknown_token(self._tokenizer)

    def lengths(self, texts: Iterable[str]) -> list[int]:
        """Return the number of tokens of every text, whole, special tokens and prompt included, in order."""
        return [len(encoding) for encoding in self._encode(texts)]

    def count(self, texts: Iterable[str], *, lengths: Counter[int] | None = None) -> TokenCounts:
        """Count ``texts``; none give all zeros.

        Args:
            texts: Any strings, without the prompt.
            lengths: A histogram to which the length of every text is added.
        """
        count = tokens = truncated = unknown = 0
        for encoding in self._encode(texts):
            length = len(encoding)
            if lengths is not None:
                lengths[length] += 1
            count += 1
            tokens += length
            truncated += length > self.max_tokens
            unknown += encoding.ids.count(self._unknown_id) if self._unknown_id is not None else 0
        return TokenCounts(texts=count, tokens=tokens, truncated=truncated, unknown=unknown)

    def _encode(self, texts: Iterable[str]) -> Iterator["Encoding"]:
        prompted = iter(self.prompt + text for text in texts)
        while chunk := list(islice(prompted, CHUNK)):
            yield from self._tokenizer.encode_batch_fast(chunk)


def _tokenizer_folder(folder: Path) -> Path:
    """Return where the tokenizer lies: the folder itself, or that of its first module (older folders)."""
    for candidate in (folder, *sorted(folder.glob("0_*"))):
        if (candidate / "tokenizer.json").is_file():
            return candidate
    raise ConfigError(f"{folder} has no tokenizer.json; expected a sentence-transformers folder with a fast tokenizer")


def _own_limit(folder: Path) -> int:
    """Return the least limit that the model's files state, as sentence-transformers does when it opens them."""
    stated = (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    )
    limits = [_stated(folder / name, key) for name, key in stated]
    known = [limit for limit in limits if limit]
    if not known:
        raise ConfigError(f"{folder} states no maximum length; set encoder.query_max_tokens and product_max_tokens")
    return min(known)


def _stated(path: Path, key: str) -> int | None:
    value = json.loads(path.read_text(encoding="utf-8")).get(key) if path.is_file() else None
    # transformers writes 1e30 for "no limit", some models write -1.
    return int(value) if isinstance(value, int | float) and 0 < value < NO_LIMIT else None


def _open(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer  # 30 ms to import: only where texts are counted

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"{path} is not a tokenizer file that the tokenizers library reads: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def unknown_token(tokenizer: "Tokenizer") -> int | None:
    """Return the number of the token that stands for what a tokenizer does not know; ``None`` where it has none."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:  # Unigram
        return int(model["unk_id"])
    token = model.get("unk_token")  # WordPiece, WordLevel, BPE
    return tokenizer.token_to_id(token) if token is not None else None
