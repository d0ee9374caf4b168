"""Targets of time and memory that are meant for a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

from aqr_core.config import load_config
from aqr_train.benchmarks.aqr_scene import extract, open_scene
from aqr_train.benchmarks.aqr_sides import BASELINE, build_side, side_configs
from aqr_train.benchmarks.aqr_steps import head_step, model_step
from aqr_train.benchmarks.training_frozen import FrozenComparison, compare_recipe, recipe_batch
from aqr_train.benchmarks.training_report import MEMORY, TIMES_FASTER, spread
from aqr_train.benchmarks.turns import SideFigures, take_turns, time_ratio
from aqr_train.estimate.run import estimate
from aqr_train.gpu_check.check import Check, Outcome
from aqr_train.gpu_check.workshop import FULL, INFOS, Workshop

_FULL_BASELINE = "cmt_voxel0100_r50_800x320_cbgs"
_ROUNDS = 7
_BOXES = 83
_HEAD_TIME, _MODEL_TIME, _MODEL_MEMORY = 1.15, 1.10, 1.10  # docs/benchmarks/aqr.md
_BATCH = 4
_ESTIMATE = 0.2


def cost_checks() -> Iterator[Check]:
    """What freezing saves, and what AQR adds."""
    frozen = f"aqr benchmark training {FULL} --parts frozen --device cuda --batch-size {_BATCH} --rounds {_ROUNDS}"
    yield Check("frozen recipe, speed", f"at least {TIMES_FASTER:g} times", frozen, _faster)
    yield Check("frozen recipe, memory", f"at most {MEMORY:g} of the peak", frozen, _smaller)
    for name, part, measure, limit in (
        ("AQR v3, head alone", "head", _compare_heads, _HEAD_TIME),
        ("AQR v3, full model", "model", _compare_models, _MODEL_TIME),
    ):
        yield Check(name, f"at most {limit:g} of the time", _aqr_command(part), partial(_slower, measure, limit))
    target = f"at most {_MODEL_MEMORY:g} of the peak"
    yield Check("AQR v3, memory of a step", target, _aqr_command("model"), _larger)
    yield Check(
        "memory that aqr estimate tells",
        f"within {_ESTIMATE:.0%} of the peak that PyTorch allocates",
        f"aqr estimate {FULL} --gpus 1 --batch-size 1",
        _estimated,
    )


def _aqr_command(part: str) -> str:
    return f"aqr benchmark aqr --parts {part} --variants v3 --device cuda --rounds {_ROUNDS}"


@cache
def _compare_recipe(workshop: Workshop) -> FrozenComparison:
    batch, _ = recipe_batch(FULL, workshop.full_data, INFOS, _BATCH)
    return compare_recipe(load_config(FULL), batch.to(workshop.device), _ROUNDS, "fp32")


def _faster(workshop: Workshop) -> Outcome:
    faster = _compare_recipe(workshop).times_faster
    return Outcome(f"{spread(faster)} times", faster.median >= TIMES_FASTER)


def _smaller(workshop: Workshop) -> Outcome:
    compared = _compare_recipe(workshop)
    peaks = " of ".join(f"{side.peak_bytes / 2**30:.2f}" for side in (compared.recipe, compared.full))
    return Outcome(f"{compared.memory_ratio:.2f}, {peaks} GiB", compared.memory_ratio <= MEMORY)


@cache
def _compare_heads(workshop: Workshop) -> Mapping[str, SideFigures]:
    scene = open_scene(_FULL_BASELINE, _BOXES, workshop.device)
    configs = side_configs(_FULL_BASELINE, ["v3"], [])
    features = extract(build_side(configs[BASELINE], scene.device)[0], scene.batch)
    heads = {name: build_side(config, scene.device)[0].pts_bbox_head for name, config in configs.items()}
    steps = {name: head_step(head, scene.batch, features) for name, head in heads.items()}
    return take_turns(steps, scene.device, _ROUNDS)


@cache
def _compare_models(workshop: Workshop) -> Mapping[str, SideFigures]:
    scene = open_scene(_FULL_BASELINE, _BOXES, workshop.device)
    configs = side_configs(_FULL_BASELINE, ["v3"], [])
    steps = {name: model_step(config, scene.batch, "fp32") for name, config in configs.items()}
    return take_turns(steps, scene.device, _ROUNDS)


def _slower(measure: Callable[[Workshop], Mapping[str, SideFigures]], limit: float, workshop: Workshop) -> Outcome:
    figures = measure(workshop)
    ratio = time_ratio(figures["v3"], figures[BASELINE])
    return Outcome(f"{spread(ratio)} of the baseline", ratio.median <= limit)


def _larger(workshop: Workshop) -> Outcome:
    figures = _compare_models(workshop)
    ratio = (figures["v3"].peak_bytes or 0) / (figures[BASELINE].peak_bytes or 1)
    return Outcome(f"{ratio:.2f} of the baseline", ratio <= _MODEL_MEMORY)


def _estimated(workshop: Workshop) -> Outcome:
    """Both on the same synthetic keyframe."""
    options = ["data.batch_size=1"]
    told = estimate(load_config(FULL, options), name=FULL, world_size=1, bandwidth=(1.0, 1.0))
    expected = told.states.device + sum(told.kept.values())
    folder = workshop.folder / "measured"
    folder.mkdir(exist_ok=True)
    workshop.call(["python", "-m", "aqr_train.estimate.measure", str(folder), FULL, *options])
    peak = json.loads((folder / "rank0.json").read_text(encoding="utf-8"))["cuda_peak"]
    figure = f"{expected / 2**30:.2f} GiB told, {peak / 2**30:.2f} GiB allocated: {expected / peak - 1:+.0%}"
    return Outcome(figure, abs(expected / peak - 1) <= _ESTIMATE)
