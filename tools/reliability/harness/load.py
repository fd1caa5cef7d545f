"""Threads that ask an engine without a pause, and hold every answer against what its generation answers alone."""

import random
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from shortlist import SearchEngine
from tools.reliability.harness.generations import Ask, Value, questions, value

PATIENCE_S = 120.0


class Load:
    """Load on an engine for the length of a ``with`` block.

    Attributes:
        answers: Answers of each thread.
        failed: Calls that raised, a line each.
        mixed: Answers that no generation gives, a line each.
        generations: Names of the generations that have answered.
    """

    def __init__(
        self,
        engine: SearchEngine,
        expected: Mapping[str, Mapping[str, Value]],
        *,
        threads: int,
        asked: Mapping[str, Ask] | None = None,
    ) -> None:
        """Take the engine, the answers by generation and question, how many threads ask, and what if not everything."""
        self._engine, self._expected = engine, expected
        self._questions = list((asked or questions()).items())
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]
        self.answers = [0] * threads
        self.failed: list[str] = []
        self.mixed: list[str] = []
        self.generations: set[str] = set()

    def every_thread_answers(self) -> None:
        """Wait until every thread has had an answer to a question that it asked since."""
        wanted = [count + 2 for count in self.answers]
        until = time.monotonic() + PATIENCE_S
        while any(count < least for count, least in zip(self.answers, wanted, strict=True)):
            if time.monotonic() > until:
                raise TimeoutError(f"{wanted} answers expected, {self.answers} after {PATIENCE_S:.0f} s")
            time.sleep(0.001)

    def __enter__(self) -> Self:
        """Start to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last answers."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        draw = random.Random(number)
        while not self._ended.is_set():
            name, ask = draw.choice(self._questions)
            try:
                self._judge(name, value(ask(self._engine)))
            except Exception as error:  # noqa: BLE001 - none is expected
                self.failed.append(f"{name}: {type(error).__name__}: {error}")
            self.answers[number] += 1

    def _judge(self, name: str, answer: Value) -> None:
        generations = {generation for generation, _ in answer}
        self.generations |= generations
        if len(generations) != 1 or answer != self._expected[min(generations)][name]:
            self.mixed.append(f"{name}: an answer of {sorted(generations)} that it does not give alone: {answer}")
