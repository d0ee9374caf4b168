"""`aqr-eval prepare`: the ground truth of a split as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_eval.ground_truth import write_ground_truth
from aqr_eval.inputs import add_truth_arguments, load_truth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    add_truth_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. val.safetensors")


def run(args: argparse.Namespace) -> int:
    """Read the tables once, so that nobody needs them again to score."""
    console = Console()
    with console.status("Reading the tables"):
        truth = load_truth(args, cameras=True)
        write_ground_truth(args.out, truth)
    size = f"{args.out.stat().st_size / 2**20:.1f} MiB"
    console.print(
        f"{args.out}: {truth.name}, {len(truth.tokens)} samples, {len(truth.boxes)} boxes ({size}).",
        highlight=False,
        soft_wrap=True,
    )
    return 0
