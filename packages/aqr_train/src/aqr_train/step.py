"""One update: forward and backward of its micro-batches, a common check, and the optimiser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aqr_core.structures import Batch
from aqr_train.engines import Engine, Update
from aqr_train.nonfinite import MicroBatch, NonFiniteReport, generator_states

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepResult:
    """What one update reports.

    Attributes:
        losses: named scalar tensors of this process, means over the micro-batches.
        grad_norm: global L2 norm of the gradient before clipping.
        skipped: fp16 only: the gradient overflowed, the loss scale was lowered, no update was made.
        samples: samples of all processes together.
        stop: some process was told to stop.
    """

    losses: dict[str, Tensor]
    grad_norm: float
    skipped: bool
    samples: int
    stop: bool = False


class TrainStep:
    """Engine and one update; knows no epochs.

    Args:
        engine: model and optimiser.
        after_update: called after each update, on every process.
        told_to_stop: asked once per step, on every process.
        nonfinite_dir: where a batch is saved whose loss or gradient is not finite.
    """

    def __init__(
        self,
        engine: Engine,
        after_update: Callable[[], None] = lambda: None,
        told_to_stop: Callable[[], bool] = lambda: False,
        nonfinite_dir: Path = Path("nonfinite"),
    ) -> None:
        self.engine = engine
        self._after_update = after_update
        self._told_to_stop = told_to_stop
        self._nonfinite_dir = nonfinite_dir

    def __call__(self, batches: Iterable[Batch], step: int) -> StepResult:
        """Make update number `step` (counted from 1) from `settings.accumulate` micro-batches.

        Raises:
            NonFiniteError: see `NonFiniteReport`; nothing was updated, on any process.
        """
        seen: list[MicroBatch] = []
        accumulate, device = self.engine.settings.accumulate, self.engine.accelerator.device
        for batch in batches:
            random = generator_states(device)
            losses = self.engine.run(batch, last=len(seen) + 1 == accumulate)
            seen.append(MicroBatch(batch, losses, random))
        assert len(seen) == accumulate, f"{len(seen)} micro-batches came for an update of {accumulate}"
        stop = self._agree(seen, step)
        update = self.engine.update()
        if update.applied:
            self._after_update()
        else:
            self._skip(update, seen, step)
        names = dict.fromkeys(name for micro in seen for name in micro.losses)  # denoising needs boxes
        losses = {
            name: torch.stack([micro.losses[name] for micro in seen if name in micro.losses]).sum() / accumulate
            for name in names
        }
        samples = sum(len(micro.batch) for micro in seen) * self.engine.accelerator.num_processes
        return StepResult(losses, update.grad_norm, not update.applied, samples, stop)

    def _agree(self, seen: list[MicroBatch], step: int) -> bool:
        """One reduction per step: all processes learn of a bad loss or of a request to stop in any of them."""
        values = torch.stack([loss.float() for micro in seen for loss in micro.losses.values()])
        flags = torch.stack([(~values.isfinite()).any().float(), values.new_tensor(float(self._told_to_stop()))])
        bad, stop = self.engine.accelerator.reduce(flags, "sum").tolist()
        if bad:
            raise NonFiniteReport(self.engine, seen, step, self._nonfinite_dir).of_loss()
        return bool(stop)

    def _skip(self, update: Update, seen: list[MicroBatch], step: int) -> None:
        """Go on without the update where a lower loss scale may be the remedy."""
        scale = self.engine.loss_scale
        if scale is None or scale.skipped >= self.engine.settings.max_skipped:
            raise NonFiniteReport(self.engine, seen, step, self._nonfinite_dir).of_gradient(update.grad_norm)
        logger.info("Step %d: the gradient overflowed in fp16, no update; the loss scale is now %g.", step, scale.value)
