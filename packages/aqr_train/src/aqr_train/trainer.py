"""The training loop.

`Trainer` owns the order of events and nothing else: an engine owns model and optimiser, `TrainStep` one update,
callbacks what is periodic (logs, validation, checkpoints); `assembly` wires them from a config.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from aqr_core.structures import Batch
from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.callbacks.ema import WeightAverage
from aqr_train.engines import Engine
from aqr_train.loader import Collate, EpochBatches, SampleSource, load_batches, steps_per_epoch
from aqr_train.param_groups import Grouping
from aqr_train.schedule import Schedule, apply_schedule
from aqr_train.seeding import random_state, set_random_state
from aqr_train.settings import DataSettings, TrainSettings
from aqr_train.state import TrainState
from aqr_train.step import TrainStep
from aqr_train.stopping import Stopped, StopSignal

logger = logging.getLogger(__name__)


class Trainer:
    """Runs a model over a dataset until the last step.

    Args:
        engine: model, optimiser and processes.
        dataset, collate: where batches come from.
        grouping: which modules stay in eval mode.
        schedule: rate and beta1 per step; its `total_steps` is the length of the run.
        data, settings: the config sections of these names.
        callbacks: in the order in which events reach them.
        work_dir: everything the run writes lies below it.
        seed: chooses the order of samples.
        average: the one among the callbacks, whose weights predict and are published.
    """

    def __init__(
        self,
        engine: Engine,
        dataset: SampleSource,
        collate: Collate,
        *,
        grouping: Grouping,
        schedule: Schedule,
        data: DataSettings,
        settings: TrainSettings,
        callbacks: Sequence[Callback],
        work_dir: Path,
        seed: int,
        average: WeightAverage | None = None,
    ) -> None:
        self.engine = engine
        self.dataset = dataset
        self.collate = collate
        self.grouping = grouping
        self.schedule = schedule
        self.data = data
        self.settings = settings
        self.callbacks = list(callbacks)
        self.work_dir = work_dir
        self.seed = seed
        self.average = average
        self.state = TrainState()
        self.batch: Batch | None = None  # the last one of the current step
        self.step_s = 0.0  # time that the last step took, without callbacks
        self.data_wait_s = 0.0  # of it, time spent waiting for its batches
        self._stop = StopSignal()
        self._train_step = TrainStep(
            engine, lambda: self._emit("on_update"), lambda: self._stop.received, work_dir / "nonfinite"
        )

    @property
    def accelerator(self) -> Accelerator:
        """Processes and device."""
        return self.engine.accelerator

    @property
    def plain_model(self) -> nn.Module:
        """The detector without wrapper; its weights may be shards, see `Engine.whole_model`."""
        return self.engine.plain_model

    @property
    def samples_per_step(self) -> int:
        """Of all processes and micro-batches."""
        return self.data.batch_size * self.settings.accumulate * int(self.accelerator.num_processes)

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one pass over the data."""
        return steps_per_epoch(len(self.dataset), self.samples_per_step)

    @property
    def is_finished(self) -> bool:
        """Whether the last step has been made."""
        return self.state.step >= self.schedule.total_steps

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self.accelerator.is_main_process)

    def is_due(self, every: int | None) -> bool:
        """Whether what happens every `every` steps happens after this one; 0: only at the end, None: never."""
        if every is None:
            return False
        return self.is_finished or (every > 0 and self.state.step % every == 0)

    def fit(self) -> None:
        """Train from `state` to the end.

        Raises:
            Stopped: SIGTERM came; the callbacks have saved the run.
        """
        try:
            with self._stop:
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

    @contextmanager
    def predicting_model(self) -> Iterator[nn.Module]:
        """The weights to predict with and to publish, in a plain model on every process; collective."""
        averaged = nullcontext() if self.average is None else self.average.in_place()
        with self.engine.whole_model() as model, averaged:
            yield model

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the weights that makes a resumed run the same run; called on every process."""
        return {
            "position": self.state.state_dict(),
            "world_size": self.accelerator.num_processes,
            "samples_per_step": self.samples_per_step,
            "engine": self.engine.kind,
            **self.engine.state_dict(),
            "random": gather_object([random_state()]),
            "callbacks": gather_object([{type(item).__name__: item.state_dict() for item in self.callbacks}]),
        }

    def resume(self, folder: Path, state: dict[str, Any]) -> None:
        """Continue the run that wrote this checkpoint folder, whose weights the model has already.

        With another engine, number of processes or batch size the position is kept in samples of the pass, and what
        cannot be the same is said in the log.

        Args:
            folder: of the checkpoint.
            state: what `read_trainer_state` finds in it.
        """
        self.engine.load_state_dict(state)
        self.state = TrainState.from_dict(state["position"])
        same_processes = self.accelerator.num_processes == state["world_size"]
        rank = self.accelerator.process_index if same_processes else 0
        for callback in self.callbacks:
            callback.load_state_dict(state["callbacks"][rank].get(type(callback).__name__, {}))
        if same_processes:
            set_random_state(state["random"][rank])
        self._warn_of_changes(state)
        self.state.rescale(state["samples_per_step"], self.samples_per_step, self.steps_per_epoch)
        logger.info("Resumed from %s at step %d.", folder, self.state.step)

    def _warn_of_changes(self, state: dict[str, Any]) -> None:
        now = self.accelerator.num_processes
        if now != state["world_size"]:
            logger.warning(
                "Resuming on %d processes a run of %d: the order of samples is kept; dropout masks, statistics of "
                "batch normalisations and the rounding of gradients are not, so the run is no longer bitwise the same.",
                now,
                state["world_size"],
            )
        elif self.engine.kind != state["engine"]:
            logger.warning(
                "Resuming under %s a run of %s: gradients are added in another order, so the run is no longer bitwise "
                "the same.",
                self.engine.kind,
                state["engine"],
            )
        trained, trains = set(state["optimizer"]), set(self.engine.names)
        if trained and trained != trains:
            logger.warning(
                "Resuming with %d parameters frozen that the run has trained, and %d trained that it had frozen, which "
                "begin without moments.",
                len(trained - trains),
                len(trains - trained),
            )
        if self.samples_per_step != state["samples_per_step"]:
            logger.warning(
                "Resuming with %d samples per step a run of %d: steps, rates and epochs no longer mean the same.",
                self.samples_per_step,
                state["samples_per_step"],
            )

    def _run_epoch(self) -> None:
        self.dataset.set_epoch(self.state.epoch)
        self._emit("on_epoch_start")
        self.train_mode()
        batches = self._batches()
        for _ in range(self.state.batch, self.steps_per_epoch):
            started, self.data_wait_s = time.perf_counter(), 0.0
            apply_schedule(self.schedule, self.engine.param_groups, self.state.step)
            result = self._train_step(itertools.islice(batches, self.settings.accumulate), self.state.step + 1)
            self.step_s = time.perf_counter() - started
            self.state.advance(self.steps_per_epoch)
            self._emit("on_step_end", result)
            if self.is_finished:
                return
            if result.stop:
                self._emit("on_stop")
                raise Stopped(f"Stopped at step {self.state.step} of {self.schedule.total_steps}, as told by SIGTERM.")

    def _batches(self) -> Iterator[Batch]:
        """The rest of the current pass in micro-batches, on the device, with the waiting time measured."""
        device = self.accelerator.device
        batches = EpochBatches(
            len(self.dataset),
            self.data.batch_size,
            seed=self.seed,
            epoch=self.state.epoch,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            accumulate=self.settings.accumulate,
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
            self.data_wait_s += time.perf_counter() - started
            self.batch = batch
            yield batch

    def _emit(self, event: str, *arguments: Any) -> None:  # noqa: ANN401 - each event has its own arguments
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)
