"""The bar of all long work: rate and time left on stderr, shown once it has taken two seconds."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET_S = 2.0
"""Work shorter than this shows no bar."""

LOG_EVERY_S = 15.0
"""Where stderr is a file, a line this often is enough."""


def bar(label: str, total: int, *, unit: str, shown: bool, keep: bool = True) -> "tqdm[Any]":
    """Return a bar to be used in a ``with`` block; its ``update(count)`` says what was just finished.

    Args:
        label: What is being done.
        total: Units of work.
        unit: Name of a unit, in the plural.
        shown: Whether to show anything.
        keep: Leave the bar on the screen when it is full.
    """
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else LOG_EVERY_S
    return tqdm(
        desc=label,
        total=total,
        unit=f" {unit}",
        delay=QUIET_S,
        mininterval=interval,
        maxinterval=2 * interval,
        dynamic_ncols=True,
        leave=keep,
        disable=not shown,
    )
