"""Where log records go: the console and `log.txt`, from the main process alone."""

from __future__ import annotations

import logging
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

PACKAGES = ("aqr_core", "aqr_eval", "aqr_train")
_LINE = "%(asctime)s %(levelname)-7s %(message)s"


class RunLog:
    """Handlers of one run and the levels they need; `close` takes both away again.

    Every line has a time, a level word (INFO, WARNING, ERROR) and a message, on the screen as in the file.

    Args:
        path: the text log, appended to; None for the console alone.
        is_main: other processes show errors only: what they would warn of, the main one has said.
        console: shared with the progress bar.
    """

    def __init__(self, path: Path | None, is_main: bool, console: Console) -> None:
        screen: logging.Handler
        if console.is_terminal:
            screen = RichHandler(console=console, show_path=False, highlighter=None, log_time_format="%H:%M:%S")
        else:  # a file or a pipe: rich would break lines at 80 columns
            screen = logging.StreamHandler()
            screen.setFormatter(logging.Formatter(_LINE, "%H:%M:%S"))
        screen.setLevel(logging.INFO if is_main else logging.ERROR)
        self._handlers: list[logging.Handler] = [screen]
        if path is not None and is_main:
            text = _LateFile(path, encoding="utf-8", delay=True)
            text.setFormatter(logging.Formatter(_LINE))
            self._handlers.append(text)
        self._levels = {package: logging.getLogger(package).level for package in PACKAGES}
        for package in PACKAGES:
            package_logger = logging.getLogger(package)
            package_logger.setLevel(logging.INFO)
            for handler in self._handlers:
                package_logger.addHandler(handler)

    def close(self) -> None:
        """Flush and remove the handlers, restore the levels."""
        for handler in self._handlers:
            for package in PACKAGES:
                logging.getLogger(package).removeHandler(handler)
            handler.close()
        for package, level in self._levels.items():
            logging.getLogger(package).setLevel(level)


class _LateFile(logging.FileHandler):
    """Makes file and folder for the first record, so that a run refused before it leaves neither."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()
