"""`aqr prepare`: nuScenes tables to infos."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aqr_train.cli.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--dataroot", type=Path, required=True, help="folder with samples, sweeps and the tables")
    parser.add_argument("--version", required=True, help="v1.0-mini, v1.0-trainval, v1.0-test")
    parser.add_argument("--out-dir", type=Path, help="where infos_<split>.jsonl go; by default the dataroot")
    parser.add_argument("--splits", nargs="+", help="by default every split of the version that has scenes")
    parser.add_argument("--max-sweeps", type=int, default=10, help="past sweeps per keyframe")
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out keyframes and sweeps whose files are absent"
    )


def run(arguments: argparse.Namespace) -> int:
    """Build, with a progress bar per split."""
    from aqr_core.infos import build_infos

    out_dir = arguments.out_dir or arguments.dataroot
    with Bars("keyframes") as bars:
        written = build_infos(
            arguments.dataroot,
            arguments.version,
            out_dir,
            splits=arguments.splits,
            max_sweeps=arguments.max_sweeps,
            progress=bars.show,
            require_files=not arguments.allow_missing,
        )
    for split, path in written.items():
        Console().print(f"{split}: {path}", highlight=False, soft_wrap=True)
    return 0
