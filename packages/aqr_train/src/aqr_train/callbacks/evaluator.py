"""Validation during training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from aqr_train.callbacks.base import Callback, Scalars

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)
Evaluate = Callable[[nn.Module, Path], Scalars]


class Evaluator(Callback):
    """Every `val_every` steps and after the last: predict the validation set, score it, record the scalars.

    Args:
        evaluate: called on every process with the plain model and the folder `val/<step>`; returns scalars by
            name, the same on every process.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Validate when due."""
        every = trainer.settings.val_every
        if every is None or not trainer.is_due(every):
            return
        with trainer.predicting_model() as model:
            scalars = self._evaluate(model.eval(), trainer.work_dir / "val" / f"{trainer.state.step}")
        trainer.train_mode()
        shown = "  ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in scalars.items())
        logger.info("step %d  validation  %s", trainer.state.step, shown)
        trainer.record({f"val/{name.removeprefix('val/')}": value for name, value in scalars.items()})
