"""Progress of long work on stderr: rate and time left, shown once it has taken two seconds; and lines of narration."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from retrieval.bars import bar


@contextlib.contextmanager
def progress(label: str, total: int, *, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs.

    Args:
        label: What is being done.
        total: Units of work; 0 when nobody knows, which shows the rate alone.
        unit: Name of a unit, in the plural.

    Yields:
        A function to call with the number of units just finished.
    """
    with bar(label, total, unit=unit, shown=True) as shown:

        def advance(count: int) -> None:
            shown.update(count)

        yield advance


def say(message: str) -> None:
    """Print one line of narration on stderr; where that cannot be written (a full disk), the work goes on without."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - narration is what this function is for
