"""A sign of life from long steps where no bar can be drawn."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL_S = 30.0


class Heartbeat:
    """Called with (done, total), says how far a step is, at most once per interval.

    Args:
        say: takes the line.
        what: the step.
        unit: what is counted.
        interval_s: seconds of silence before the first line and between lines.
    """

    def __init__(self, say: Callable[[str], object], what: str, unit: str, interval_s: float = INTERVAL_S) -> None:
        self._say = say
        self._what, self._unit = what, unit
        self._interval_s = interval_s
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Speak if it is time to."""
        now = time.monotonic()
        if now - self._last >= self._interval_s:
            self._last = now
            self._say(f"{self._what}: {done} of {total} {self._unit}")
