"""What a build did, for people and for scripts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        bundle: Bundle directory.
        version: Name of the version that is now live.
        products: Products in it.
        quarantined: Rows set aside.
        deleted: Rows left out because their product was deleted from the bundle.
        restored: Deleted products that this build brought back.
        encoded: Texts encoded by this run.
        reused: Products whose vector was stored already, or is another product's.
        index: Kind of index, why, and its recall.
        precision: Arithmetic that products were encoded in, why, and what else was tried; empty without an encoder.
        tokens: Counts of the encoder's tokenizer.
        warnings: What the builder should know, in words.
        seconds: Per stage.
    """

    bundle: str
    version: str = ""
    products: int = 0
    quarantined: int = 0
    deleted: int = 0
    restored: int = 0
    encoded: int = 0
    reused: int = 0
    index: dict[str, Any] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to ``seconds``."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 2)
