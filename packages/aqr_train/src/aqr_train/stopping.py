"""Being told to stop: by a scheduler that takes the machine back, or by `kill`."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Stopped(Exception):
    """A run ended before its last step because it was told to; everything is saved."""


class StopSignal:
    """While open, SIGTERM is remembered instead of ending the process, however often it comes.

    It comes twice where a scheduler tells every process and torchrun, told as well, hands it on. What must end at once
    is ended by SIGINT (Ctrl-C) or SIGKILL.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: Any = None

    def __enter__(self) -> StopSignal:
        self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True
