"""Progress of long work on stderr: rate and time left, shown once it has taken two seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_S = 2.0
"""Work shorter than this shows no bar."""

LOG_EVERY_S = 15.0
"""Where stderr is a file, a line this often is enough."""


@contextmanager
def progress(label: str, total: int, *, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs.

    Args:
        label: What is being done.
        total: Units of work.
        unit: Name of a unit, in the plural.

    Yields:
        A function to call with the number of units just finished.
    """
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else LOG_EVERY_S
    with tqdm(
        desc=label,
        total=total,
        unit=f" {unit}",
        delay=QUIET_S,
        mininterval=interval,
        maxinterval=2 * interval,
        dynamic_ncols=True,
    ) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance


def say(message: str) -> None:
    """Print one line of narration on stderr."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - narration is what this function is for
