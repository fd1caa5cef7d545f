"""A table of numbers as the page shows it: on a phone every row becomes a card."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberTable:
    """Numbers under headings.

    Attributes:
        caption: What it holds; also the text of the control that opens it.
        heads: Of the columns; the first column names the rows.
        rows: One text per column each.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
