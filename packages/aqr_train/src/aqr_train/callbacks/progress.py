"""How far a run is: its pace, and a bar on a terminal."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from aqr_train.callbacks.base import Callback, Scalars

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer


class Pace:
    """Time to go, from the steps of this process alone: those before a resume were made at another time.

    Validation, pictures and checkpoints count, since they will come again.

    Args:
        step: updates made before.
        started: `time.perf_counter()` at that step; by default now.
    """

    def __init__(self, step: int, started: float | None = None) -> None:
        self._step = step
        self._started = time.perf_counter() if started is None else started

    def to_go(self, step: int, total: int, now: float | None = None) -> str:
        """`h:mm:ss` until `total`, after update number `step`."""
        elapsed_s = (time.perf_counter() if now is None else now) - self._started
        return str(timedelta(seconds=round(elapsed_s / (step - self._step) * (total - step))))


class ProgressBar(Callback):
    """Steps, time to go, and loss, samples/s and data wait as last logged; silent where the console is no terminal.

    Args:
        console: shared with the log handler, so that lines appear above the bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._pace = Pace(0)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Draw the bar."""
        if not (trainer.is_main and self._console.is_terminal):
            return
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[to_go]}"),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
        )
        total, step = trainer.schedule.total_steps, trainer.state.step
        self._pace = Pace(step)
        self._task = self._progress.add_task("train", total=total, completed=step, to_go="", figures="")
        self._progress.start()

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Move it."""
        if self._progress is not None:
            step = trainer.state.step
            to_go = self._pace.to_go(step, trainer.schedule.total_steps)
            self._progress.update(self._task, completed=step, to_go=to_go)

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Show the means that were just logged."""
        if self._progress is not None and "train/loss" in scalars:
            figures = (
                f"loss {scalars['train/loss']:.3f}  {scalars['time/samples_per_s']:.1f} samples/s  "
                f"data wait {100 * scalars['time/data_share']:.0f} %"
            )
            self._progress.update(self._task, figures=figures)

    def on_close(self, trainer: Trainer) -> None:
        """Leave the terminal clean."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
