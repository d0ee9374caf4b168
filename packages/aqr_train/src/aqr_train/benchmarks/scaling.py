"""`aqr benchmark scaling`: the formulas of `aqr estimate` beside what engines really send and hold."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from aqr_core.checkpoint import write_text
from aqr_core.errors import AqrError, ConfigError
from aqr_train.benchmarks.environment import describe_environment
from aqr_train.benchmarks.tables import Grid
from aqr_train.estimate.processes import ENGINES, Comparison, compare

SUMMARY = "bytes that engines really send and hold, beside the formulas of `aqr estimate`"
NOTES = """\
Sent: every collective of one update passes through torch's process group and is counted there, by
`aqr_train.estimate.counting.CollectiveCounter`; "whole" is the tensor that results, "small" are those below 1 KiB
(flags, counts, norms). Held: bytes of every storage that a tensor of the process refers to and that was not there
before the model was built; "lasting" between two updates, "gradients" what comes on top after a batch of the update,
at most, with ZeRO-1's bucket. Both are of the process that has most. ZeRO-2 keeps a gradient whole that its partition
holds in part, which the formula leaves out. On CUDA the same command adds the peak of torch's allocator.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("config", nargs="?", default="cmt_aqr_tiny", help="config path or name")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4], metavar="N")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--accumulate", type=int, default=2, metavar="A", help="batches per update")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def run(arguments: argparse.Namespace) -> int:
    """Measure every engine on every number of processes; one that fails stands in the table with the reason."""
    if min(arguments.accumulate, *arguments.processes) < 1:
        counts = f"{' '.join(map(str, arguments.processes))} and {arguments.accumulate}"
        raise ConfigError(f"--processes and --accumulate are {counts}, but are counts from 1; raise the one below it.")
    settings = [
        (kind, world) for world in arguments.processes for kind in (arguments.engines if world > 1 else ["DDP"])
    ]
    found: list[Comparison] = []
    failures: list[str] = []
    for kind, world in track(settings, "settings", console=Console(stderr=True), transient=True):
        try:
            found.append(compare(kind, world, arguments.config, arguments.cfg_options, arguments.accumulate))
        except AqrError as error:
            failures.append(str(error))
    grids = [_sent(found), _held(found)]
    console = Console()
    for grid in grids:
        console.print(grid.rich())
    for failure in failures:
        console.print(failure, soft_wrap=True, highlight=False, markup=False)
    if arguments.out is not None:
        write_text(arguments.out, _markdown(arguments, grids, failures))
        console.print(f"{arguments.out}: written.", soft_wrap=True, highlight=False)
    return 1 if failures else 0


def _sent(found: Sequence[Comparison]) -> Grid:
    rows = []
    for item in found:
        expected = item.expected
        for kind in sorted({*expected, *item.sent}):
            formula, counted = expected.get(kind, 0), item.sent.get(kind, 0)
            row = (item.sharding.kind, str(item.world_size), kind, f"{formula:,}", f"{counted:,}")
            rows.append((*row, _off(formula, counted), str(item.small)))
    columns = ("engine", "processes", "collective", "whole by formula, B", "counted, B", "off", "small")
    return Grid("Sent in one update", columns, rows, ("engine", "collective"))


def _held(found: Sequence[Comparison]) -> Grid:
    rows = []
    for item in found:
        states = item.states
        lasting, expected = states.lasting, states.gradients
        if item.sharding.stage == 1:  # keeps its bucket from the first batch of an update to the last
            expected += states.buckets
        if item.sharding.stage == 3:  # makes room for gradients once and keeps it
            lasting, expected = lasting + expected + states.buckets, 0
        gradients = max(item.after_batches) - item.lasting
        rows.append(
            (
                item.sharding.kind,
                str(item.world_size),
                f"{lasting:,}",
                f"{item.lasting:,}",
                _off(lasting, item.lasting),
                f"{expected:,}",
                f"{gradients:,}",
                "" if item.cuda_peak is None else f"{item.cuda_peak:,}",
            )
        )
    columns = (
        "engine",
        "processes",
        "lasting by formula, B",
        "counted, B",
        "off",
        "gradients by formula, B",
        "counted, B",
    )
    return Grid("Held by each process", (*columns, "CUDA peak, B"), rows, ("engine",))


def _off(formula: int, counted: int) -> str:
    return f"{100 * (counted - formula) / formula:+.2f} %" if formula else "-"


def _markdown(arguments: argparse.Namespace, grids: Sequence[Grid], failures: Sequence[str]) -> str:
    options = ["--processes", *map(str, arguments.processes), "--accumulate", str(arguments.accumulate)]
    options += ["--cfg-options", *arguments.cfg_options] if arguments.cfg_options else []
    command = shlex.join(["aqr", "benchmark", "scaling", arguments.config, *options, "--out", str(arguments.out)])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lines = ["# Formulas of memory and communication, against counts", "", "```sh", command, "```", "", NOTES]
    lines += [f"- {fact}" for fact in (*describe_environment(device), *(f"not run: {text}" for text in failures))]
    for grid in grids:
        lines += ["", *grid.markdown()[:-1]]
    return "\n".join([*lines, ""])
