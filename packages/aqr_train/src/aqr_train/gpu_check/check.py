"""One check, and the row that it leaves."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from aqr_eval.nuscenes.errors import sentence

if TYPE_CHECKING:
    from aqr_train.gpu_check.workshop import Workshop

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


class NotRunError(Exception):
    """This machine cannot make the check; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        figure: in words.
        passed: whether it meets the target.
    """

    figure: str
    passed: bool


@dataclass(frozen=True)
class Check:
    """Something that only a CUDA device can show.

    Attributes:
        name: what is checked.
        target: what has to come out.
        command: what repeats it; DATA, FULL and WEIGHTS are explained on the page.
        run: makes it, on data of the workshop.

    `run` raises `NotRunError` where something is not installed; any other exception is a failure.
    """

    name: str
    target: str
    command: str
    run: Callable[[Workshop], Outcome]


@dataclass(frozen=True)
class Row:
    """A check and its end.

    Attributes:
        check: see there.
        result: `PASSED`, `FAILED` or `NOT_RUN`.
        figure: what was found, or why there is nothing.
        seconds: that it took.
    """

    check: Check
    result: str = NOT_RUN
    figure: str = ""
    seconds: float = 0.0


def run_checks(checks: Sequence[Check], workshop: Workshop) -> Iterator[Row]:
    """One after the other; none stops the next."""
    for check in checks:
        started = time.perf_counter()
        try:
            outcome = check.run(workshop)
            result, figure = PASSED if outcome.passed else FAILED, outcome.figure
        except NotRunError as reason:
            result, figure = NOT_RUN, str(reason)
        except Exception as error:  # whatever a kernel, a driver or a child process comes up with is this row's figure
            result, figure = FAILED, _first_line(error)
        yield Row(check, result, figure, time.perf_counter() - started)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _first_line(error: Exception) -> str:
    text = sentence(error) if isinstance(error, OSError) else str(error)
    return f"{type(error).__name__}: {next(iter(text.strip().splitlines()), 'no message')}"
