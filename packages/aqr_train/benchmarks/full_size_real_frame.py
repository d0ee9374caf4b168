"""One real nuScenes keyframe through the full-size models on the CPU: time, peak memory, and a check of what comes out.

    python packages/aqr_train/benchmarks/full_size_real_frame.py [CONFIG:predict | CONFIG:train ...] [--threads 2]
        [--cfg-options model.img_backbone.with_cp=True]

Weights are random; the frame is mmdet3d's demo keyframe (six 1600x900 images, one sweep, 69 boxes). Every run has a
process of its own, whose peak resident memory is the figure; the time is that of the model alone, CPU time being the
one to compare where cores are shared. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import nn

from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.models import CmtDetector
from aqr_core.structures import Batch
from aqr_train.assembly import build_dataset, build_model
from aqr_train.engines.plain import PlainEngine
from aqr_train.param_groups import Grouping
from aqr_train.settings import TrainSettings
from aqr_train.step import TrainStep

DATAROOT = Path(__file__).resolve().parents[4] / "shared/data/mmdet3d/demo/data/nuscenes"
INFOS = "n015-2018-07-24-11-22-45+0800.pkl"
CONFIGS = (
    "cmt_voxel0100_r50_800x320_cbgs",
    "cmt_voxel0100_r50_800x320_cbgs_metric",
    "cmt_voxel0075_vov_1600x640_cbgs",
    "cmt_lidar_voxel0075_cbgs",
    "cmt_camera_vov_1600x640_cbgs",
)
DEFAULT_RUNS = (*(f"{name}:predict" for name in CONFIGS), f"{CONFIGS[0]}:train")


def main() -> None:
    """Measure each run in a child process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", default=DEFAULT_RUNS, help="CONFIG:predict or CONFIG:train")
    parser.add_argument("--dataroot", type=Path, default=DATAROOT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cfg-options", nargs="*", default=[])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    if args.measure:
        console.print_json(json.dumps(measure(args.measure, args.dataroot, args.cfg_options)), indent=None)
        return
    console.print("| run | input | wall | CPU | peak memory | result |\n| --- | --- | --- | --- | --- | --- |")
    for run in args.runs:
        command = [sys.executable, __file__, "--measure", run, "--dataroot", str(args.dataroot)]
        child = subprocess.run(
            [*command, "--cfg-options", *args.cfg_options],
            env={**os.environ, "OMP_NUM_THREADS": str(args.threads)},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found = json.loads(child.stdout)
        options = "".join(f", {option.removeprefix('model.')}" for option in args.cfg_options)
        figures = f"{found['wall_s']:.0f} s | {found['cpu_s']:.0f} s | {found['peak_gib']:.1f} GiB"
        row = f"| {run.replace(':', ', ')}{options} | {found['input']} | {figures} | {found['result']} |"
        console.print(row, markup=False)


def measure(run: str, dataroot: Path, options: list[str]) -> dict[str, Any]:
    """Build model and batch of `CONFIG:predict` or `CONFIG:train`, run once, and check what comes out."""
    name, _, mode = run.partition(":")
    config = load_config(name, options)
    torch.manual_seed(0)
    batch = real_batch(config, dataroot, training=mode == "train")
    model, grouping = build_model(config, load_initial=False)
    wall, cpu = time.perf_counter(), time.process_time()
    result = train(model, grouping, batch) if mode == "train" else predict(model, batch)
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    images = "x".join(map(str, (batch.images.shape[1], *reversed(batch.images.shape[3:])))) + " px"
    given = [f"{len(batch.points[0])} points"] * bool(len(batch.points[0])) + [images] * bool(batch.images.numel())
    return {**seconds, "input": ", ".join(given), "peak_gib": peak, "result": result}


def real_batch(config: Mapping[str, Any], dataroot: Path, *, training: bool) -> Batch:
    """The keyframe through the config's own pipeline, without what needs a database or hides a modality."""
    data = dict(config["data"]["train" if training else "val"], infos=INFOS)
    if training:
        data["class_balanced"] = False
        data["pipeline"] = [s for s in data["pipeline"] if "until_epoch" not in s and s["type"] != "ModalMask3D"]
    dataset = build_dataset({"dataroot": str(dataroot)}, data, seed=0, test_mode=not training)
    return collate([dataset[0]])


def predict(model: nn.Module, batch: Batch) -> str:
    """Forward and decoding."""
    (found,) = cast(CmtDetector, model.eval()).predict(batch)
    assert found.boxes.isfinite().all() and found.scores.isfinite().all() and len(found.boxes) > 0
    return f"{len(found.boxes)} finite boxes"


def train(model: nn.Module, grouping: Grouping, batch: Batch) -> str:
    """The trainer's step: losses, backward, clipping, update; every trainable parameter must get a finite gradient."""
    reached = set()

    def note(name: str, parameter: torch.Tensor) -> None:
        if parameter.grad is not None and bool(parameter.grad.isfinite().all()):
            reached.add(name)

    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trainable.items():
        parameter.register_post_accumulate_grad_hook(partial(note, name))  # type: ignore[no-untyped-call]
    engine = PlainEngine(Accelerator(cpu=True), model.train(), grouping.make_optimizer, TrainSettings(max_steps=1))
    step = TrainStep(engine)
    done = step([batch], step=1)
    missing = sorted(set(trainable) - reached)
    assert not missing, f"no finite gradient: {missing[:3]} and {len(missing) - 3} more"
    return f"loss {float(done.losses['loss']):.1f}, gradients on all {len(trainable)} parameters"


if __name__ == "__main__":
    main()
