"""`aqr predict`: the detections of a checkpoint on a split, as a nuScenes results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.blanking import SENSORS
from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("config", nargs="?", help="config path or name; by default the checkpoint's own")
    add_split_arguments(parser)
    add_loader_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="results file to write")
    parser.add_argument("--without", choices=SENSORS, help="blank this sensor, as if it had failed")


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """A checkpoint and the split it runs over."""
    parser.add_argument(
        "--checkpoint", required=True, help="checkpoint folder, work dir, official .pth, or name of shipped weights"
    )
    parser.add_argument("--split", help="another split than the config's: reads infos_<split>.jsonl")
    parser.add_argument("--dataroot", help="replaces the config's")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def add_loader_arguments(parser: argparse.ArgumentParser) -> None:
    """How the keyframes come."""
    parser.add_argument("--batch-size", type=int, default=1, help="keyframes per process at a time; by default 1")
    parser.add_argument("--num-workers", type=int, help="loader processes; by default the config's")


def run(arguments: argparse.Namespace) -> int:
    """Predict, with a progress bar."""
    from aqr_train.inference import open_run

    inference = open_run(arguments)
    with Bars("keyframes") as bars:
        inference.predict(arguments.out, lambda done, total: bars.show("predict", done, total))
    if inference.is_main:
        Console().print(f"{arguments.out}: detections of {inference.keyframes}.", soft_wrap=True)
    return 0
