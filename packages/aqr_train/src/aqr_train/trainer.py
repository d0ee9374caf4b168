"""The training loop.

`Trainer` owns the order of events and nothing else: `TrainStep` owns one update, callbacks own what is
periodic (logs, validation, checkpoints), `assembly` wires them from a config.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from aqr_core.checkpoint import load_weights
from aqr_core.structures import Batch
from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.checkpoints import read_trainer_state
from aqr_train.loader import Collate, EpochBatches, SampleSource, load_batches, steps_per_epoch
from aqr_train.param_groups import Grouping
from aqr_train.schedule import Schedule, apply_schedule
from aqr_train.seeding import random_state, set_random_state
from aqr_train.settings import DataSettings, TrainSettings
from aqr_train.state import TrainState
from aqr_train.step import StepResult, TrainStep

logger = logging.getLogger(__name__)


class Trainer:
    """Runs a model over a dataset until the last step.

    Args:
        model, optimizer: not yet prepared; the frozen parameters already without gradient.
        dataset, collate: where batches come from.
        grouping: which modules stay in eval mode.
        schedule: rate and beta1 per step; its `total_steps` is the length of the run.
        accelerator: processes, device and precision.
        data, settings: the config sections of these names.
        callbacks: in the order in which events reach them.
        work_dir: everything the run writes lies below it.
        seed: chooses the order of samples.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        dataset: SampleSource,
        collate: Collate,
        *,
        grouping: Grouping,
        schedule: Schedule,
        accelerator: Accelerator,
        data: DataSettings,
        settings: TrainSettings,
        callbacks: Sequence[Callback],
        work_dir: Path,
        seed: int,
    ) -> None:
        self.plain_model = model
        self.accelerator = accelerator
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.dataset = dataset
        self.collate = collate
        self.grouping = grouping
        self.schedule = schedule
        self.data = data
        self.settings = settings
        self.callbacks = list(callbacks)
        self.work_dir = work_dir
        self.seed = seed
        self.state = TrainState()
        self.batch: Batch | None = None  # of the current step
        self.data_wait_s = 0.0  # time that it spent waiting for its batch
        self._train_step = TrainStep(
            self.model, self.optimizer, accelerator, settings.grad_clip, after_update=lambda: self._emit("on_update")
        )

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one pass over the data."""
        return steps_per_epoch(len(self.dataset), self.data.batch_size, self.accelerator.num_processes)

    @property
    def is_finished(self) -> bool:
        """Whether the last step has been made."""
        return self.state.step >= self.schedule.total_steps

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self.accelerator.is_main_process)

    def is_due(self, every: int) -> bool:
        """Whether something that happens every `every` steps (0: only at the end) happens after this one."""
        return self.is_finished or (every > 0 and self.state.step % every == 0)

    def fit(self) -> None:
        """Train from `state` to the end."""
        try:
            self._emit("on_fit_start")
            while not self.is_finished:
                self._run_epoch()
            self._emit("on_fit_end")
        finally:
            self._emit("on_close")

    def record(self, scalars: Scalars) -> None:
        """Hand scalars of the current step to every callback."""
        for callback in self.callbacks:
            callback.on_scalars(self, scalars)

    def record_picture(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Hand a (height, width, 3) RGB picture of the current step to every callback; on the main process alone."""
        for callback in self.callbacks:
            callback.on_picture(self, name, pixels)

    def train_mode(self) -> None:
        """Train mode, frozen parts in eval mode."""
        self.grouping.train_mode(self.plain_model)

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the weights that makes a resumed run the same run; called on every process."""
        scaler = self.accelerator.scaler
        return {
            "position": self.state.state_dict(),
            "world_size": self.accelerator.num_processes,
            "batch_size": self.data.batch_size,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "random": gather_object([random_state()]),
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in self.callbacks},
        }

    def resume(self, folder: Path) -> None:
        """Continue the run that wrote this checkpoint folder.

        With another number of processes or batch size the position is kept in samples of the pass, and what cannot
        be the same (dropout masks, gradient rounding) is said in the log.
        """
        state = read_trainer_state(folder)
        load_weights(self.plain_model, folder)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.state = TrainState.from_dict(state["position"])
        for callback in self.callbacks:
            callback.load_state_dict(state["callbacks"].get(type(callback).__name__, {}))
        world_size = self.accelerator.num_processes
        if world_size == state["world_size"]:
            set_random_state(state["random"][self.accelerator.process_index])
        else:
            logger.warning(
                "Resuming on %d processes a run of %d: the order of samples is kept, dropout masks are not.",
                world_size,
                state["world_size"],
            )
        before = state["world_size"] * state.get("batch_size", self.data.batch_size)
        self.state.rescale(before, world_size * self.data.batch_size, self.steps_per_epoch)
        logger.info("Resumed from %s at step %d.", folder, self.state.step)

    def _run_epoch(self) -> None:
        self.dataset.set_epoch(self.state.epoch)
        self._emit("on_epoch_start")
        self.train_mode()
        for batch in self._batches():
            apply_schedule(self.schedule, self.optimizer, self.state.step)
            result: StepResult = self._train_step(batch, self.state.step + 1)
            self.state.advance(self.steps_per_epoch)
            self._emit("on_step_end", result)
            if self.is_finished:
                return

    def _batches(self) -> Iterator[Batch]:
        """The rest of the current pass, on the device, with the waiting time measured."""
        device = self.accelerator.device
        batches = EpochBatches(
            len(self.dataset),
            self.data.batch_size,
            seed=self.seed,
            epoch=self.state.epoch,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            start=self.state.batch,
        )
        on_gpu = device.type == "cuda"
        loader = load_batches(self.dataset, batches, self.collate, self.data.num_workers, pin_memory=on_gpu)
        while True:
            started = time.perf_counter()
            batch: Batch | None = next(loader, None)
            if batch is None:
                return
            batch = batch.to(device, non_blocking=on_gpu)
            self.data_wait_s = time.perf_counter() - started
            self.batch = batch
            yield batch

    def _emit(self, event: str, *arguments: Any) -> None:  # noqa: ANN401 - each event has its own arguments
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)
