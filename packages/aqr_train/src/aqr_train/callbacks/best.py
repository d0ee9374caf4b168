"""Which checkpoint is the best."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from aqr_core.registry import suggest
from aqr_train.callbacks.base import Callback, Scalars
from aqr_train.checkpoints import BEST, FOLDER, read_pointer, remove_old, step_folder, step_of, write_pointer

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class BestCheckpoint(Callback):
    """Points `checkpoints/best` at the checkpoint whose validation gave the highest `train.best`.

    The second line of the pointer holds the value, so that a resumed run knows what is to be beaten. Every validated
    step is saved before (see `Checkpointer`). Listed first: a value that was logged is then one that was judged, and
    a resumed run need not ask.
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Forget a best checkpoint of a later step, which this run has taken back."""
        pointer = trainer.work_dir / FOLDER / BEST
        if trainer.is_main and step_of(read_pointer(pointer)[0]) > trainer.state.step:
            pointer.unlink()

    def on_scalars(self, trainer: Trainer, scalars: Scalars) -> None:
        """Judge the scalars of a validation."""
        found = {name.removeprefix("val/"): value for name, value in scalars.items() if name.startswith("val/")}
        if not found or not trainer.is_main:
            return
        metric = trainer.settings.best
        if metric not in found:
            logger.warning(
                "train.best is '%s', which validation does not give.%s", metric, suggest(metric, list(found))
            )
            return
        folder = step_folder(trainer.work_dir, trainer.state.step)
        pointer = folder.parent / BEST
        if found[metric] > _value(pointer, metric):
            assert folder.is_dir(), f"{folder} was validated and not saved"
            write_pointer(pointer, folder, f"{metric} {found[metric]!r}")
            logger.info("Step %d has the best %s so far, %.4f.", trainer.state.step, metric, found[metric])
            remove_old(trainer.work_dir, trainer.state.step, trainer.settings.keep)


def _value(pointer: Path, metric: str) -> float:
    """What is to be beaten; anything beats nothing, or a value of another metric."""
    name, _, value = read_pointer(pointer)[1].partition(" ")
    return float(value) if name == metric else float("-inf")
