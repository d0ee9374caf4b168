"""What the trainer adds to a loop of a dozen lines over the same model, data, optimiser and schedule."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import nn

from aqr_core.data import collate
from aqr_core.infos import build_infos
from aqr_core.synth import generate
from aqr_train.assembly import build_dataset, build_model, build_trainer
from aqr_train.benchmarks.model_runs import Run
from aqr_train.benchmarks.parts import Mark
from aqr_train.benchmarks.turns import SideFigures, Spread, take_turns, time_ratio
from aqr_train.callbacks import Callback
from aqr_train.loader import EpochBatches, load_batches
from aqr_train.precision import autocast
from aqr_train.processes import start_accelerator
from aqr_train.schedule import apply_schedule, build_schedule
from aqr_train.seeding import seed_all
from aqr_train.settings import DataSettings, TrainSettings, read_section
from aqr_train.state import TrainState

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

BARE, TRAINER = "bare loop", "trainer"
STEPS = "steps"  # what is compared; before it comes the first step, behind it the last, which saves a checkpoint
_EDGES = "first and last step"
_SPLIT = "mini_train"
_EVENTS = ("on_update", "on_step_end")


@dataclass(frozen=True)
class Overhead:
    """The trainer against the bare loop.

    Attributes:
        figures: of both; the stretch `STEPS` is `steps` steps.
        steps: per round.
        callbacks: seconds per step of each, by class.
    """

    figures: Mapping[str, SideFigures]
    steps: int
    callbacks: Mapping[str, float]

    @property
    def ratio(self) -> Spread:
        """Of time, round by round."""
        return time_ratio(self.figures[TRAINER], self.figures[BARE], STEPS)

    @property
    def added_s(self) -> Spread:
        """Per step, round by round."""
        sides = (self.figures[name].seconds(STEPS) for name in (TRAINER, BARE))
        return Spread.of([(own - bare) / self.steps for own, bare in zip(*sides, strict=True)])

    def step_s(self, side: str) -> Spread:
        """Of one step."""
        return Spread.of([seconds / self.steps for seconds in self.figures[side].seconds(STEPS)])


def measure_overhead(config: Any, steps: int, rounds: int, keyframes: int = 20) -> Overhead:  # noqa: ANN401
    """Both sides from the same weights, `steps` steps per round, on a synthetic scene of preset tiny.

    Validation and pictures are left out, the checkpoint behind the last step is not timed: they are work of their own,
    as often as a user asks for it.

    Args:
        config: as `load_config` gives it; changed in place.
        steps: timed steps per round.
        rounds: of both sides.
        keyframes: of the scene.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        generate(root, 1, 0, workers=1, keyframes=keyframes)
        infos = build_infos(root, "v1.0-mini", root, splits=[_SPLIT])[_SPLIT]
        shorten(config, root, infos.name, steps)
        accelerator = start_accelerator(read_section(TrainSettings, config, "train"))
        with _a_screen() as screen:
            work_dir = Path(folder) / "run"
            work_dir.mkdir()
            trainer = build_trainer(config, accelerator, work_dir, screen)
            watch = Watch(steps)
            sides = {BARE: bare_loop(config, steps, accelerator.device), TRAINER: fit(trainer, watch)}
            figures = take_turns(sides, accelerator.device, rounds, memory=False)
    return Overhead(figures, steps, {name: spent / (rounds + 1) / steps for name, spent in watch.spent.items()})


def shorten(config: Any, root: Path, infos: str, steps: int) -> None:  # noqa: ANN401
    """Change a config in place to `steps` steps and one on either side, without validation and pictures."""
    config["dataroot"] = str(root)
    config["data"]["train"]["infos"] = infos
    config["train"].update(max_steps=steps + 2, epochs=None, val_every=None, save_every=0, picture_every=None)


def bare_loop(config: Mapping[str, Any], steps: int, device: torch.device) -> Run:
    """What anybody would write: the same parts in a loop that neither checks nor logs."""
    data, settings = read_section(DataSettings, config, "data"), read_section(TrainSettings, config, "train")
    seed_all(0)
    model, grouping = build_model(config)
    optimizer = grouping.make_optimizer(model.to(device))
    dataset = build_dataset(config, data.train, seed=0, test_mode=False)
    schedule = build_schedule(config.get("schedule", {}), settings.total_steps(len(dataset)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_cuda = device.type == "cuda"

    def run(mark: Mark) -> None:
        done = 0
        for epoch in itertools.count():
            dataset.set_epoch(epoch)
            grouping.train_mode(model)
            order = EpochBatches(len(dataset), data.batch_size, seed=0, epoch=epoch)
            for batch in load_batches(dataset, order, collate, data.num_workers, pin_memory=on_cuda):
                apply_schedule(schedule, optimizer.param_groups, done)
                with autocast(device, settings.precision):
                    loss = model(batch.to(device, non_blocking=on_cuda))["loss"]
                loss.backward()
                if settings.grad_clip is not None:
                    nn.utils.clip_grad_norm_(trained, settings.grad_clip)
                optimizer.step()
                optimizer.zero_grad()
                done += 1
                if done == 1:
                    mark(_EDGES)
                if done == steps + 1:
                    mark(STEPS)
                if done == schedule.total_steps:
                    mark(_EDGES)
                    return

    return run


class Watch(Callback):
    """The last callback: sees the end of a step when all others are done, and how long each of them took."""

    def __init__(self, steps: int) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._steps = steps
        self._active = False
        self._mark: Mark = lambda part: None

    def begin(self, mark: Mark) -> None:
        """Another round."""
        self._mark = mark

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Cut the run behind the first step and behind the last but one."""
        if trainer.state.step == 1:
            self._mark(_EDGES)
            self._active = True
        elif trainer.state.step == self._steps + 1:
            self._mark(STEPS)
            self._active = False

    def timed(self, name: str, event: Callable[..., None]) -> Callable[..., None]:
        """`event`, with its time in the compared steps added to `spent[name]`."""

        def call(*arguments: object) -> None:
            started = time.perf_counter()
            event(*arguments)
            if self._active:
                self.spent[name] += time.perf_counter() - started

        return call


def fit(trainer: Trainer, watch: Watch) -> Run:
    """The whole trainer, from its first step again in every run, with the weights that the last run left."""
    for callback in trainer.callbacks:
        for event in _EVENTS:
            setattr(callback, event, watch.timed(type(callback).__name__, getattr(callback, event)))
    trainer.callbacks.append(watch)

    def run(mark: Mark) -> None:
        trainer.state = TrainState()
        watch.begin(mark)
        trainer.fit()
        mark(_EDGES)

    return run


@contextmanager
def _a_screen() -> Iterator[Console]:
    """A console that draws as on a terminal, for nobody."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        yield Console(file=nowhere, force_terminal=True)
