"""`aqr benchmark aqr`: what AQR v1, v2 and v3 cost over the baseline, measured in one run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console

from aqr_core.checkpoint import write_text
from aqr_core.errors import ConfigError
from aqr_core.models.aqr.backends import BACKENDS
from aqr_train.benchmarks.aqr_attention import compare_attention, dense_bytes
from aqr_train.benchmarks.aqr_floor import Floor, count_floor
from aqr_train.benchmarks.aqr_rendering import RENDERER, compare_renderers
from aqr_train.benchmarks.aqr_report import Comparison, Targets, grids, markdown
from aqr_train.benchmarks.aqr_scene import Scene, extract, open_scene
from aqr_train.benchmarks.aqr_sides import BASELINE, RECIPE, VARIANTS, build_side, shipped_config, side_configs
from aqr_train.benchmarks.aqr_steps import head_step, model_step
from aqr_train.benchmarks.environment import describe_environment
from aqr_train.benchmarks.model import open_device
from aqr_train.benchmarks.turns import take_turns
from aqr_train.precision import DTYPES

SUMMARY = "time and memory of AQR v1, v2 and v3 over the baseline"
PARTS = ("head", "model", "renderer", "attention")
GIB = 1024**3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("--config", default="cmt_voxel0100_r50_800x320_cbgs", help="baseline; AQR's are its siblings")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=BACKENDS[1:],
        default=(),
        help="attention backends to give rows of their own; without it, the part `attention` has those of the device",
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all sides, in turn")
    parser.add_argument("--boxes", type=int, default=83, help="in the sample; 83 make 830 denoising slots")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp32")
    parser.add_argument("--dense-gib", type=float, default=8.0, help="most memory that a dense attention may take")
    parser.add_argument("--out", type=Path, help="Markdown file to write")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if min(arguments.rounds, arguments.boxes) < 1:
        raise ConfigError(
            f"--rounds {arguments.rounds} and --boxes {arguments.boxes} are counts from 1; raise the one below it."
        )
    if arguments.out is not None and arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a folder; name the Markdown file to write in it.")
    device = open_device(arguments.device)
    environment = describe_environment(device)  # now: the repository may move on while this runs
    scene = open_scene(arguments.config, arguments.boxes, device)
    with Console(stderr=True).status("measuring"):
        comparisons, floor = _measure(arguments, scene)
    console = Console()
    for grid in grids(comparisons, floor):
        console.print(grid.rich())
    if arguments.out is not None:
        facts = [
            f"command: `{_command(arguments)}`",
            "sides: batch 1; AQR's weights are not neutral",
            *environment,
            f"input: {scene.origin}",
            f"queries: {scene.describe_queries()}",
            f"rounds: {arguments.rounds} timed after one to warm up and one for memory",
        ]
        write_text(arguments.out, markdown(facts, comparisons, floor, on_cuda=not scene.on_cpu))
        console.print(f"{arguments.out}: written.", soft_wrap=True, highlight=False)
    return 0


def _command(arguments: argparse.Namespace) -> str:
    """What repeats the run, defaults included."""
    words = ["aqr", "benchmark", "aqr"]
    for name in ("config", "parts", "variants", "backends", "rounds", "boxes", "device", "precision", "dense_gib"):
        value = getattr(arguments, name)
        values = [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
        if values:
            words += [f"--{name.replace('_', '-')}", *values]
    return shlex.join(words)


def _measure(arguments: argparse.Namespace, scene: Scene) -> tuple[list[Comparison], Floor | None]:
    comparisons, floor = [], None
    if "head" in arguments.parts:
        comparison, floor = _compare_heads(arguments, scene)
        comparisons.append(comparison)
    if "model" in arguments.parts:
        comparisons.append(_compare_models(arguments, scene, floor))
    if "renderer" in arguments.parts:
        comparisons.extend(_compare_renderers(arguments, scene))
    if "attention" in arguments.parts:
        comparisons.extend(_compare_attention(arguments, scene))
    return comparisons, floor


def _compare_heads(arguments: argparse.Namespace, scene: Scene) -> tuple[Comparison, Floor]:
    batch, device = scene.batch, scene.device
    configs = side_configs(arguments.config, arguments.variants, arguments.backends)
    detector, _ = build_side(configs[BASELINE], device)
    features = extract(detector, batch)
    del detector
    heads = {name: build_side(config, device)[0].pts_bbox_head for name, config in configs.items()}
    steps = {name: head_step(head, batch, features, arguments.precision) for name, head in heads.items()}
    figures = take_turns(steps, device, arguments.rounds)
    variants = {name: heads[name] for name in arguments.variants}
    floor = count_floor(steps[BASELINE], variants, scene, arguments.precision)
    targets = Targets(time=1.25 if scene.on_cpu else 1.15, sides=arguments.variants)
    return Comparison("Head alone, training step", figures, targets, floor, scene.on_cpu), floor


def _compare_models(arguments: argparse.Namespace, scene: Scene, floor: Floor | None) -> Comparison:
    configs = side_configs(arguments.config, arguments.variants, arguments.backends)
    if "v3" in arguments.variants:
        configs[RECIPE] = shipped_config(arguments.config, "v3")
    steps = {name: model_step(config, scene.batch, arguments.precision) for name, config in configs.items()}
    figures = take_turns(steps, scene.device, arguments.rounds)
    targets = Targets(time=1.10, memory=1.10, sides=arguments.variants)
    return Comparison("Full model, training step", figures, targets, floor, scene.on_cpu)


def _compare_renderers(arguments: argparse.Namespace, scene: Scene) -> Iterator[Comparison]:
    block = shipped_config(arguments.config, "v1")["model"]["pts_bbox_head"]["renderer_config"]
    targets = Targets(speedup=200, sides=(RENDERER,))
    for passes, figures in compare_renderers(block, scene.own_cells, arguments.rounds).items():
        yield Comparison(f"Renderer, {passes}", figures, targets)


def _compare_attention(arguments: argparse.Namespace, scene: Scene) -> Iterator[Comparison]:
    block = shipped_config(arguments.config, "v3")["model"]["pts_bbox_head"]["attention_bias_config"]
    backends = arguments.backends or (("dense", "window") if scene.on_cpu else BACKENDS[1:])
    for cells in (scene.own_cells, scene.cells):
        title = f"One cross-attention, {cells.in_bev.numel()} queries to {cells.shapes.num_tokens} tokens"
        needed = dense_bytes(cells, scene.heads) / GIB
        fitting = [name for name in backends if name != "dense" or needed <= arguments.dense_gib]
        if len(fitting) < len(backends):
            title += f" (dense needs about {needed:.0f} GiB and is left out)"
        figures = compare_attention(
            block,
            cells,
            scene.heads,
            scene.channels,
            backends=fitting,
            precision=arguments.precision,
            rounds=arguments.rounds,
        )
        yield Comparison(title, figures, on_cpu=scene.on_cpu)
