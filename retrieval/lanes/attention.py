"""Attention over packed texts: every token reads the tokens of its own text, and nothing is padded.

On CUDA it is torch's own ``torch.nn.attention.varlen.varlen_attn`` (torch 2.10 to 2.13; its arguments up to ``max_k``
are the same in all of them). It has no code for processors, so there, and in the tests, `text_by_text` takes its place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from indexing.errors import EnvironmentProblem

if TYPE_CHECKING:
    import torch

WIDEST_HEAD = 256
"""Of FlashAttention, which also wants a multiple of 8 (Dao, ICLR 2024, and torch's ``_flash_attention_forward``)."""

LARGEST_DIFFERENCE = 0.05
"""Allowed between two ways of computing attention over standard normal numbers in bfloat16, which has eight significant
bits: a weighted mean of numbers below 4 is rounded by .008 at most, and its weights as well."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Where every text begins among packed rows.

    Attributes:
        starts: int32 [b + 1], on the device; text ``i`` has the rows from ``starts[i]`` to before ``starts[i + 1]``.
        longest: Rows of the longest text.
    """

    starts: "torch.Tensor"
    longest: int


Attention = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor", Spans, Spans], "torch.Tensor"]
"""Queries [tq, heads, w], keys and values [tk, heads, w], where their texts lie -> [tq, heads, w]."""


def text_by_text(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", asked: Spans, read: Spans
) -> "torch.Tensor":
    """Return softmax(q k^T / sqrt(w)) v for each text alone: the slow, obvious twin, for any device and precision."""
    import torch

    def texts(packed: "torch.Tensor", spans: Spans) -> "Iterator[torch.Tensor]":
        return (text.transpose(0, 1)[None] for text in torch.split(packed, spans.starts.diff().tolist()))

    attend = torch.nn.functional.scaled_dot_product_attention
    each = zip(texts(query, asked), texts(key, read), texts(value, read), strict=True)
    return torch.cat([attend(q, k, v)[0].transpose(0, 1) for q, k, v in each])


def choose_attention(device: str, *, heads: int, width: int) -> Attention:
    """Return how packed attention is computed on a device: ``varlen_attn`` on CUDA, text by text on a processor.

    On CUDA it is tried first on a few numbers, against `text_by_text` on the same device.

    Args:
        device: ``cpu`` or ``cuda``.
        heads: Attention heads.
        width: Numbers of a head.

    Raises:
        EnvironmentProblem: When it is not there, cannot do it, or does not give what it should.
    """
    if device == "cpu":
        return text_by_text
    reason = refusal(device, heads=heads, width=width)
    if reason:
        raise EnvironmentProblem(
            f"runtime.backend=packed needs attention over texts of unequal length: {reason}; set runtime.backend=torch"
        )
    return varlen


def varlen(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", asked: Spans, read: Spans
) -> "torch.Tensor":
    """Return what `text_by_text` does, by one kernel over all texts; bfloat16 on CUDA alone."""
    from torch.nn.attention.varlen import varlen_attn

    found = varlen_attn(query, key, value, asked.starts, read.starts, asked.longest, read.longest)
    return cast("torch.Tensor", found)  # a pair only when it is asked for more


def refusal(device: str, *, heads: int, width: int) -> str:
    """Return why `varlen` cannot be had for heads of a width on a device; empty when it can."""
    import torch

    if width % 8 or width > WIDEST_HEAD:
        return f"heads of {width} numbers, a multiple of 8 up to {WIDEST_HEAD} expected"
    generator = torch.Generator().manual_seed(0)
    # Views of one product, as the network has them.
    numbers = torch.randn(21, 3, heads, width, generator=generator).to(device, torch.bfloat16)
    every, key, value = numbers.unbind(1)
    spans = Spans(torch.tensor([0, 1, 4, 21], dtype=torch.int32, device=device), 17)
    firsts = Spans(torch.arange(4, dtype=torch.int32, device=device), 1)
    try:
        for query, asked in ((every, spans), (every[[0, 1, 4]], firsts)):
            found, expected = (attend(query, key, value, asked, spans) for attend in (varlen, text_by_text))
            difference = (found.float() - expected.float()).abs().max().item()
            if not difference < LARGEST_DIFFERENCE:
                return f"torch {torch.__version__} gives it wrong on {device}, by {difference:.3g}"
    except (ImportError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} has none that works on {device} ({_first_line(error)})"
    return ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
