"""`aqr benchmark loader`: how many samples one core makes, and what the time goes into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from aqr_core.errors import ConfigError
from aqr_train.benchmarks.loader_data import LoaderData, add_data_arguments, open_data, synthesise
from aqr_train.benchmarks.loader_rounds import Round, run_floor, run_round
from aqr_train.benchmarks.mmdet3d_side import Mmdet3dSide

SUMMARY = "samples per second of the train pipeline on one core, and the share of each transform"

_BEHIND_THE_LOADER = "Det3DDataPreprocessor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("--config", default="cmt_voxel0100_r50_800x320_cbgs", help="whose train pipeline")
    add_data_arguments(parser)
    parser.add_argument("--samples", type=int, default=20, help="different keyframes per round")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="TRANSFORM", help="of our pipeline, such as ModalMask3D"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each side, in turn")
    parser.add_argument(
        "--mmdet3d", type=Path, metavar="PYTHON", help="compare with the environment of this interpreter"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.samples < 1 or arguments.rounds < 1:
        raise ConfigError(
            f"--samples {arguments.samples} and --rounds {arguments.rounds} are out of range; give 1 or more of each."
        )
    torch.set_num_threads(1)
    infos = arguments.infos or synthesise(arguments.dataroot)
    data = open_data(arguments.config, arguments.dataroot, infos, arguments.samples, arguments.leave_out)
    ours, floor, theirs = measure(data, arguments.rounds, arguments.mmdet3d)
    console = Console(soft_wrap=True)
    console.print(
        f"{len(data.indices)} keyframes x {arguments.rounds} rounds, "
        "one process, one thread, files in memory, CPU time; "
        f"in the last sample {floor[0].points:,} points before and {ours[0].points:,} after augmentation. "
        f"Of our {sum(each.samples for each in ours)} samples "
        f"{sum(each.blank.get('image', 0) for each in ours)} have blank images and "
        f"{sum(each.blank.get('points', 0) for each in ours)} blank points."
    )
    _report(console, f"aqr, {arguments.config}", ours)
    _report(console, "the floor: files read and decoded, nothing else", floor)
    console.print(f"aqr takes {_median_ms(ours) / _median_ms(floor):.2f} times the floor.")
    if theirs:
        _report(console, "mmdet3d", theirs)
        whole = [b.total / a.total for a, b in zip(ours, theirs, strict=True)]
        loader = [(b.total - b.seconds[_BEHIND_THE_LOADER]) / a.total for a, b in zip(ours, theirs, strict=True)]
        console.print(
            f"aqr makes {_spread(whole)} times the samples of mmdet3d per second; {_spread(loader)} times where "
            "mmdet3d's normalisation is not counted."
        )
    return 0


def measure(data: LoaderData, rounds: int, mmdet3d: Path | None = None) -> tuple[list[Round], list[Round], list[Round]]:
    """Rounds of our pipeline, of the floor, and of mmdet3d's if asked for.

    The sides take turns, so that what else the machine does falls on both; a first turn of each is not counted.
    """
    ours: list[Round] = []
    floor: list[Round] = []
    theirs: list[Round] = []
    with ExitStack() as stack:
        side = stack.enter_context(Mmdet3dSide(mmdet3d, data)) if mmdet3d else None
        for epoch in range(rounds + 1):
            ours.append(run_round(data, epoch))
            floor.append(run_floor(data))
            if side:
                theirs.append(side.run_round())
    return ours[1:], floor[1:], theirs[1:]


def _report(console: Console, side: str, rounds: Sequence[Round]) -> None:
    rates = [each.samples / each.total for each in rounds]
    console.print(f"\n{side}: {_spread(rates)} samples/s per core")
    table = Table("part")
    table.add_column("ms per sample", justify="right")
    table.add_column("share", justify="right")
    total = _median_ms(rounds)
    for name in rounds[0].seconds:
        part = 1e3 * float(np.median([each.seconds[name] / each.samples for each in rounds]))
        table.add_row(name, f"{part:.2f}", f"{part / total:.0%}")
    table.add_row("all", f"{total:.2f}", "")
    console.print(table)


def _median_ms(rounds: Sequence[Round]) -> float:
    return 1e3 * float(np.median([each.total / each.samples for each in rounds]))


def _spread(values: Sequence[float]) -> str:
    """Median, and the smallest and largest."""
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
