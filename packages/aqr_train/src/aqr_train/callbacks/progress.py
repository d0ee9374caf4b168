"""A progress bar on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from aqr_train.callbacks.base import Callback, Scalars

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer


class ProgressBar(Callback):
    """Steps, time to go and the last logged loss; silent where the console is no terminal.

    Args:
        console: shared with the log handler, so that lines appear above the bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Draw the bar."""
        if not (trainer.is_main and self._console.is_terminal):
            return
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
        )
        total = trainer.schedule.total_steps
        self._task = self._progress.add_task("train", total=total, completed=trainer.state.step, loss="")
        self._progress.start()

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Move it."""
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.state.step)

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Show the loss."""
        if self._progress is not None and "train/loss" in scalars:
            self._progress.update(self._task, loss=f"loss {scalars['train/loss']:.3f}")

    def on_close(self, trainer: Trainer) -> None:
        """Leave the terminal clean."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
