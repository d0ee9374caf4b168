"""Being told to stop: by a scheduler that takes the machine back, or by `kill`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def starting_loader() -> Iterator[None]:
    """SIGTERM waits while processes of the loader are started, so that none meets it before `obey_trainer_alone`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def obey_trainer_alone(worker: int) -> None:
    """For a process of the loader: let SIGTERM pass, unless the trainer that started it sends it.

    Launchers and schedulers send it to all processes of a run, and a trainer whose workers die cannot save any more.

    Args:
        worker: its number, which a loader tells every `worker_init_fn`.
    """
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited where processes are forked
        threading.Thread(target=_await_trainer, daemon=True).start()
    else:  # macOS, which tells no sender
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _await_trainer() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)
