"""`python -m aqr_train` and `aqr train`: start the processes' accelerator, check it, train."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from rich.console import Console

from aqr_core.checkpoint import write_text
from aqr_core.config import dump, load_config
from aqr_core.errors import CheckpointError, ConfigError
from aqr_train.assembly import build_trainer
from aqr_train.callbacks.trackers import check_trackers
from aqr_train.checkpoints import FOLDER, LATEST, check_undamaged, find_checkpoint, latest_checkpoint
from aqr_train.logs import RunLog
from aqr_train.out_of_memory import explain, explain_start, is_out_of_memory
from aqr_train.plan import describe_plan
from aqr_train.processes import end_processes, start_accelerator
from aqr_train.seeding import use_deterministic_kernels
from aqr_train.settings import OptimizerSettings, TrainSettings, read_section
from aqr_train.stopping import Stopped
from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)
_TERMINATED = 128 + signal.SIGTERM  # the exit code of a process that SIGTERM ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a training run; fixed, everything else is the config's."""
    parser.add_argument("config", metavar="CONFIG", help="path of a config, or name of a shipped one")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder for logs, checkpoints and validation")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="continue from a checkpoint folder or work dir; without DIR the newest checkpoint of --work-dir",
    )
    parser.add_argument("--seed", type=int, help="replaces the config's seed")
    parser.add_argument("--deterministic", action="store_true", help="only kernels that repeat bit for bit")
    parser.add_argument(
        "--profile", action="store_true", help="record a trace of the first steps below WORK_DIR/profile"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config and the plan, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; returns the exit code."""
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.seed is not None:
        config["seed"] = arguments.seed
    if arguments.deterministic:
        use_deterministic_kernels()
    settings = read_section(TrainSettings, config, "train")
    optimizer = read_section(OptimizerSettings, config, "optimizer")
    check_trackers(settings.trackers)
    checkpoint = _checkpoint_to_resume(arguments)
    accelerator = start_accelerator(settings)
    console = Console()
    work_dir: Path = arguments.work_dir
    is_main = bool(accelerator.is_main_process)
    log = RunLog(None if arguments.dry_run else work_dir / "log.txt", is_main, console)
    trainer: Trainer | None = None
    try:
        trainer = build_trainer(
            config, accelerator, work_dir, console, checkpoint=checkpoint, profile=arguments.profile
        )
        if arguments.dry_run:
            if is_main:
                console.print(dump(config), highlight=False, markup=False, soft_wrap=True)
                console.print(
                    "\n".join(describe_plan(trainer, optimizer)), highlight=False, markup=False, soft_wrap=True
                )
            return 0
        if trainer.is_finished:
            logger.warning(
                "%s is at step %d of %d: nothing is left to do; raise train.max_steps or train.epochs to go on.",
                checkpoint,
                trainer.state.step,
                trainer.schedule.total_steps,
            )
        else:
            if is_main:
                work_dir.mkdir(parents=True, exist_ok=True)
                write_text(work_dir / "config.py", dump(config))
            for line in describe_plan(trainer, optimizer):
                logger.info(line)
        trainer.fit()  # also where nothing is left: a last validation may have been killed
    except Stopped as stopped:
        logger.warning("%s Continue with --resume.", stopped)
        return _TERMINATED
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise (explain_start(accelerator.device) if trainer is None else explain(error, trainer)) from error
    finally:
        log.close()
        if sys.exc_info()[0] is None:  # a process that failed alone would wait for the others, which wait for it
            trainer = None
            end_processes(accelerator)
    return 0


def _checkpoint_to_resume(arguments: argparse.Namespace) -> Path | None:
    if arguments.resume:
        folder = find_checkpoint(arguments.resume)
        _check_own_run(arguments.work_dir, folder)
        check_undamaged(folder)
        return folder
    newest = latest_checkpoint(arguments.work_dir)
    if arguments.resume is None:
        if newest is not None and not arguments.dry_run:
            raise ConfigError(
                f"{arguments.work_dir} already holds a run ({newest.name}); add --resume to continue it, or choose "
                "another --work-dir."
            )
        return None
    if newest is None:
        raise CheckpointError(f"{arguments.work_dir} holds no checkpoint to resume; leave out --resume to start.")
    check_undamaged(newest)
    return newest


def _check_own_run(work_dir: Path, checkpoint: Path) -> None:
    own = work_dir / FOLDER
    if (own / LATEST).is_file() and checkpoint.resolve().parent != own.resolve():
        raise ConfigError(
            f"{work_dir} already holds a run, and {checkpoint} is of another; choose another --work-dir to continue it."
        )
