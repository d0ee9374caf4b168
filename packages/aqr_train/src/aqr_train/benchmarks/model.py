"""`aqr benchmark model`: latency and peak memory of a detector, part by part."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from aqr_core.checkpoint import load_weights, write_text
from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.errors import ConfigError
from aqr_core.structures import Batch
from aqr_train.assembly import build_model
from aqr_train.benchmarks.environment import describe_environment
from aqr_train.benchmarks.model_input import dataset_sample, synthetic_sample
from aqr_train.benchmarks.model_report import markdown, tables
from aqr_train.benchmarks.model_runs import Measurement, measure, prediction, training_step
from aqr_train.checkpoints import find_checkpoint
from aqr_train.precision import DTYPES
from aqr_train.seeding import seed_all
from aqr_train.settings import TrainSettings, read_section

SUMMARY = "time and memory of each part of a detector"
SLOW_HALF = "fp16 convolutions take minutes on most CPUs; ask for it with --precisions fp16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("config", help="config path or name")
    parser.add_argument("--checkpoint", help="weights; random ones of seed 0 without")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 2], metavar="B")
    parser.add_argument("--precisions", nargs="+", choices=tuple(DTYPES), help="by default all that are practical")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each setting")
    parser.add_argument("--warmup", type=int, default=3, help="runs before those")
    parser.add_argument("--train", action="store_true", help="training steps instead of predictions")
    parser.add_argument("--frame", type=int, help="keyframe of the config's dataset instead of a synthetic one")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="a.b=c", help="change the config")


def run(arguments: argparse.Namespace) -> int:
    """Measure every setting; one that cannot run stands in the summary with the reason."""
    if min(arguments.runs, arguments.warmup, *arguments.batch_sizes) < 1:
        raise ConfigError("--runs, --warmup and --batch-sizes are counts from 1; raise the one below it.")
    if arguments.out is not None and arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a folder; name the Markdown file to write in it.")
    device = open_device(arguments.device)
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.frame is None:
        sample, origin = synthetic_sample(config, training=arguments.train)
    else:
        sample, origin = dataset_sample(config, arguments.frame, training=arguments.train)
    settings = list(product(arguments.batch_sizes, arguments.precisions or DTYPES))
    measured = [
        _measure(arguments, config, collate([sample] * batch_size).to(device), precision)
        for batch_size, precision in track(settings, "settings", console=Console(stderr=True), transient=True)
    ]
    facts = [
        f"config: {arguments.config}" + "".join(f", {option}" for option in arguments.cfg_options),
        f"weights: {arguments.checkpoint or 'random, seed 0'}",
        *describe_environment(device),
        f"input: {origin}, repeated to fill a batch; {len(sample.points)} points, images "
        f"{' x '.join(map(str, sample.images.shape))}, {len(sample.gt_boxes)} boxes",
        f"runs: {arguments.runs} timed after {arguments.warmup} to warm up, one more for memory and one for arithmetic",
    ]
    console = Console()
    for table in tables(measured):
        console.print(table)
    if arguments.out is not None:
        report = markdown(facts, measured, training=arguments.train, on_cuda=device.type == "cuda")
        write_text(arguments.out, report)
        console.print(f"{arguments.out}: written.", soft_wrap=True, highlight=False)
    return 0


def open_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        ConfigError: torch does not know it, or it is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # events and memory figures are those of the current device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used ({reason}); choose cpu or a device that is there."
        ) from error
    return device


def _measure(arguments: argparse.Namespace, config: Mapping[str, Any], batch: Batch, precision: str) -> Measurement:
    """One setting, with a model of its own, so that none inherits another's weights or statistics."""
    if arguments.precisions is None and precision == "fp16" and batch.images.device.type == "cpu":
        return Measurement(len(batch), precision, failure=SLOW_HALF)
    seed_all(0)
    model, grouping = build_model(config, load_initial=False)
    if arguments.checkpoint is not None:
        load_weights(model, find_checkpoint(arguments.checkpoint))
    model = model.to(batch.images.device).train(arguments.train)
    if arguments.train:
        grad_clip = read_section(TrainSettings, config, "train").grad_clip
        work = training_step(model, grouping.make_optimizer(model), batch, precision, grad_clip)
    else:
        work = prediction(model, batch, precision)
    return measure(
        model, work, batch, precision, warmup=arguments.warmup, runs=arguments.runs, training=arguments.train
    )
