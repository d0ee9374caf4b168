"""`aqr benchmark training`: what freezing saves, what the trainer adds, and what a step waits for data."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from aqr_core.checkpoint import write_text
from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_train.benchmarks.environment import describe_environment
from aqr_train.benchmarks.loader_data import add_data_arguments, open_data, synthesise
from aqr_train.benchmarks.model import open_device
from aqr_train.benchmarks.training_data import measure_wait
from aqr_train.benchmarks.training_frozen import compare_recipe, recipe_batch
from aqr_train.benchmarks.training_overhead import measure_overhead
from aqr_train.benchmarks.training_report import Report
from aqr_train.precision import DTYPES
from aqr_train.settings import DataSettings, read_section

SUMMARY = "what freezing saves, what the trainer adds to a step, and what a step waits for data"
PARTS = ("frozen", "overhead", "data")
FULL_SIZE = "cmt_aqr_voxel0100_r50_800x320_cbgs"
_SAMPLES = 20  # keyframes whose making is timed
_OPTIONS = (
    "parts",
    "rounds",
    "batch_size",
    "device",
    "precision",
    "overhead_config",
    "overhead_steps",
    "data_steps",
    "gpu_step",
    "dataroot",
    "infos",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", default=FULL_SIZE, help="a recipe that freezes parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both sides, in turn")
    parser.add_argument("--batch-size", type=int, help="of the config unless given")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp32")
    parser.add_argument("--overhead-config", default="cmt_aqr_tiny", help="trained by the part `overhead`")
    parser.add_argument("--overhead-steps", type=int, default=20, help="timed steps per round")
    parser.add_argument("--data-steps", type=int, default=3, help="steps whose waiting is counted")
    parser.add_argument("--gpu-step", type=float, default=0.25, metavar="S", help="step assumed for a GPU")
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, help="Markdown file to write")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    _check(arguments)
    device = open_device(arguments.device)
    facts = [f"command: `{_command(arguments)}`", *describe_environment(device)]  # the repository may move on meanwhile
    report = Report(gpu_step_s=arguments.gpu_step)
    console = Console()
    if "overhead" in arguments.parts:
        config = load_config(arguments.overhead_config)
        facts.append(f"overhead: {arguments.overhead_config}, {arguments.overhead_steps} steps per round")
        report = replace(report, overhead=measure_overhead(config, arguments.overhead_steps, arguments.rounds))
    if {"frozen", "data"} & set(arguments.parts):
        infos = arguments.infos or synthesise(arguments.dataroot)
        report = _measure_on_data(arguments, infos, device, report, facts)
    for grid in report.grids():
        console.print(grid.rich())
    if arguments.out is not None:
        write_text(arguments.out, report.markdown([*facts, f"rounds: {arguments.rounds}"]))
        console.print(f"{arguments.out}: written.", soft_wrap=True, highlight=False)
    return 0


def _measure_on_data(
    arguments: argparse.Namespace, infos: str, device: torch.device, report: Report, facts: list[str]
) -> Report:
    config = load_config(arguments.config)
    settings = read_section(DataSettings, config, "data")
    batch_size = arguments.batch_size or settings.batch_size
    facts.append(f"model: {arguments.config}, batch {batch_size}, {arguments.precision}, weights of seed 0")
    if "frozen" in arguments.parts:
        batch, origin = recipe_batch(arguments.config, arguments.dataroot, infos, batch_size)
        facts.append(f"batch of the frozen recipe: {origin}")
        report = replace(report, frozen=compare_recipe(config, batch.to(device), arguments.rounds, arguments.precision))
    if "data" in arguments.parts:
        measured = measure_wait(
            config,
            open_data(arguments.config, arguments.dataroot, infos, _SAMPLES),
            device,
            batch_size=batch_size,
            workers=settings.num_workers,
            steps=arguments.data_steps,
            rounds=arguments.rounds,
            precision=arguments.precision,
        )
        report = replace(report, data=measured)
    return report


def _check(arguments: argparse.Namespace) -> None:
    counts = {
        "--rounds": arguments.rounds,
        "--batch-size": 1 if arguments.batch_size is None else arguments.batch_size,
        "--overhead-steps": arguments.overhead_steps,
        "--data-steps": arguments.data_steps,
    }
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; it counts from 1, raise it.")
    if not arguments.gpu_step > 0:
        raise ConfigError(f"--gpu-step is {arguments.gpu_step} s; give a length above 0.")
    if arguments.out is not None and arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a folder; name the Markdown file to write in it.")


def _command(arguments: argparse.Namespace) -> str:
    """What repeats the run, defaults included."""
    words = ["aqr", "benchmark", "training", arguments.config]
    for name in _OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            words += [
                f"--{name.replace('_', '-')}",
                *(map(str, value) if isinstance(value, list | tuple) else [str(value)]),
            ]
    return shlex.join(words)
