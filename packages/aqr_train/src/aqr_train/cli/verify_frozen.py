"""`aqr verify-frozen`: what a few training steps change, and whether that is what the config says."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

_WIDTH = 100  # of the table in a file or pipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="path of a config, or name of a shipped one")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", help="weights to start from, in the place of the config's load_from")
    weights.add_argument("--random", action="store_true", help="start from random weights: the mechanics alone")
    parser.add_argument("--steps", type=int, default=3, help="updates to make; by default 3")
    parser.add_argument("--dataroot", help="replaces the config's")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def run(arguments: argparse.Namespace) -> int:
    """Train, print the table and one line per fault; exit code 1 if there is one. Works under a launcher too."""
    from aqr_core.config import load_config
    from aqr_core.errors import ConfigError
    from aqr_train.assembly import build_trainer
    from aqr_train.freezing.report import group_table
    from aqr_train.freezing.verify import verify_frozen
    from aqr_train.processes import Scheme, end_processes, start_accelerator
    from aqr_train.settings import TrainSettings, read_section
    from aqr_train.stopping import Stopped
    from aqr_train.trainer import Trainer

    if arguments.steps < 1:
        raise ConfigError(f"--steps is {arguments.steps}; it counts from 1, raise it.")
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.checkpoint is not None:
        config["load_from"] = arguments.checkpoint
    if arguments.dataroot is not None:
        config["dataroot"] = arguments.dataroot
    changes: dict[str, Any] = {"val_every": None, "picture_every": None, "trackers": ()}
    if Scheme.asked().kind == "plain":  # DDP would stop at a parameter that no loss depends on, a fault to be told here
        changes["find_unused_parameters"] = True
    settings = replace(read_section(TrainSettings, config, "train"), **changes)
    config["train"] = asdict(settings)
    accelerator = start_accelerator(settings)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    folder = Path(tempfile.mkdtemp(prefix="aqr_verify_frozen_"))
    trainer: Trainer | None = None
    try:
        trainer = build_trainer(config, accelerator, folder, console, load_initial=not arguments.random)
        found = verify_frozen(trainer, arguments.steps)
        if accelerator.is_main_process:
            how = f"{trainer.engine.kind}, {settings.precision}"
            console.print(f"{arguments.config}: {found.steps} steps, {how}", highlight=False, soft_wrap=True)
            console.print("", group_table(found), "", sep="\n")
            for fault in found.faults:
                console.print(f"fault: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
            count = len(found.faults)
            verdict = f"{count} fault{'s'[: count > 1]}." if count else "Frozen is frozen, and all else learns."
            console.print(verdict, highlight=False)
    except Stopped:
        return 128 + signal.SIGTERM
    finally:
        if not (folder / "nonfinite").is_dir():  # the batch that an error names
            shutil.rmtree(folder)
        if sys.exc_info()[0] is None:  # see `launch.run`
            trainer = None
            end_processes(accelerator)
    return int(bool(found.faults))
