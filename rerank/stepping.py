"""A reranker taken in steps: pairs made ready first, so that their tokens are known before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rerank.fusion import FloatVector
from rerank.reranker import Reranker

if TYPE_CHECKING:
    from rerank.pairs import EncodedPair, PairTokenizer


class Steps(Protocol):
    """Scores what it has made ready."""

    def prepare(self, query: str, texts: Sequence[str]) -> list[Any]:
        """Return one prepared pair per text."""

    def tokens(self, prepared: Sequence[Any]) -> int:
        """Return how many tokens a batch of these makes the network compute on, padding included; 0 for none."""

    def score(self, prepared: Sequence[Any]) -> FloatVector:
        """Return one score per pair, float32 [n]."""


@runtime_checkable
class _Tokenizing(Protocol):
    """What a cross-encoder offers beyond `Reranker`."""

    tokenizer: "PairTokenizer"

    def score_encoded(self, pairs: Sequence["EncodedPair"]) -> FloatVector:
        """Score pairs that are token ids already."""


@dataclass(frozen=True, slots=True)
class _TokenSteps:
    reranker: _Tokenizing

    def prepare(self, query: str, texts: Sequence[str]) -> list["EncodedPair"]:
        return self.reranker.tokenizer.encode([(query, text) for text in texts])

    def tokens(self, prepared: Sequence["EncodedPair"]) -> int:
        return len(prepared) * max((len(pair.tokens) for pair in prepared), default=0)

    def score(self, prepared: Sequence["EncodedPair"]) -> FloatVector:
        return self.reranker.score_encoded(prepared)


@dataclass(frozen=True, slots=True)
class _TextSteps:
    """For a reranker that shows no tokens: a text counts as one."""

    reranker: Reranker

    def prepare(self, query: str, texts: Sequence[str]) -> list[tuple[str, str]]:
        return [(query, text) for text in texts]

    def tokens(self, prepared: Sequence[tuple[str, str]]) -> int:
        return len(prepared)

    def score(self, prepared: Sequence[tuple[str, str]]) -> FloatVector:
        return self.reranker.score(prepared[0][0], [text for _, text in prepared])


def steps_of(reranker: Reranker) -> Steps:
    """Return a reranker's steps: by tokens where it has a tokenizer, by texts otherwise."""
    return _TokenSteps(reranker) if isinstance(reranker, _Tokenizing) else _TextSteps(reranker)
