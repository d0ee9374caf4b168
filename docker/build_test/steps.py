"""Named and timed steps: one line each on the screen, everything that their commands say in the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

SHOWN = 60  # lines of the log where a step failed


class Steps:
    """The steps of one run, in order."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[TextIO]:
        """Time the block and tell when it is done; gives the log."""
        self._log.write(f"\n===== {title}\n")
        self._log.flush()
        sys.stdout.write(f"{title} ... ")
        sys.stdout.flush()
        started = time.monotonic()
        done = "failed"
        try:
            yield self._log
            done = "ok"
        finally:
            self._seconds[title] = time.monotonic() - started
            sys.stdout.write(f"{done}, {self._seconds[title]:.0f} s\n")
            self._log.flush()

    def table(self) -> str:
        """The steps in Markdown, with their sum."""
        rows = [f"| {title} | {seconds:.0f} s |" for title, seconds in self._seconds.items()]
        total = f"| together | {sum(self._seconds.values()) / 60:.1f} min |"
        return "\n".join(["| step | time |", "| --- | --- |", *rows, total]) + "\n"

    def show_end_of_log(self) -> None:
        """The last lines of the log on the screen."""
        self._log.flush()
        with open(self._log.name, encoding="utf-8", errors="replace") as log:
            sys.stderr.writelines(log.readlines()[-SHOWN:])
