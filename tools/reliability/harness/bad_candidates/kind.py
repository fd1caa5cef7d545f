"""One kind of harm to a version, the list that its module keeps, and a way to offer a bundle what it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.reliability.harness.draft import Draft

Harm = Callable[[Draft], None]


@dataclass(frozen=True)
class BadCandidate:
    """One kind of harm.

    Attributes:
        name: What is wrong, for test ids and reports.
        code: Code of the error that must refuse it.
        harm: Does it to a draft.
    """

    name: str
    code: str
    harm: Callable[[Draft], None]


@contextmanager
def offered(root: Path, kind: BadCandidate) -> Iterator[str]:
    """Make a version harmed in this way live for the length of a ``with`` block; yield its name."""
    draft = Draft(root)
    try:
        kind.harm(draft)
        yield draft.version
    finally:
        draft.withdraw()


def listing(kinds: list[BadCandidate]) -> Callable[[str], Callable[[Harm], Harm]]:
    """Return a decorator, called with a code: the function is listed as a kind that is refused with it."""

    def bad(code: str) -> Callable[[Harm], Harm]:
        def listed(harm: Harm) -> Harm:
            kinds.append(BadCandidate(harm.__name__, code, harm))
            return harm

        return listed

    return bad
