"""The progress bar of long verbs."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from aqr_train.heartbeat import Heartbeat


class Bars:
    """One bar per name, made when the name first reports; a context manager. In a pipe, a line now and then."""

    def __init__(self, unit: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeLeftColumn(),
            console=Console(stderr=True),
        )
        self._unit = unit
        self._tasks: dict[str, TaskID] = {}
        self._heartbeats: dict[str, Heartbeat] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """Set one bar."""
        if not self._progress.console.is_terminal:
            self._heartbeats.setdefault(name, Heartbeat(self.say, name, self._unit))(done, total)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def say(self, line: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
