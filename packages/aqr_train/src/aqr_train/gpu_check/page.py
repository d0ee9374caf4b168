"""docs/benchmarks/gpu.md."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import torch

from aqr_train.benchmarks.environment import describe_environment
from aqr_train.benchmarks.tables import Grid
from aqr_train.gpu_check.check import FAILED, Row

_INTRODUCTION = """\
# What needs a GPU

Written by `make gpu-check` on a machine with a CUDA device; each row can be repeated by its command. DATA is a
synthetic scene of preset tiny with infos, FULL one of preset full with infos and object database, WEIGHTS a checkpoint
of the model with the weights of seed 0, a stand-in for released ones: `python -m aqr_train.gpu_check --work DIR` leaves
them in DIR. RUN is a new folder each time, LAUNCHERS is `packages/aqr_train/src/aqr_train/launchers`.
"""
_NOT_YET = "Not yet run: no machine with a CUDA device was at hand. These are the checks that it would make."


def page(rows: Sequence[Row], facts: Sequence[str] = ()) -> str:
    """Markdown; without `facts` the page says that nothing has run yet."""
    if not facts:
        return "\n".join([_INTRODUCTION, _NOT_YET, "", *_planned(rows).markdown()])
    failed = sum(row.result == FAILED for row in rows)
    verdict = f"{failed} of {len(rows)} checks failed." if failed else "No check failed."
    return "\n".join([_INTRODUCTION, verdict, "", *(f"- {fact}" for fact in facts), "", *results(rows).markdown()])


def results(rows: Sequence[Row]) -> Grid:
    """What came of them."""
    columns = ("check", "figure", "target", "result", "s", "command")
    cells = [
        (
            row.check.name,
            row.figure,
            row.check.target,
            row.result,
            f"{row.seconds:.0f}",
            f"`{row.check.command}`",
        )
        for row in rows
    ]
    return _grid("Checks", columns, cells)


def machine(device: torch.device) -> list[str]:
    """Name, driver, versions, commit and date."""
    return [*describe_environment(device), f"driver: {_driver()}"]


def _planned(rows: Sequence[Row]) -> Grid:
    cells = [(row.check.name, row.check.target, f"`{row.check.command}`") for row in rows]
    return _grid("Checks", ("check", "target", "command"), cells)


def _grid(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Grid:
    """A bar would end a cell."""
    return Grid(title, columns, [[text.replace("|", "/") for text in row] for row in cells], words=columns)


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return "unknown, nvidia-smi does not answer"
