"""Validation during training."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list
from torch import nn

from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.checkpoints import step_folder

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

    def on_fit_start(self, trainer: Trainer) -> None:
        """Make up for the validation of a step that was saved, and the run killed before it."""
        owed = trainer.is_main and _is_saved(trainer) and not _is_logged(trainer)
        if broadcast_object_list([owed])[0] and trainer.is_due(trainer.settings.val_every):
            self._validate(trainer)

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Validate when due."""
        if trainer.is_due(trainer.settings.val_every):
            self._validate(trainer)

    def _validate(self, trainer: Trainer) -> None:
        with trainer.predicting_model() as model:
            scalars = self._evaluate(model.eval(), trainer.work_dir / "val" / f"{trainer.state.step}")
        trainer.train_mode()
        shown = "  ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in scalars.items())
        logger.info("step %d  validation  %s", trainer.state.step, shown)
        trainer.record({f"val/{name.removeprefix('val/')}": value for name, value in scalars.items()})


def _is_saved(trainer: Trainer) -> bool:
    return step_folder(trainer.work_dir, trainer.state.step).is_dir()


def _is_logged(trainer: Trainer) -> bool:
    file = trainer.work_dir / "scalars.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return any(
        record["step"] == trainer.state.step and any(name.startswith("val/") for name in record)
        for record in map(json.loads, lines)
    )
