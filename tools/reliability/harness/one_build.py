"""Build the stub shop once, in a process of its own that others watch: ``python -m ...one_build MODEL SHOP OUT``.

Prints, as JSON, how often each call of the seam was made, or the error that ended the build.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ShortlistError
from shortlist.building.job import build
from tools.reliability.harness.calls import CountedFileSystem
from tools.reliability.harness.shop import build_config, stub_encoder


def main(model: Path, shop: Path, out: Path) -> None:
    """Build and print."""
    calls: Counter[str] = Counter()

    def note(_number: int, name: str, _arguments: tuple[Any, ...]) -> None:
        calls[name] += 1

    outcome: dict[str, Any]
    try:
        with stub_encoder(), storage.using(CountedFileSystem(note)):
            outcome = {"version": build(build_config(model), source=shop, out=out).version, "calls": calls}
    except ShortlistError as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    line = f"{json.dumps(outcome)}\n".encode()
    try:
        os.write(sys.stdout.fileno(), line)  # unbuffered, so that a write that failed leaves nothing behind
    except OSError:  # the one call that was made to fail was this one, which is not the build's
        os.write(sys.stdout.fileno(), line)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:]))
