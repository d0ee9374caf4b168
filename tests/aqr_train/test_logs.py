"""What a run's log changes, and takes back."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest
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


def test_warnings_say_so_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Into a pipe and on a terminal, whose handlers differ."""
    screen = io.StringIO()
    for console in (Console(file=io.StringIO()), Console(file=screen, force_terminal=True, width=100)):
        log = RunLog(None, True, console)
        logging.getLogger("aqr_train").warning("two of three")
        log.close()
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING two of three\n", capsys.readouterr().err)
    assert "WARNING" in screen.getvalue()


def test_other_processes_show_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Eight processes would say a warning eight times."""
    log = RunLog(None, False, Console(file=io.StringIO()))
    logging.getLogger("aqr_train").warning("lr_mult=0 is treated as frozen")
    logging.getLogger("aqr_train").error("trouble")
    log.close()
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and shown.endswith("ERROR   trouble\n")
