"""The recipe's frozen parts against training every group: time, memory, and where both go."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.errors import ConfigError
from aqr_core.structures import Batch
from aqr_train.benchmarks.aqr_sides import build_side
from aqr_train.benchmarks.loader_data import open_data
from aqr_train.benchmarks.model_runs import Run, training_step
from aqr_train.benchmarks.parts import PARTS, Mark, observed
from aqr_train.benchmarks.turns import SideFigures, Spread, take_turns, time_ratio
from aqr_train.settings import TrainSettings, read_section

_BLANKING = ("ModalMask3D",)
FULL, RECIPE = "every group trains", "frozen recipe"


@dataclass(frozen=True)
class Side:
    """One way to train the model.

    Attributes:
        figures: times of the parts, and the peak of a step over what is held between steps.
        held_bytes: weights, moments of the optimiser and the batch.
        trained, parameters: how many numbers train, and how many there are.
        frozen_parts: rows of `PARTS` in which nothing trains.
    """

    figures: SideFigures
    held_bytes: int
    trained: int
    parameters: int
    frozen_parts: tuple[str, ...]

    @property
    def peak_bytes(self) -> int:
        """Most that tensors held at any time, what lasts from step to step included."""
        return self.held_bytes + (self.figures.peak_bytes or 0)

    @property
    def step_s(self) -> float:
        """Median."""
        return Spread.of(self.figures.seconds()).median

    def part_s(self, part: str) -> float:
        """Median of one part."""
        return Spread.of(self.figures.seconds(part)).median

    @property
    def frozen_s(self) -> float:
        """Seconds of a step in the parts in which nothing trains."""
        return sum(self.part_s(part) for part in self.frozen_parts)


@dataclass(frozen=True)
class FrozenComparison:
    """The recipe over full fine-tuning."""

    full: Side
    recipe: Side

    @property
    def times_faster(self) -> Spread:
        """Round by round."""
        return time_ratio(self.full.figures, self.recipe.figures)

    @property
    def memory_ratio(self) -> float:
        """Of the peaks."""
        return self.recipe.peak_bytes / self.full.peak_bytes


def recipe_batch(config_name: str, dataroot: Path, infos: str, batch_size: int) -> tuple[Batch, str]:
    """A training batch as `data.train` makes it, pasted objects included, and a sentence that says what it is.

    No sensor is blanked: a sample without one is another amount of work.
    """
    steps = [step["type"] for step in load_config(config_name)["data"]["train"]["pipeline"]]
    data = open_data(config_name, dataroot, infos, batch_size, [name for name in _BLANKING if name in steps])
    batch = collate([data.dataset[data.indices[place % len(data.indices)]] for place in range(batch_size)])
    boxes, points = (sum(map(len, each)) / batch_size for each in (batch.gt_boxes, batch.points))
    pasted = "without" if data.database is None else "with"
    return batch, (
        f"{infos} through data.train, {pasted} pasted objects, no sensor blanked: {boxes:.0f} boxes and {points:.0f} "
        "points per sample"
    )


def compare_recipe(config: Mapping[str, Any], batch: Batch, rounds: int, precision: str) -> FrozenComparison:
    """Steps of both on the same batch with the same random numbers, in turn.

    Raises:
        ConfigError: the config freezes nothing.
    """
    device = batch.images.device
    grad_clip = read_section(TrainSettings, config, "train").grad_clip
    built = {name: build_side(side, device) for name, side in ((FULL, full_config(config)), (RECIPE, config))}
    if all(parameter.requires_grad for parameter in built[RECIPE][0].parameters()):
        raise ConfigError("The config freezes nothing, so there is nothing to compare; choose a recipe that does.")
    steps = {
        name: _observed(model, training_step(model, optimizer, batch, precision, grad_clip))
        for name, (model, optimizer) in built.items()
    }
    found = take_turns(steps, device, rounds)
    return FrozenComparison(*(_side(*built[name], batch, found[name]) for name in (FULL, RECIPE)))


def full_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with nothing frozen; what else the groups say stays, and so does recomputation in the backbones."""
    full = copy.deepcopy(config)
    for rule in full["optimizer"].get("param_groups", {}).values():
        rule["frozen"] = False
        if rule.get("lr_mult") == 0:
            rule["lr_mult"] = 1.0
    for part in full["model"].values():
        if isinstance(part, Mapping) and "frozen_stages" in part:
            part["frozen_stages"] = -1  # type: ignore[index]
    return full


def _observed(model: nn.Module, step: Run) -> Run:
    def run(mark: Mark) -> None:
        with observed(model, mark):
            step(mark)

    return run


def _side(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, figures: SideFigures) -> Side:
    modules = dict(model.named_modules())
    trains = {
        part: any(p.requires_grad for name in names if name in modules for p in modules[name].parameters())
        for part, names in PARTS.items()
    }
    return Side(
        figures,
        held_bytes=sum(x.numel() * x.element_size() for x in _held(model, optimizer, batch)),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        parameters=sum(p.numel() for p in model.parameters()),
        frozen_parts=tuple(part for part, learns in trains.items() if not learns and figures.has(part)),
    )


def _held(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for moments in optimizer.state.values():
        yield from (value for value in moments.values() if isinstance(value, Tensor))
    yield from (batch.images, *batch.points)
