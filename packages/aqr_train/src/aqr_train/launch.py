"""`python -m aqr_train` and `aqr train`: start the processes' accelerator, check it, train."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from rich.console import Console

from aqr_core.checkpoint import write_text
from aqr_core.config import dump, load_config
from aqr_core.errors import CheckpointError, ConfigError
from aqr_train.assembly import build_trainer
from aqr_train.checkpoints import find_checkpoint, latest_checkpoint
from aqr_train.logs import RunLog
from aqr_train.plan import describe_plan
from aqr_train.seeding import use_deterministic_kernels
from aqr_train.settings import TrainSettings, read_section

logger = logging.getLogger(__name__)
_SUPPORTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


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
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config and the plan, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; returns the exit code."""
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.seed is not None:
        config["seed"] = arguments.seed
    if arguments.deterministic:
        use_deterministic_kernels()
    settings = read_section(TrainSettings, config, "train")
    checkpoint = _checkpoint_to_resume(arguments)
    accelerator = start_accelerator(settings)
    console = Console()
    work_dir: Path = arguments.work_dir
    is_main = bool(accelerator.is_main_process)
    log = RunLog(None if arguments.dry_run else work_dir / "log.txt", is_main, console)
    try:
        # A checkpoint to resume from holds every weight, so `load_from` is not read again.
        trainer = build_trainer(config, accelerator, work_dir, console, load_initial=checkpoint is None)
        if checkpoint is not None:
            trainer.resume(checkpoint)
        if arguments.dry_run:
            if is_main:
                console.print(dump(config), highlight=False, markup=False, soft_wrap=True)
                console.print("\n".join(describe_plan(trainer)), highlight=False, markup=False, soft_wrap=True)
            return 0
        if trainer.is_finished:
            logger.warning(
                "%s is at step %d of %d: nothing is left to do; raise train.max_steps or train.epochs to go on.",
                checkpoint,
                trainer.state.step,
                trainer.schedule.total_steps,
            )
            return 0
        if is_main:
            work_dir.mkdir(parents=True, exist_ok=True)
            write_text(work_dir / "config.py", dump(config))
        for line in describe_plan(trainer):
            logger.info(line)
        trainer.fit()
    finally:
        log.close()
        accelerator.end_training()
    return 0


def start_accelerator(settings: TrainSettings, environment: Mapping[str, str] | None = None) -> Accelerator:
    """An accelerator whose processes, kind and precision are what was asked for.

    Accelerate starts something else without a word in several cases (one process instead of several on CPU
    hosts without MPI, float32 instead of fp16 on a CPU); each is an error here.

    Args:
        settings: for the precision.
        environment: what the launcher set; `os.environ` unless a test gives another.

    Raises:
        ConfigError: what was asked for cannot be had, and what to type instead.
    """
    env = os.environ if environment is None else environment
    on_cpu = env.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes") or not torch.cuda.is_available()
    asked = int(env.get("WORLD_SIZE", "1"))
    if "MASTER_ADDR" in env and "WORLD_SIZE" not in env:
        raise ConfigError(
            "The launcher was asked for several processes and started one, as `accelerate launch` does on CPU hosts "
            "without MPI; use `ACCELERATE_USE_CPU=true torchrun --nproc_per_node N -m aqr_train ...`."
        )
    if settings.precision == "fp16" and on_cpu:
        raise ConfigError("train.precision=fp16 needs a GPU (a CPU would run float32 instead); use bf16 or fp32.")
    launched = env.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if launched not in ("no", _MIXED[settings.precision]):
        raise ConfigError(
            f"The launcher asks for mixed precision '{launched}', the config for '{settings.precision}'; set "
            "train.precision, which is the one that counts."
        )
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=_MIXED[settings.precision],
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=settings.find_unused_parameters)],
    )
    kind = accelerator.distributed_type
    if kind not in _SUPPORTED:
        raise ConfigError(f"The launcher chose {kind.value}; this release trains on one process or with DDP, set that.")
    if accelerator.num_processes != asked or (asked > 1) != (kind != DistributedType.NO):
        raise ConfigError(
            f"{asked} processes were asked for, Accelerate runs {accelerator.num_processes} ({kind.value}); launch "
            "with torchrun or correct the accelerate config file."
        )
    return accelerator


def _checkpoint_to_resume(arguments: argparse.Namespace) -> Path | None:
    newest = latest_checkpoint(arguments.work_dir)
    if arguments.resume is None:
        if newest is not None and not arguments.dry_run:
            raise ConfigError(
                f"{arguments.work_dir} already holds a run ({newest.name}); add --resume to continue it, or choose "
                "another --work-dir."
            )
        return None
    if arguments.resume:
        return find_checkpoint(arguments.resume)
    if newest is None:
        raise CheckpointError(f"{arguments.work_dir} holds no checkpoint to resume; leave out --resume to start.")
    return newest
