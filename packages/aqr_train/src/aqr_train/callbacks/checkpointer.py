"""Checkpoint folders during training."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from aqr_core.checkpoint import save_checkpoint, sweep_unfinished, write_torch_file, write_weights
from aqr_core.errors import CheckpointError
from aqr_train.callbacks.base import Callback
from aqr_train.checkpoints import LATEST, STATE, TRAINED, read_pointer, remove_old, step_folder, write_pointer

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class Checkpointer(Callback):
    """Writes `checkpoints/step_<n>/` every `save_every` steps, before validations and after the last, see `latest`.

    Listed behind the callbacks whose state is saved, and before validation: what fails there costs no training.

    Args:
        config_text: the resolved config, stored with the weights.
        meta: what identifies the run beside step and epoch: classes, versions.
    """

    def __init__(self, config_text: str, meta: dict[str, Any]) -> None:
        self._config_text = config_text
        self._meta = meta

    def on_fit_start(self, trainer: Trainer) -> None:
        """Sweep what a killed run has left, and point at the checkpoint that the run goes on from."""
        if not trainer.is_main:
            return
        folder = step_folder(trainer.work_dir, trainer.state.step)
        for place in (trainer.work_dir, folder.parent):
            for name in sweep_unfinished(place):
                logger.info("Removed %s, which a killed run left unfinished.", place / name)
        if folder.is_dir():
            write_pointer(folder.parent / LATEST, folder)

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Save when due."""
        if _is_due(trainer):
            self._save(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Save, unless this step is saved already."""
        if not _is_due(trainer):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        state = trainer.state_dict()  # collective, like the model: every process takes part
        trained = {} if trainer.average is None else trainer.average.trained_weights()
        with trainer.predicting_model() as model:
            # One process writes; all learn what came of it, so that none waits for one that has failed.
            outcome = [self._write(trainer, model, trained, state) if trainer.is_main else ""]
            broadcast_object_list(outcome)
        if outcome[0]:
            raise CheckpointError(outcome[0])

    def _write(self, trainer: Trainer, model: nn.Module, trained: dict[str, Tensor], state: dict[str, Any]) -> str:
        """Returns what is wrong, or ''."""
        folder = step_folder(trainer.work_dir, trainer.state.step)

        def add_state(unfinished: Path) -> None:
            (unfinished / STATE).parent.mkdir()
            write_torch_file(state, unfinished / STATE)
            if trained:
                write_weights(trained, unfinished / TRAINED)

        meta = {"step": trainer.state.step, "epoch": trainer.state.epoch, **self._meta}
        try:
            save_checkpoint(folder, model, self._config_text, meta, extra=add_state)
            write_pointer(folder.parent / LATEST, folder)
        except OSError as error:
            needed = _size([model.state_dict(), trained, state]) / 1e6
            free = shutil.disk_usage(trainer.work_dir).free / 1e6
            before, _ = read_pointer(folder.parent / LATEST)
            go_on = f"continue with --resume, {before} is whole" if before else "start again"
            return (
                f"{folder} cannot be written ({error.strerror or error}): it takes {needed:.1f} MB and {free:.1f} MB "
                f"are free; make room and {go_on}."
            )
        logger.info("Saved %s.", folder)
        try:
            remove_old(trainer.work_dir, trainer.state.step, trainer.settings.keep)
        except OSError as error:  # of a network disk; the new checkpoint is whole, so the run goes on
            logger.warning("An old checkpoint stays, it cannot be removed: %s.", error)
        return ""


def _is_due(trainer: Trainer) -> bool:
    return trainer.is_due(trainer.settings.save_every) or trainer.is_due(trainer.settings.val_every)


def _size(content: object) -> int:
    """Bytes of the tensors in nested containers."""
    if isinstance(content, Tensor):
        return content.nbytes
    items = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return sum(_size(item) for item in items)
