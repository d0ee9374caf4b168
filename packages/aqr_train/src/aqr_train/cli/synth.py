"""`aqr synth`: a synthetic dataset in the nuScenes format."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--scenes", type=int, required=True, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--preset", default="tiny", help="tiny, mini or full")
    parser.add_argument("--version", help="table folder; by default v1.0-mini for up to ten scenes")
    parser.add_argument("--workers", type=int, default=2, help="processes")


def run(arguments: argparse.Namespace) -> int:
    """Generate, with a progress bar."""
    from aqr_core.synth import generate

    with Bars("scenes") as bars:
        made = generate(
            arguments.out,
            arguments.scenes,
            arguments.seed,
            preset=arguments.preset,
            workers=arguments.workers,
            progress=lambda done, total: bars.show("synth", done, total),
            version=arguments.version,
        )
    verb = "exists already" if made.reused else "written"
    Console().print(f"{made.root}: {len(made.scenes)} scenes, {made.keyframes} keyframes, {made.version}, {verb}.")
    return 0
