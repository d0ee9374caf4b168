"""How often fp16 cost an update."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aqr_train.callbacks.base import Callback

if TYPE_CHECKING:
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class SkippedUpdates(Callback):
    """Says at the end how many updates of the run were left out; `LossScale` counts them, across resumes."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """One line; nothing in other precisions."""
        scale = trainer.engine.loss_scale
        if scale is not None:
            logger.info(
                "fp16: %d of %d updates were skipped, the loss scale is %g.",
                scale.total_skipped,
                trainer.state.step,
                scale.value,
            )
