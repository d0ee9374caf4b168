"""Checkpoint folders during training."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aqr_core.checkpoint import save_checkpoint, write_text
from aqr_train.callbacks.base import Callback
from aqr_train.checkpoints import FOLDER, LATEST, STATE

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class Checkpointer(Callback):
    """Writes `checkpoints/step_<n>/` every `save_every` steps and after the last, and points `latest` at it.

    Listed behind the callbacks whose state is saved, and before validation: what fails there costs no training.

    Args:
        config_text: the resolved config, stored with the weights.
        meta: what identifies the run beside step and epoch: classes, versions.
    """

    def __init__(self, config_text: str, meta: dict[str, Any]) -> None:
        self._config_text = config_text
        self._meta = meta

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Save when due."""
        if trainer.is_due(trainer.settings.save_every):
            self._save(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Save, unless this step is saved already."""
        if not trainer.is_due(trainer.settings.save_every):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        state = trainer.state_dict()  # collective, like the model: every process takes part
        with trainer.predicting_model() as model:
            if trainer.is_main:
                self._write(trainer, model, state)
        trainer.accelerator.wait_for_everyone()

    def _write(self, trainer: Trainer, model: nn.Module, state: dict[str, Any]) -> None:
        folder = trainer.work_dir / FOLDER / f"step_{trainer.state.step:07d}"

        def add_state(unfinished: Path) -> None:
            file = unfinished / STATE
            file.parent.mkdir()
            torch.save(state, file)

        meta = {"step": trainer.state.step, "epoch": trainer.state.epoch, **self._meta}
        save_checkpoint(folder, model, self._config_text, meta, extra=add_state)
        write_text(folder.parent / LATEST, folder.name + "\n")
        logger.info("Saved %s.", folder)
        if trainer.settings.keep:
            for old in sorted(folder.parent.glob("step_*"))[: -trainer.settings.keep]:
                shutil.rmtree(old)
