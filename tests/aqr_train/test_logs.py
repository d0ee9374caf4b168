"""What a run's log changes, and takes back."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.console import Console

from aqr_train.logs import PACKAGES, RunLog


def test_a_closed_log_leaves_handlers_and_levels_as_they_were(tmp_path: Path) -> None:
    loggers = [logging.getLogger(package) for package in PACKAGES]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    log = RunLog(tmp_path / "log.txt", True, Console(stderr=True))
    loggers[0].info("hello")
    log.close()
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before
    assert (tmp_path / "log.txt").read_text().endswith("INFO    hello\n")
