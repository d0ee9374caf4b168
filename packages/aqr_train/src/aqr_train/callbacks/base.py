"""The events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

Scalars = dict[str, float]


class Callback:
    """Something periodic. Events fire on every process, in the order in which the callbacks are listed."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step of this process; a resumed run has its state already."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of pass `trainer.state.epoch` over the data, or of its rest in a resumed run."""

    def on_update(self, trainer: Trainer) -> None:
        """Right after the optimiser changed the weights."""

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """After a step; `trainer.state` already counts it."""

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Someone called `trainer.record`: with the same values on every process, or on the main process alone."""

    def on_picture(self, trainer: Trainer, name: str, pixels: NDArray[np.uint8]) -> None:
        """Someone called `trainer.record_picture`, on the main process alone; (height, width, 3) RGB."""

    def on_stop(self, trainer: Trainer) -> None:
        """The run was told to stop and ends after this: save what is not saved."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step."""

    def on_close(self, trainer: Trainer) -> None:
        """Always last, also when the run fails: release files and screens."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
